/* As a newer statsnoop would be: through a ring, with a user, and the path before the name of the task. */
#include "kernel.h"

struct event {
	__u32 pid;
	__u32 uid;
	__u64 ts_ns;
	int ret;
	char pathname[128];
	char comm[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u64);
} values SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 16);
} events SEC(".maps");

SEC("kprobe/__x64_sys_statx")
int statx_entry(struct pt_regs *ctx)
{
	struct pt_regs *user = (struct pt_regs *)PT_REGS_PARM1(ctx);
	__u32 tid = bpf_get_current_pid_tgid();
	__u64 path = BPF_CORE_READ(user, si);

	bpf_map_update_elem(&values, &tid, &path, BPF_ANY);
	return 0;
}

SEC("kretprobe/__x64_sys_statx")
int statx_exit(struct pt_regs *ctx)
{
	__u32 tid = bpf_get_current_pid_tgid();
	__u64 *path = bpf_map_lookup_elem(&values, &tid);
	struct event *event;

	if (!path)
		return 0;
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (event) {
		event->pid = bpf_get_current_pid_tgid() >> 32;
		event->uid = bpf_get_current_uid_gid();
		event->ts_ns = bpf_ktime_get_ns();
		event->ret = PT_REGS_RC(ctx);
		bpf_probe_read_user_str(&event->pathname, sizeof(event->pathname), (void *)*path);
		bpf_get_current_comm(&event->comm, sizeof(event->comm));
		bpf_ringbuf_submit(event, 0);
	}
	bpf_map_delete_elem(&values, &tid);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
