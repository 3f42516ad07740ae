/* How often each task has called getpgrp(2) since it last called getppid(2). */
#include "kernel.h"

struct calls {
	__u64 count, complement;
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct calls);
} storage SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, struct calls);
} seen SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, __s64);
} deleted SEC(".maps");

SEC("kprobe/__x64_sys_getpgrp")
int getpgrp_entry(void *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct calls first = { 0, ~0ULL }, now;
	__u32 pid = bpf_get_current_pid_tgid();
	struct calls *calls = bpf_task_storage_get(&storage, task, &first,
						   BPF_LOCAL_STORAGE_GET_F_CREATE);

	if (!calls)
		return 0;
	calls->count++;
	calls->complement = ~calls->count;
	now = *calls;
	bpf_map_update_elem(&seen, &pid, &now, BPF_ANY);
	return 0;
}

SEC("kprobe/__x64_sys_getppid")
int getppid_entry(void *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();
	__u32 pid = bpf_get_current_pid_tgid();
	__s64 result = bpf_task_storage_get(&storage, task, 0, 0) != 0;

	result = result * 1000 + bpf_task_storage_delete(&storage, task);
	bpf_map_update_elem(&deleted, &pid, &result, BPF_ANY);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
