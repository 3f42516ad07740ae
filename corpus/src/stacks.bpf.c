/* Stacks of getpgrp(2)'s callers: ids in maps, addresses in buffers, and every refusal. */
#include "kernel.h"

#define DEPTH 20

struct {
	__uint(type, BPF_MAP_TYPE_STACK_TRACE);
	__uint(max_entries, 1000);
	__uint(key_size, 4);
	__uint(value_size, DEPTH * 8);
} stacks SEC(".maps");

/* So small that stacks meet in its buckets, and that it is full. */
struct {
	__uint(type, BPF_MAP_TYPE_STACK_TRACE);
	__uint(max_entries, 2);
	__uint(key_size, 4);
	__uint(value_size, 3 * 8);
} crowded SEC(".maps");

/* What each call gave, in the order of the calls. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, __s64);
} results SEC(".maps");

struct buffer {
	__s64 length;
	__u64 addresses[DEPTH];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, struct buffer);
} buffers SEC(".maps");

__u32 calls = 0;

static void result(__s64 value)
{
	__u32 number = calls++;

	bpf_map_update_elem(&results, &number, &value, BPF_ANY);
}

static void buffer(void *ctx, __u32 number, __u32 size, __u64 flags)
{
	struct buffer *buffer = bpf_map_lookup_elem(&buffers, &number);

	if (!buffer)
		return;
	if (size == 0)
		buffer->length = bpf_get_stack(ctx, buffer->addresses, 0, flags);
	else if (size == 12)
		buffer->length = bpf_get_stack(ctx, buffer->addresses, 12, flags);
	else
		buffer->length = bpf_get_stack(ctx, buffer->addresses, sizeof(buffer->addresses),
					       flags);
	result(buffer->length);
}

SEC("kprobe/__x64_sys_getpgrp")
int getpgrp_entry(void *ctx)
{
	result(bpf_get_stackid(ctx, &stacks, 0));
	result(bpf_get_stackid(ctx, &stacks, 1));
	result(bpf_get_stackid(ctx, &stacks, BPF_F_USER_STACK));
	result(bpf_get_stackid(ctx, &stacks, BPF_F_USER_STACK | BPF_F_FAST_STACK_CMP));
	result(bpf_get_stackid(ctx, &stacks, BPF_F_USER_STACK | 3));
	result(bpf_get_stackid(ctx, &stacks, BPF_F_REUSE_STACKID | 2));
	result(bpf_get_stackid(ctx, &stacks, 255));
	result(bpf_get_stackid(ctx, &stacks, BPF_F_USER_BUILD_ID));
	result(bpf_get_stackid(ctx, &stacks, 1ULL << 40));
	result(bpf_get_stackid(ctx, &crowded, 0));
	result(bpf_get_stackid(ctx, &crowded, 1));
	result(bpf_get_stackid(ctx, &crowded, BPF_F_USER_STACK));
	result(bpf_get_stackid(ctx, &crowded, BPF_F_REUSE_STACKID | 2));
	result(bpf_get_stackid(ctx, &crowded, BPF_F_REUSE_STACKID | BPF_F_USER_STACK | 1));
	buffer(ctx, 0, DEPTH * 8, 0);
	buffer(ctx, 1, DEPTH * 8, BPF_F_USER_STACK);
	buffer(ctx, 2, DEPTH * 8, 2);
	buffer(ctx, 3, DEPTH * 8, BPF_F_USER_STACK | 1);
	buffer(ctx, 4, 12, 0);
	buffer(ctx, 5, 0, BPF_F_USER_STACK);
	buffer(ctx, 6, DEPTH * 8, 255);
	buffer(ctx, 7, DEPTH * 8, BPF_F_USER_BUILD_ID);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
