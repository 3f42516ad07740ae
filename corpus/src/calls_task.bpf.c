/* Who runs, where, since when: helpers about the current task, and variables of a CPU. */
#include "calls.h"

struct rq {
	int cpu;
} __attribute__((preserve_access_index));

extern const struct rq runqueues __ksym;

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, __u64);
} storage SEC(".maps");

MAP(groups, BPF_MAP_TYPE_CGROUP_ARRAY, __u32, __u32, 2);

/* Linux 6.1 leaves what follows the name. */
static __always_inline long comm(void *bytes, __u32 size)
{
	__builtin_memset(bytes, 0, BYTES);
	return bpf_get_current_comm(bytes, size);
}

SEC("kprobe/__x64_sys_getpgid")
int ids(void *ctx)
{
	__u32 size = (input.size & 31) + 1;
	void *task = (void *)bpf_get_current_task();

	CALL(bpf_get_current_pid_tgid());
	CALL(bpf_get_current_uid_gid());
	CALL(task);
	CALL((void *)bpf_get_current_task_btf() == task);
	CALL(bpf_get_smp_processor_id());
	CALL(bpf_get_numa_node_id());
	CALL(bpf_get_attach_cookie(ctx));
	CALL(comm(bytes, BYTES));
	CALL(bpf_get_current_comm(bytes, 1));
	CALL(bpf_get_current_comm(bytes, 3));
	CALL(comm(bytes, size));
	CALL(bpf_get_current_cgroup_id());
	CALL(bpf_get_current_ancestor_cgroup_id(input.number % 4));
	CALL(bpf_get_current_ancestor_cgroup_id(-1));
	CALL(bpf_current_task_under_cgroup(&groups, input.number % 3));
	CALL(bpf_get_ns_current_pid_tgid(input.device, input.inode, (void *)bytes, 8));
	CALL(bpf_get_ns_current_pid_tgid(input.device + 1, input.inode, (void *)bytes, 8));
	CALL(bpf_get_ns_current_pid_tgid(input.device | 1ULL << 40, input.inode, (void *)bytes, 8));
	CALL(bpf_get_ns_current_pid_tgid(input.device, input.inode, (void *)bytes, size));
	return 0;
}

SEC("kprobe/__x64_sys_getpgid")
int signals(void *ctx)
{
	/* Signal 0 arrives nowhere. Of two in one run natively the second depends on the probe, so there is one. */
	if (input.number & 1)
		CALL(bpf_send_signal(input.number % 5 ? 0 : 65));
	else
		CALL(bpf_send_signal_thread(input.number % 6 ? 0 : -1));
	return 0;
}

SEC("fentry/__x64_sys_getpgid")
int registers(void *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();

	CALL(bpf_task_pt_regs(task));
	CALL(bpf_probe_read_kernel(bytes, BYTES, (void *)bpf_task_pt_regs(task)));
	return 0;
}

static __always_inline long cpu_of(const struct rq *rq)
{
	return rq ? rq->cpu : -1;
}

SEC("fentry/__x64_sys_getpgid")
int variables(void *ctx)
{
	CALL(bpf_this_cpu_ptr(&runqueues));
	CALL(cpu_of(bpf_this_cpu_ptr(&runqueues)));
	CALL(bpf_per_cpu_ptr(&runqueues, 0));
	CALL(cpu_of(bpf_per_cpu_ptr(&runqueues, 1)));
	CALL(bpf_per_cpu_ptr(&runqueues, 4096));
	CALL(cpu_of(bpf_per_cpu_ptr(&runqueues, -1)));
	CALL(cpu_of(bpf_per_cpu_ptr(&runqueues, input.number)));
	return 0;
}

SEC("fentry/__x64_sys_getpgid")
int stored(void *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();
	__u64 first = input.number, *value;

	CALL(bpf_task_storage_get(&storage, task, 0, 0) != 0);
	CALL(bpf_task_storage_get(&storage, task, 0, input.number % 8 << 4) != 0);
	value = bpf_task_storage_get(&storage, task, &first,
				     input.number % 3 ? BPF_LOCAL_STORAGE_GET_F_CREATE : 0);
	CALL(value ? (*value)++ : -1);
	if (input.number % 4 == 0) {
		CALL(bpf_task_storage_delete(&storage, task));
		CALL(bpf_task_storage_delete(&storage, task));
	}
	return 0;
}

SEC("kprobe/__x64_sys_getpgid")
int chances(void *ctx)
{
	__u32 first = bpf_get_prandom_u32(), same = 0;

	for (int i = 0; i < 8; i++)
		same += first == bpf_get_prandom_u32();
	CALL(same);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
