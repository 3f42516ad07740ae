/* Types that only a kernel module has: ext4's. */
#include "kernel.h"

#define CORE __attribute__((preserve_access_index))

struct inode {
	unsigned long i_ino;
} CORE;
struct ext4_inode_info {
	struct inode vfs_inode;
	__u32 i_dtime;
} CORE;
struct ext4_of_no_kernel {
	__u32 x;
} CORE;

__u64 values[7];

SEC("kprobe/__x64_sys_getpgrp")
int module_types(void *ctx)
{
	struct ext4_inode_info *info = 0;

	values[0] = bpf_core_type_exists(struct ext4_inode_info);
	values[1] = bpf_core_type_size(struct ext4_inode_info);
	values[2] = bpf_core_field_offset(info->vfs_inode);
	values[3] = bpf_core_field_offset(info->i_dtime);
	values[4] = bpf_core_field_offset(struct inode, i_ino);
	values[5] = bpf_core_type_exists(struct ext4_of_no_kernel);
	values[6]++;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
