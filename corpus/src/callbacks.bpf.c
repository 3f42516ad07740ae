/* Helpers that call back. Each call's result lies in a slot of its own. Needs no event where it is test-run. */
#include "kernel.h"

#define map(name, kind, key_type, value_type, entries)                                             \
	struct {                                                                                   \
		__uint(type, kind);                                                                \
		__uint(max_entries, entries);                                                      \
		__type(key, key_type);                                                             \
		__type(value, value_type);                                                         \
	} name SEC(".maps")

struct pair {
	__u64 first, second, third;
};

map(hash, BPF_MAP_TYPE_HASH, struct pair, __u64, 16);
map(array, BPF_MAP_TYPE_ARRAY, __u32, __u64, 7);
map(percpu, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, __u64, 5);

__s64 results[32];

/* Not on the stack, whose contents the verifier would follow through every turn. */
struct sum {
	__u64 turns, sum, stop;
} sum;

static long turn(__u64 index, __u64 *context)
{
	sum.turns += *context;
	sum.sum += index;
	return sum.turns == sum.stop;
}

static long nest(__u64 index, __u64 *context)
{
	return bpf_loop(index, turn, context, 0) == 7;
}

static __always_inline int all_loops(void)
{
	__u64 context = 1;

	results[0] = bpf_loop(100, turn, &context, 0);
	results[1] = sum.sum;
	results[2] = bpf_loop(0, turn, &context, 0);
	sum.stop = sum.turns + 5;
	results[3] = bpf_loop(100, turn, &context, 0);
	results[4] = sum.sum;
	/* 32 bits: where the verifier inlines the loop, the upper half is lost */
	results[5] = (int)bpf_loop((8 << 20) + 1, turn, &context, 0);
	results[6] = bpf_loop(20, nest, &context, 0);
	results[7] = sum.turns;
	results[8] = sum.sum;
	return 0;
}

SEC("raw_tp/loops")
int loops(void *ctx)
{
	return all_loops();
}

SEC("kprobe/__x64_sys_getpgrp")
int loops_in_probe(void *ctx)
{
	return all_loops();
}

static long fill(__u64 index, void *ctx)
{
	struct pair key = { index, ~index, index * 3 };
	__u64 value = index * index;
	__u32 number = index;

	bpf_map_update_elem(&hash, &key, &value, BPF_ANY);
	bpf_map_update_elem(&array, &number, &value, BPF_ANY);
	bpf_map_update_elem(&percpu, &number, &value, BPF_ANY);
	return 0;
}

static long check_pair(void *map, struct pair *key, __u64 *value, __u64 *context)
{
	sum.turns += *context;
	if (key->second == ~key->first && key->third == key->first * 3 &&
	    *value == key->first * key->first)
		sum.sum += *value;
	if (key->first % 2)
		bpf_map_delete_elem(map, key);
	return 0;
}

static long check_number(void *map, __u32 *key, __u64 *value, __u64 *context)
{
	sum.turns += *context;
	sum.sum += *key * 1000 + *value;
	*value += 1;
	return *key == sum.stop;
}

static __always_inline int all_elements(void)
{
	__u64 context = 1;

	bpf_loop(12, fill, NULL, 0);
	results[0] = bpf_for_each_map_elem(&hash, check_pair, &context, 0);
	results[1] = sum.turns;
	results[2] = sum.sum;
	results[3] = bpf_for_each_map_elem(&hash, check_pair, &context, 0);
	results[4] = sum.sum;
	sum.stop = 100;
	results[5] = bpf_for_each_map_elem(&array, check_number, &context, 0);
	results[6] = sum.sum;
	sum.stop = 3;
	results[7] = bpf_for_each_map_elem(&array, check_number, &context, 0);
	results[8] = sum.sum;
	results[9] = bpf_for_each_map_elem(&percpu, check_number, &context, 0);
	results[10] = sum.sum;
	/* 32 bits, too: older kernels' result is an int */
	results[11] = (int)bpf_for_each_map_elem(&percpu, check_number, &context, 1);
	return 0;
}

SEC("raw_tp/elements")
int elements(void *ctx)
{
	return all_elements();
}

SEC("kprobe/__x64_sys_getpgrp")
int elements_in_probe(void *ctx)
{
	return all_elements();
}

char LICENSE[] SEC("license") = "GPL";
