/* As a newer execsnoop would be: events end behind the arguments, of which there are as many bytes as there are. */
#include "kernel.h"

#define ARGSIZE 128

struct event {
	__u64 start;
	int retval;
	__u32 pid;
	__u32 uid;
	int args_count;
	unsigned int args_size;
	char comm[16];
	char args[4 * ARGSIZE];
};

#define BASE __builtin_offsetof(struct event, args)

/* Of which type its values are, nobody says. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct event));
} execs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
} events SEC(".maps");

/* Nor of which this is. */
static const char empty[sizeof(struct event)] = {};

SEC("kprobe/__x64_sys_execve")
int execve_entry(struct pt_regs *ctx)
{
	struct pt_regs *user = (struct pt_regs *)PT_REGS_PARM1(ctx);
	__u32 tid = bpf_get_current_pid_tgid();
	struct event *event;
	long size;

	if (bpf_map_update_elem(&execs, &tid, empty, BPF_ANY))
		return 0;
	event = bpf_map_lookup_elem(&execs, &tid);
	if (!event)
		return 0;
	event->start = bpf_ktime_get_ns();
	event->pid = bpf_get_current_pid_tgid() >> 32;
	event->uid = bpf_get_current_uid_gid();
	event->args_count = 1;
	size = bpf_probe_read_user_str(event->args, ARGSIZE, (void *)BPF_CORE_READ(user, di));
	if (size > 0 && size <= ARGSIZE)
		event->args_size = size;
	return 0;
}

SEC("kretprobe/__x64_sys_execve")
int execve_exit(struct pt_regs *ctx)
{
	__u32 tid = bpf_get_current_pid_tgid();
	struct event *event = bpf_map_lookup_elem(&execs, &tid);
	__u64 size;

	if (!event)
		return 0;
	event->retval = PT_REGS_RC(ctx);
	bpf_get_current_comm(&event->comm, sizeof(event->comm));
	size = BASE + event->args_size;
	if (size <= sizeof(*event))
		bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, event, size);
	bpf_map_delete_elem(&execs, &tid);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
