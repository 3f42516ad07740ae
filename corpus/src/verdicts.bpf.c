/* Programs of which each has a verdict of its own: one that is right, beside ones that cannot be translated, whose map there is not,
   that call what no runtime here has, and that ask before they do. */
#include "kernel.h"

#define BPF_MAP_TYPE_INODE_STORAGE 28

enum asked { ASKED };

struct {
	__uint(type, BPF_MAP_TYPE_INODE_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u64);
} inodes SEC(".maps");

static char name[] = "jiffies";
__u64 hits, after, asks, address;

SEC("raw_tp/sys_enter")
int good(void *ctx)
{
	__sync_fetch_and_add(&hits, 1);
	return 0;
}

SEC("?odd/section")
int odd(void *ctx)
{
	return 0;
}

SEC("?raw_tp/sys_enter")
int stores(__u64 *ctx)
{
	__u64 *value = bpf_inode_storage_get(&inodes, (void *)ctx[1], 0, 1);

	if (value)
		*value = 1;
	return 0;
}

SEC("?raw_tp/sys_enter")
int lacks(void *ctx)
{
	bpf_kallsyms_lookup_name(name, sizeof(name), 0, &address);
	__sync_fetch_and_add(&after, 1);
	return 0;
}

SEC("?raw_tp/sys_enter")
int guarded(void *ctx)
{
	if (bpf_core_enum_value_exists(enum asked, ASKED))
		bpf_kallsyms_lookup_name(name, sizeof(name), 0, &address);
	__sync_fetch_and_add(&asks, 1);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
