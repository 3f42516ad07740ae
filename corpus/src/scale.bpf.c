/* What grows: programs on lseek(2) that write nothing that CPUs share but what they are asked to. */
#include "kernel.h"
#include <bpf/bpf_tracing.h>

/* How many keys the table has; the loader sets it. */
const volatile __u64 keys = 1;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, __u64);
	__type(value, __u64);
} table SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

/* Each CPU counts for itself. */
SEC("kprobe/__x64_sys_lseek")
int scale_own(void *ctx)
{
	__u32 zero = 0;
	__u64 *n = bpf_map_lookup_elem(&counts, &zero);

	if (n)
		(*n)++;
	return 0;
}

/* Keys in no order that a cache could know; only those that are there are counted. Their values stay what they are. */
SEC("kprobe/__x64_sys_lseek")
int scale_table(void *ctx)
{
	__u32 zero = 0;
	__u64 *n = bpf_map_lookup_elem(&counts, &zero), key, *value;

	if (!n)
		return 0;
	key = *n * 0x9e3779b97f4a7c15ULL % keys;
	value = bpf_map_lookup_elem(&table, &key);
	if (value && *value == key && !bpf_map_update_elem(&table, &key, &key, BPF_EXIST))
		(*n)++;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
