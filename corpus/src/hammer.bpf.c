/* Maps under fire from all CPUs, and from user space meanwhile. */
#include "kernel.h"

struct item {
	__u64 cpu, number, complement;
};

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 64);
	__type(value, struct item);
} queue SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 32);
	__type(key, __u32);
	__type(value, struct item);
} hash SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, struct item);
} lru SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} numbers SEC(".maps");

struct {
	__u64 hits, pushed, full, created, existed, crowded, deleted, strange;
} counts;

/* What the last call of getppid(2) took from the queue. */
struct {
	__u64 any;
	struct item item;
} taken SEC(".bss.taken");

#define COUNT(counter) __sync_fetch_and_add(&counts.counter, 1)

SEC("kprobe/__x64_sys_getpgrp")
int getpgrp_entry(void *ctx)
{
	__u32 zero = 0, key;
	__u64 *number = bpf_map_lookup_elem(&numbers, &zero);
	struct item item;

	if (!number)
		return 0;
	COUNT(hits);
	item.cpu = bpf_get_smp_processor_id();
	item.number = ++*number;
	item.complement = ~item.number;
	if (bpf_map_push_elem(&queue, &item, 0))
		COUNT(full);
	else
		COUNT(pushed);
	key = item.number * 0x9e3779b9 >> 10 & 63;
	switch (bpf_map_update_elem(&hash, &key, &item, BPF_NOEXIST)) {
	case 0:
		COUNT(created);
		break;
	case -17: /* EEXIST */
		COUNT(existed);
		break;
	case -7: /* E2BIG */
		COUNT(crowded);
		break;
	default:
		COUNT(strange);
	}
	key = (item.number * 31 + item.cpu) & 63;
	if (!bpf_map_delete_elem(&hash, &key))
		COUNT(deleted);
	key = item.number & 255;
	if (bpf_map_update_elem(&lru, &key, &item, BPF_ANY))
		COUNT(strange);
	return 0;
}

SEC("kprobe/__x64_sys_getppid")
int getppid_entry(void *ctx)
{
	taken.any = !bpf_map_pop_elem(&queue, &taken.item);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
