/* As a newer biosnoop would be: times first, the request's size before its place. */
#include "kernel.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct request {
	unsigned int cmd_flags;
	unsigned int __data_len;
	__u64 __sector;
};
#pragma clang attribute pop

struct event {
	__u64 ts;
	__u64 delta;
	__u32 len;
	__u32 pid;
	__u64 sector;
	__u32 cmd_flags;
	char comm[16];
};

struct issued {
	__u64 ts;
	__u32 len;
	__u32 pid;
	char comm[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64);
	__type(value, struct issued);
} start SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
} events SEC(".maps");

SEC("raw_tp/block_rq_issue")
int block_rq_issue(__u64 *ctx)
{
	struct request *request = (struct request *)ctx[0];
	struct issued issued = {};
	__u64 key = ctx[0];

	issued.ts = bpf_ktime_get_ns();
	issued.len = BPF_CORE_READ(request, __data_len);
	issued.pid = bpf_get_current_pid_tgid() >> 32;
	bpf_get_current_comm(&issued.comm, sizeof(issued.comm));
	bpf_map_update_elem(&start, &key, &issued, BPF_ANY);
	return 0;
}

SEC("raw_tp/block_rq_complete")
int block_rq_complete(__u64 *ctx)
{
	struct request *request = (struct request *)ctx[0];
	__u64 key = ctx[0];
	struct issued *issued = bpf_map_lookup_elem(&start, &key);
	struct event event = {};

	if (!issued)
		return 0;
	event.ts = bpf_ktime_get_ns();
	event.delta = event.ts - issued->ts;
	event.len = issued->len;
	event.pid = issued->pid;
	event.sector = BPF_CORE_READ(request, __sector);
	event.cmd_flags = BPF_CORE_READ(request, cmd_flags);
	__builtin_memcpy(&event.comm, issued->comm, sizeof(event.comm));
	bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, &event, sizeof(event));
	bpf_map_delete_elem(&start, &key);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
