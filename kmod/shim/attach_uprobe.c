// SPDX-License-Identifier: GPL-2.0 OR MIT
/* uprobes: a place in a file, in whatever process maps it. */
#include <linux/dcache.h>
#include <linux/fs.h>
#include <linux/namei.h>
#include <linux/slab.h>
#include <linux/uprobes.h>
#include <linux/version.h>

#include "wprobe.h"

struct user_probe {
	struct wprobe_probe probe;
	struct uprobe_consumer consumer;
	struct inode *inode;
	loff_t offset;
	/* the process whose hits count; 0: any */
	u32 pid;
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
	struct uprobe *uprobe;
#endif
};

/* The handlers may be preempted; a hit is not. */
static int on_entry(struct uprobe_consumer *consumer, struct pt_regs *regs)
{
	struct user_probe *user = container_of(consumer, struct user_probe, consumer);

	if (!user->pid || user->pid == current->tgid)
		wprobe_hit(&user->probe, regs, regs);
	return 0;
}

static int on_return(struct uprobe_consumer *consumer, unsigned long function, struct pt_regs *regs)
{
	return on_entry(consumer, regs);
}

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
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
	iput(user->inode);
	kfree(user);
}

static const struct wprobe_probe_ops user_ops = { .detach = user_detach };

static struct inode *find_inode(const char *name)
{
	struct path path;
	struct inode *inode;
	int error = kern_path(name, LOOKUP_FOLLOW, &path);

	if (error)
		return ERR_PTR(error);
	inode = igrab(d_real_inode(path.dentry));
	path_put(&path);
	if (!inode)
		return ERR_PTR(-ENOENT);
	if (!S_ISREG(inode->i_mode)) {
		iput(inode);
		return ERR_PTR(-EINVAL);
	}
	return inode;
}

/* At `offset` of the file; `semaphore`: offset of a counter to keep above 0, or 0. */
int wp_uprobe_attach(const char *path, u64 offset, u64 semaphore, u32 pid, bool returns,
		     void *attachment, struct wprobe_probe **made)
{
	struct user_probe *user;
	struct inode *inode = find_inode(path);
	int error;

	if (IS_ERR(inode))
		return PTR_ERR(inode);
	user = kzalloc(sizeof(*user), GFP_KERNEL);
	if (!user) {
		iput(inode);
		return -ENOMEM;
	}
	user->probe.attachment = attachment;
	user->probe.ops = &user_ops;
	user->inode = inode;
	user->offset = offset;
	user->pid = pid;
	if (returns)
		user->consumer.ret_handler = on_return;
	else
		user->consumer.handler = on_entry;
	error = user_register(user, semaphore);
	if (error) {
		iput(inode);
		kfree(user);
	} else {
		*made = &user->probe;
	}
	return error;
}
