/* Counts the system calls of one process, or of one thread of it. */
#include "kernel.h"

struct watch {
	__u64 whose; /* a process or a thread; 0: nobody's */
	__u64 calls;
} watch;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 512);
	__type(key, __u64); /* the call's number */
	__type(value, __u64);
} numbers SEC(".maps");

SEC("raw_tp/sys_enter")
int count_call(__u64 *ctx)
{
	__u64 task = bpf_get_current_pid_tgid(), number = ctx[1], one = 1, *count;

	if (!watch.whose || (watch.whose != task >> 32 && watch.whose != (__u32)task))
		return 0;
	__sync_fetch_and_add(&watch.calls, 1);
	count = bpf_map_lookup_elem(&numbers, &number);
	if (count)
		__sync_fetch_and_add(count, 1);
	else
		bpf_map_update_elem(&numbers, &number, &one, BPF_ANY);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
