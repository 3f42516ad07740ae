// SPDX-License-Identifier: GPL-2.0 OR MIT
/* uprobes: a place in a file, in whatever process maps it. */
#include <linux/dcache.h>
#include <linux/fs.h>
#include <linux/namei.h>
#include <linux/percpu.h>
#include <linux/slab.h>
#include <linux/uprobes.h>

#include "wprobe.h"

struct user_probe {
	struct wprobe_probe probe;
	struct uprobe_consumer consumer;
	/* held, so that the file system is not unmounted */
	struct path path;
	struct inode *inode;
	loff_t offset;
	/* the process whose hits count; 0: any */
	u32 pid;
#ifdef WPROBE_HAS_UPROBE_OBJECT
	struct uprobe *uprobe;
#endif
};

/* The handlers may be preempted; a hit is not. */
static int hit(struct uprobe_consumer *consumer, struct pt_regs *regs)
{
	struct user_probe *user = container_of(consumer, struct user_probe, consumer);

	if (!user->pid || user->pid == current->tgid)
		wprobe_hit(&user->probe, regs, regs);
	return 0;
}

static int on_entry(struct uprobe_consumer *consumer, struct pt_regs *regs WPROBE_UPROBE_DATA)
{
	return hit(consumer, regs);
}

/* The function that has returned, of the hit that is being handled. */
static DEFINE_PER_CPU(u64, returned_from);

static int on_return(struct uprobe_consumer *consumer, unsigned long function,
		     struct pt_regs *regs WPROBE_UPROBE_DATA)
{
	unsigned long flags;

	/* until the hit is over, nothing else returns here */
	local_irq_save(flags);
	this_cpu_write(returned_from, function);
	hit(consumer, regs);
	local_irq_restore(flags);
	return 0;
}

/* Of a probe on an entry: the place that was hit, which is the function's if its first instruction is probed. */
static u64 user_function(const struct wprobe_hit *hit)
{
	const struct user_probe *user = container_of(hit->probe, struct user_probe, probe);

	if (user->consumer.ret_handler)
		return this_cpu_read(returned_from);
	return instruction_pointer((struct pt_regs *)hit->from);
}

#ifdef WPROBE_HAS_UPROBE_OBJECT
static int user_register(struct user_probe *user, loff_t semaphore)
{
	user->uprobe = uprobe_register(user->inode, user->offset, semaphore, &user->consumer);
	return PTR_ERR_OR_ZERO(user->uprobe);
}

static void user_unregister(struct user_probe *user)
{
	uprobe_unregister_nosync(user->uprobe, &user->consumer);
	uprobe_unregister_sync();
}
#else
static int user_register(struct user_probe *user, loff_t semaphore)
{
	if (semaphore)
		return uprobe_register_refctr(user->inode, user->offset, semaphore,
					      &user->consumer);
	return uprobe_register(user->inode, user->offset, &user->consumer);
}

static void user_unregister(struct user_probe *user)
{
	uprobe_unregister(user->inode, user->offset, &user->consumer);
}
#endif

static void user_detach(struct wprobe_probe *probe)
{
	struct user_probe *user = container_of(probe, struct user_probe, probe);

	user_unregister(user);
	path_put(&user->path);
}

static const struct wprobe_probe_ops user_ops = { .function = user_function, .detach = user_detach };

/* What the kernel compares as signed numbers is in the file. */
static bool fits(const struct inode *inode, u64 offset, u64 semaphore)
{
	u64 size = i_size_read(inode);

	return S_ISREG(inode->i_mode) && offset < size && semaphore < size;
}

/* At `offset` of the file; `semaphore`: offset of a counter to keep above 0, or 0. */
int wp_uprobe_attach(const char *path, u64 offset, u64 semaphore, u32 pid, bool returns,
		     void *attachment, struct wprobe_probe **made)
{
	struct user_probe *user = kzalloc(sizeof(*user), GFP_KERNEL_ACCOUNT);
	int error;

	if (!user)
		return -ENOMEM;
	error = kern_path(path, LOOKUP_FOLLOW, &user->path);
	if (error)
		goto free;
	user->probe.attachment = attachment;
	user->probe.ops = &user_ops;
	user->inode = d_real_inode(user->path.dentry);
	user->offset = offset;
	user->pid = pid;
	if (returns)
		user->consumer.ret_handler = on_return;
	else
		user->consumer.handler = on_entry;
	error = fits(user->inode, offset, semaphore) ? user_register(user, semaphore) : -EINVAL;
	if (error)
		goto put;
	*made = &user->probe;
	return 0;
put:
	path_put(&user->path);
free:
	kfree(user);
	return error;
}
