/* Who calls getpgrp(2), and where: every helper about the current task but those of ids and names. */
#include "kernel.h"

struct {
	__uint(type, BPF_MAP_TYPE_CGROUP_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u32);
} groups SEC(".maps");

__s64 results[32];
__u64 device = 0, inode = 0; /* set by the test */
__u32 signal = 0;
struct bpf_pidns_info {
	__u32 pid, tgid;
} ids[4];

#define RESULT(slot, value) results[slot] = (value)

SEC("kprobe/__x64_sys_getpgrp")
int getpgrp_entry(void *ctx)
{
	RESULT(0, bpf_current_task_under_cgroup(&groups, 0));
	RESULT(1, bpf_current_task_under_cgroup(&groups, 1));
	RESULT(2, bpf_current_task_under_cgroup(&groups, 2));
	RESULT(3, bpf_current_task_under_cgroup(&groups, 4));
	RESULT(4, bpf_get_current_cgroup_id());
	RESULT(5, bpf_get_current_ancestor_cgroup_id(0));
	RESULT(6, bpf_get_current_ancestor_cgroup_id(1));
	RESULT(7, bpf_get_current_ancestor_cgroup_id(99));
	RESULT(8, bpf_get_current_ancestor_cgroup_id(-1));
	RESULT(9, bpf_get_numa_node_id());
	RESULT(10, bpf_get_ns_current_pid_tgid(device, inode, &ids[0], sizeof(ids[0])));
	RESULT(11, bpf_get_ns_current_pid_tgid(device + 1, inode, &ids[1], sizeof(ids[1])));
	RESULT(12, bpf_get_ns_current_pid_tgid(device | 1ULL << 40, inode, &ids[2], sizeof(ids[2])));
	RESULT(13, bpf_get_ns_current_pid_tgid(device, inode + 1, &ids[3], sizeof(ids[3])));
	if (signal) {
		RESULT(14, bpf_send_signal(signal));
		RESULT(15, bpf_send_signal_thread(signal));
	}
	return 0;
}

/* Clocks, which tell two times. */
SEC("kprobe/__x64_sys_getppid")
int getppid_entry(void *ctx)
{
	results[16] = bpf_ktime_get_ns();
	results[17] = bpf_jiffies64();
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
