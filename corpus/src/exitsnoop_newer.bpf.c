/* As a newer exitsnoop would be: the code comes before the name, the parent's number is gone. */
#include "kernel.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct task_struct {
	int exit_code;
	__u64 start_time;
};
#pragma clang attribute pop

struct event {
	__u32 pid;
	__u32 tid;
	int exit_code;
	__u32 sig;
	char comm[16];
	__u64 start_time;
	__u64 exit_time;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
} events SEC(".maps");

SEC("raw_tp/sched_process_exit")
int sched_process_exit(__u64 *ctx)
{
	struct task_struct *task = (struct task_struct *)ctx[0];
	__u64 pid_tgid = bpf_get_current_pid_tgid();
	int code = BPF_CORE_READ(task, exit_code);
	struct event event = {};

	event.pid = pid_tgid >> 32;
	event.tid = pid_tgid;
	event.exit_code = code >> 8;
	event.sig = code & 0xff;
	bpf_get_current_comm(&event.comm, sizeof(event.comm));
	event.start_time = BPF_CORE_READ(task, start_time);
	event.exit_time = bpf_ktime_get_ns();
	bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, &event, sizeof(event));
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
