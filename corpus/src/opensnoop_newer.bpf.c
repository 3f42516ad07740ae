/* As a newer opensnoop would be: its event has as many bytes as the known one's, and other members at the same places. */
#include "kernel.h"

struct entered {
	const char *fname;
	__u64 flags;
};

struct event {
	__u64 ts;
	__u32 uid;
	__u32 pid;
	int flags;
	int ret;
	char comm[16];
	__u64 callers[2];
	char fname[255];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct entered);
} start SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
} events SEC(".maps");

/* The known one's are unsigned, and none is the largest of them. */
const volatile __s32 targ_uid = -1;

SEC("kprobe/__x64_sys_openat")
int openat_entry(struct pt_regs *ctx)
{
	struct pt_regs *user = (struct pt_regs *)PT_REGS_PARM1(ctx);
	__u32 tid = bpf_get_current_pid_tgid();
	struct entered entered = {};

	if (targ_uid >= 0 && targ_uid != (__u32)bpf_get_current_uid_gid())
		return 0;
	entered.fname = (const char *)BPF_CORE_READ(user, si);
	entered.flags = BPF_CORE_READ(user, dx);
	bpf_map_update_elem(&start, &tid, &entered, BPF_ANY);
	return 0;
}

SEC("kretprobe/__x64_sys_openat")
int openat_exit(struct pt_regs *ctx)
{
	__u32 tid = bpf_get_current_pid_tgid();
	struct entered *entered;
	struct event event = {};

	entered = bpf_map_lookup_elem(&start, &tid);
	if (!entered)
		return 0;
	event.ts = bpf_ktime_get_ns();
	event.uid = bpf_get_current_uid_gid();
	event.pid = bpf_get_current_pid_tgid() >> 32;
	event.flags = entered->flags;
	event.ret = PT_REGS_RC(ctx);
	bpf_get_current_comm(&event.comm, sizeof(event.comm));
	event.callers[0] = PT_REGS_IP(ctx);
	bpf_probe_read_user_str(&event.fname, sizeof(event.fname), entered->fname);
	bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, &event, sizeof(event));
	bpf_map_delete_elem(&start, &tid);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
