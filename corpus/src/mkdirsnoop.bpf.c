/* Who makes which directory with which mode: the pathname comes from user memory, the mode through
 * CO-RE from the registers that the syscall entry saved. */
#include "kernel.h"

struct seen {
	char pathname[64];
	__u64 mode;
	__s64 length; /* of the pathname, NUL included, or the negative errno */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64); /* pid_tgid */
	__type(value, struct seen);
} directories SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

static void count(__u32 what)
{
	__u64 *n = bpf_map_lookup_elem(&counts, &what);

	if (n)
		__sync_fetch_and_add(n, 1);
}

SEC("kprobe/__x64_sys_mkdir")
int mkdir_entry(struct pt_regs *ctx)
{
	struct pt_regs *user = (struct pt_regs *)PT_REGS_PARM1(ctx);
	__u64 pid_tgid = bpf_get_current_pid_tgid();
	struct seen seen = {};

	seen.length = bpf_probe_read_user_str(seen.pathname, sizeof(seen.pathname),
					      (void *)BPF_CORE_READ(user, di));
	seen.mode = BPF_CORE_READ(user, si);
	count(seen.length < 0);
	bpf_map_update_elem(&directories, &pid_tgid, &seen, BPF_ANY);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
