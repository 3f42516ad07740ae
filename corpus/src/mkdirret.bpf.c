/* What mkdir returned: a kretprobe, and a ksyscall program that saves the mode for it. Exercises deletion, flags
 * and return values of the map helpers, and initialised data. */
#include "kernel.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u64); /* pid_tgid */
	__type(value, __u64);
} modes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __s64);   /* result */
	__type(value, __u64); /* modes asked for, or-ed */
} results SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2);
	__type(key, __u64);
	__type(value, __u64);
} full SEC(".maps");

const volatile __u64 mask = 07777;
__u64 calls = 1000; /* .data: counts on from here */
/* Of deleting twice, of BPF_NOEXIST, of a full map. 32 bits: before 6.4 the kernel's map functions return int, and a
 * program sees the upper half of a negative result as zeros. */
__s32 errors[3];
char comm[16];

SEC("ksyscall/mkdir")
int mkdir_entry(struct pt_regs *ctx)
{
	struct pt_regs *user = (struct pt_regs *)PT_REGS_PARM1(ctx);
	__u64 pid_tgid = bpf_get_current_pid_tgid(), mode = BPF_CORE_READ(user, si) & mask;

	bpf_map_update_elem(&modes, &pid_tgid, &mode, BPF_ANY);
	errors[1] = bpf_map_update_elem(&modes, &pid_tgid, &mode, BPF_NOEXIST);
	errors[2] = bpf_map_update_elem(&full, &mode, &mode, BPF_ANY);
	bpf_get_current_comm(comm, sizeof(comm));
	__sync_fetch_and_add(&calls, 1);
	return 0;
}

SEC("kretprobe/__x64_sys_mkdir")
int mkdir_exit(struct pt_regs *ctx)
{
	__u64 pid_tgid = bpf_get_current_pid_tgid(), none = 0;
	__s64 result = PT_REGS_RC(ctx);
	__u64 *mode = bpf_map_lookup_elem(&modes, &pid_tgid), *seen;

	if (!mode)
		return 0;
	bpf_map_update_elem(&results, &result, &none, BPF_NOEXIST);
	seen = bpf_map_lookup_elem(&results, &result);
	if (seen)
		__sync_fetch_and_or(seen, *mode);
	bpf_map_delete_elem(&modes, &pid_tgid);
	errors[0] = bpf_map_delete_elem(&modes, &pid_tgid);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
