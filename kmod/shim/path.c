// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Where the kernel keeps what makes up a path: offsets, which Rust reads through. [probe]
 */
#include <linux/dcache.h>
#include <linux/fs.h>
#include <linux/fs_struct.h>
#include <linux/mount.h>
#include <linux/path.h>
#include <linux/sched.h>

#include "wprobe.h"

/* How struct mount begins, which is the VFS's own (fs/mount.h). A test compares what comes of it with native. */
struct mount_start {
	struct hlist_node hash;
	void *parent;
	struct dentry *point;
	struct vfsmount mnt;
};

#define OF_MOUNT(field) (s32)(offsetof(struct mount_start, field) - offsetof(struct mount_start, mnt))

/* false: the current task has no root */
bool wp_path_layout(struct wprobe_path_layout *layout)
{
	const struct fs_struct *fs = READ_ONCE(current->fs);

	if (!fs)
		return false;
	*layout = (struct wprobe_path_layout){
		/* compared only, so they need not be a pair while another thread changes them */
		.root_mount = (u64)READ_ONCE(fs->root.mnt),
		.root_entry = (u64)READ_ONCE(fs->root.dentry),
		.path_mount = offsetof(struct path, mnt),
		.path_entry = offsetof(struct path, dentry),
		.entry_parent = offsetof(struct dentry, d_parent),
		.entry_name = offsetof(struct dentry, d_name.name),
		.entry_length = offsetof(struct dentry, d_name.len),
		.entry_hashed = offsetof(struct dentry, d_hash.pprev),
		.entry_operations = offsetof(struct dentry, d_op),
		.entry_super = offsetof(struct dentry, d_sb),
		.entry_inode = offsetof(struct dentry, d_inode),
		.operations_name = offsetof(struct dentry_operations, d_dname),
		.super_magic = offsetof(struct super_block, s_magic),
		.inode_number = offsetof(struct inode, i_ino),
		.mount_root = offsetof(struct vfsmount, mnt_root),
		.mount_inside = offsetof(struct mount_start, mnt),
		.mount_parent = OF_MOUNT(parent),
		.mount_point = OF_MOUNT(point),
	};
	return true;
}
