/* Counts in maps found in maps, with initial elements and with such as user space puts there. */
#include "kernel.h"

struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
};

struct inner first SEC(".maps"), second SEC(".maps"), third SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 4);
	__type(key, __u32);
	__array(values, struct inner);
} by_index SEC(".maps") = {
	.values = { [0] = &first, [2] = &second },
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 4);
	__type(key, __u32);
	__array(values, struct inner);
} by_key SEC(".maps") = {
	.values = { [1] = &third, [3] = &first },
};

__u64 unset = 0, outside = 0;
__u64 hits = 0;

static void count(void *outer, __u32 key, __u32 element)
{
	void *inner = bpf_map_lookup_elem(outer, &key);
	__u64 *value, new;

	if (!inner) {
		unset++;
		return;
	}
	value = bpf_map_lookup_elem(inner, &element);
	if (!value) {
		outside++;
		return;
	}
	new = *value + 1;
	bpf_map_update_elem(inner, &element, &new, BPF_ANY);
}

SEC("kprobe/__x64_sys_getpgrp")
int getpgrp_entry(void *ctx)
{
	__u32 turn = hits++;

	count(&by_index, turn % 5, 0);
	count(&by_index, turn % 3, turn % 5);
	count(&by_key, turn % 5, 1);
	count(&by_key, turn % 4, 2);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
