/* As a newer filelife would be: the process first, its name before the file's, and what it was is filled in by another program. */
#include "kernel.h"

struct event {
	__u32 tgid;
	__u32 tid;
	__u64 delta_ns;
	char task[16];
	char file[64];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u64);
} start SEC(".maps");

/* Of which type its values are, nobody says. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct event));
} current SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
} events SEC(".maps");

#define O_CREAT 0100

SEC("kprobe/__x64_sys_openat")
int create(struct pt_regs *ctx)
{
	struct pt_regs *user = (struct pt_regs *)PT_REGS_PARM1(ctx);
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;
	__u64 now = bpf_ktime_get_ns();

	if (BPF_CORE_READ(user, dx) & O_CREAT)
		bpf_map_update_elem(&start, &tgid, &now, BPF_ANY);
	return 0;
}

SEC("kprobe/__x64_sys_unlink")
int unlink_entry(struct pt_regs *ctx)
{
	struct pt_regs *user = (struct pt_regs *)PT_REGS_PARM1(ctx);
	__u32 tid = bpf_get_current_pid_tgid();
	struct event event = {};

	event.tid = tid;
	bpf_probe_read_user_str(&event.file, sizeof(event.file), (void *)BPF_CORE_READ(user, di));
	bpf_map_update_elem(&current, &tid, &event, BPF_ANY);
	return 0;
}

SEC("kretprobe/__x64_sys_unlink")
int unlink_exit(struct pt_regs *ctx)
{
	__u32 tid = bpf_get_current_pid_tgid();
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;
	struct event *event = bpf_map_lookup_elem(&current, &tid);
	__u64 *created = bpf_map_lookup_elem(&start, &tgid);

	if (!event || !created)
		return 0;
	event->tgid = tgid;
	event->delta_ns = bpf_ktime_get_ns() - *created;
	bpf_get_current_comm(&event->task, sizeof(event->task));
	bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, event, sizeof(*event));
	bpf_map_delete_elem(&current, &tid);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
