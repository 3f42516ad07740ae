/* Every kind of CO-RE relocation, with the values it gives in a running program. */
#include "kernel.h"

#define CORE __attribute__((preserve_access_index))

enum pid_type___moved { PIDTYPE_SID___moved = 99, PIDTYPE_NONE___moved = 98 };
struct list_head { struct list_head *next, *prev; } CORE;
struct list_head___other { int next; } CORE;
struct no_such_struct { int x; } CORE;
struct task_struct {
	struct task_struct *group_leader;
	int pid, tgid, exit_code;
	unsigned int sched_reset_on_fork : 1, in_execve : 1;
	char comm[16];
} CORE;

struct pt_regs___narrow { unsigned int di; } CORE;

__u64 values[19];

SEC("kprobe/__x64_sys_getpgrp")
int relocations(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	values[0] = bpf_core_type_exists(struct task_struct);
	values[1] = bpf_core_type_exists(struct no_such_struct);
	values[2] = bpf_core_type_size(struct pt_regs);
	values[3] = bpf_core_type_size(struct no_such_struct);
	values[4] = bpf_core_type_id_kernel(struct task_struct);
	values[5] = bpf_core_type_id_local(struct task_struct);
	values[6] = bpf_core_type_matches(struct list_head);
	values[7] = bpf_core_type_matches(struct list_head___other);
	values[8] = bpf_core_enum_value_exists(enum pid_type___moved, PIDTYPE_SID___moved);
	values[9] = bpf_core_enum_value_exists(enum pid_type___moved, PIDTYPE_NONE___moved);
	values[10] = bpf_core_enum_value(enum pid_type___moved, PIDTYPE_SID___moved);
	values[11] = bpf_core_field_exists(task->comm);
	values[12] = bpf_core_field_size(task->comm);
	values[13] = BPF_CORE_READ_BITFIELD_PROBED(task, sched_reset_on_fork);
	values[14] = BPF_CORE_READ_BITFIELD_PROBED(task, in_execve);
	values[15] = BPF_CORE_READ(task, group_leader, pid);
	values[16] = BPF_CORE_READ(task, comm[3]);
	values[17]++;
	/* All 64 bits: the load becomes as wide as the kernel's field. */
	values[18] = ((struct pt_regs___narrow *)ctx)->di;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
