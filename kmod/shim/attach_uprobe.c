// SPDX-License-Identifier: GPL-2.0 OR MIT
/* uprobes: a place in a file, in whatever process maps it. */
#include <linux/dcache.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/namei.h>
#include <linux/overflow.h>
#include <linux/percpu.h>
#include <linux/slab.h>
#include <linux/uprobes.h>
#include <linux/version.h>

#include "wprobe.h"

/* One place; its probe is what is hit. */
struct user_probe {
	struct wprobe_probe probe;
	struct uprobe_consumer consumer;
	loff_t offset;
	/* the process whose hits count; 0: any */
	u32 pid;
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
	struct uprobe *uprobe;
#endif
};

/* All places of an attachment, in one file. */
struct user_probes {
	struct wprobe_probe probe;
	/* held, so that the file system is not unmounted */
	struct path path;
	struct inode *inode;
	u32 count;
	struct user_probe each[];
};

/* The handlers may be preempted; a hit is not. */
static int on_entry(struct uprobe_consumer *consumer, struct pt_regs *regs)
{
	struct user_probe *user = container_of(consumer, struct user_probe, consumer);

	if (!user->pid || user->pid == current->tgid)
		wprobe_hit(&user->probe, regs, regs);
	return 0;
}

/* The function that has returned, of the hit that is being handled. */
static DEFINE_PER_CPU(u64, returned_from);

static int on_return(struct uprobe_consumer *consumer, unsigned long function, struct pt_regs *regs)
{
	unsigned long flags;

	/* until the hit is over, nothing else returns here */
	local_irq_save(flags);
	this_cpu_write(returned_from, function);
	on_entry(consumer, regs);
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

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
static int user_register(struct inode *inode, struct user_probe *user, loff_t semaphore)
{
	user->uprobe = uprobe_register(inode, user->offset, semaphore, &user->consumer);
	return PTR_ERR_OR_ZERO(user->uprobe);
}

/* The first `count`. */
static void user_unregister(struct user_probes *users, u32 count)
{
	u32 i;

	for (i = 0; i < count; i++)
		uprobe_unregister_nosync(users->each[i].uprobe, &users->each[i].consumer);
	if (count)
		uprobe_unregister_sync();
}
#else
static int user_register(struct inode *inode, struct user_probe *user, loff_t semaphore)
{
	if (semaphore)
		return uprobe_register_refctr(inode, user->offset, semaphore, &user->consumer);
	return uprobe_register(inode, user->offset, &user->consumer);
}

static void user_unregister(struct user_probes *users, u32 count)
{
	u32 i;

	for (i = 0; i < count; i++)
		uprobe_unregister(users->inode, users->each[i].offset, &users->each[i].consumer);
}
#endif

static const struct wprobe_probe_ops user_ops = { .function = user_function };

static void users_detach(struct wprobe_probe *probe)
{
	struct user_probes *users = container_of(probe, struct user_probes, probe);

	user_unregister(users, users->count);
	path_put(&users->path);
	kvfree(users);
}

static const struct wprobe_probe_ops users_ops = { .detach = users_detach };

/* All of the places, or none. */
static int users_register(struct user_probes *users, u64 semaphore)
{
	u32 i;

	if (!S_ISREG(users->inode->i_mode))
		return -EINVAL;
	for (i = 0; i < users->count; i++) {
		int error = user_register(users->inode, &users->each[i], semaphore);

		if (error) {
			user_unregister(users, i);
			return error;
		}
	}
	return 0;
}

/* At `count` offsets of the file; `semaphore`: offset of a counter to keep above 0, or 0. */
int wp_uprobe_attach(const char *path, const u64 *offsets, u32 count, u64 semaphore, u32 pid, bool returns,
		     void *attachment, struct wprobe_probe **made)
{
	struct user_probes *users = kvzalloc(struct_size(users, each, count), GFP_KERNEL);
	int error;
	u32 i;

	if (!users)
		return -ENOMEM;
	error = kern_path(path, LOOKUP_FOLLOW, &users->path);
	if (error)
		goto free;
	users->probe.ops = &users_ops;
	users->inode = d_real_inode(users->path.dentry);
	users->count = count;
	for (i = 0; i < count; i++) {
		struct user_probe *user = &users->each[i];

		user->probe.attachment = attachment;
		user->probe.ops = &user_ops;
		user->probe.place = i;
		user->offset = offsets[i];
		user->pid = pid;
		if (returns)
			user->consumer.ret_handler = on_return;
		else
			user->consumer.handler = on_entry;
	}
	error = users_register(users, semaphore);
	if (error)
		goto put;
	*made = &users->probe;
	return 0;
put:
	path_put(&users->path);
free:
	kvfree(users);
	return error;
}
