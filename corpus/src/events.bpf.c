/* Who makes which directory, as an event whose type only the code knows. */
#include "kernel.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
} made SEC(".maps");

struct made {
	__u64 time;
	__u32 pid;
	__u16 mode;
	char comm[16];
	char path[32];
};

SEC("kprobe/__x64_sys_mkdir")
int mkdir_entry(struct pt_regs *ctx)
{
	struct pt_regs *user = (struct pt_regs *)PT_REGS_PARM1(ctx);
	struct made event = {};

	event.time = bpf_ktime_get_ns();
	event.pid = bpf_get_current_pid_tgid() >> 32;
	event.mode = BPF_CORE_READ(user, si);
	bpf_get_current_comm(event.comm, sizeof(event.comm));
	bpf_probe_read_user_str(event.path, sizeof(event.path), (void *)BPF_CORE_READ(user, di));
	bpf_perf_event_output(ctx, &made, BPF_F_CURRENT_CPU, &event, sizeof(event));
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
