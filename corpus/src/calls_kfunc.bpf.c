/* Kernel functions. */
#include "calls.h"

struct task_struct {
	int pid;
} __attribute__((preserve_access_index));

extern struct task_struct *bpf_task_from_pid(__s32 pid) __ksym;
extern struct task_struct *bpf_task_acquire(struct task_struct *task) __ksym;
extern void bpf_task_release(struct task_struct *task) __ksym;
extern void *bpf_cast_to_kern_ctx(void *ctx) __ksym;
extern void *bpf_rdonly_cast(const void *address, __u32 type) __ksym;
extern void bpf_rcu_read_lock(void) __ksym;
extern void bpf_rcu_read_unlock(void) __ksym;

static __always_inline void from_pid(int pid)
{
	struct task_struct *task = bpf_task_from_pid(pid);

	CALL(task ? task->pid : -1);
	if (!task)
		return;
	CALL(bpf_get_task_stack(task, bytes, BYTES, BPF_F_USER_STACK));
	CALL(bpf_task_pt_regs(task));
	bpf_task_release(task);
}

SEC("fentry/__x64_sys_getpgid")
int tasks(void *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf(), *held;

	/* one that sleeps, a kernel thread, none, none, any, itself */
	from_pid(1);
	from_pid(2);
	from_pid(0);
	from_pid(-1);
	from_pid(input.number * 3);
	from_pid(bpf_get_current_pid_tgid());
	held = bpf_task_acquire(task);
	CALL(held == task);
	if (held)
		bpf_task_release(held);
	bpf_rcu_read_lock();
	CALL(task->pid);
	bpf_rcu_read_unlock();
	return 0;
}

SEC("kprobe/__x64_sys_getpgid")
int casts(struct pt_regs *ctx)
{
	struct pt_regs *regs = bpf_cast_to_kern_ctx(ctx);
	struct task_struct *task;

	CALL(regs->ip == PT_REGS_IP(ctx));
	task = bpf_rdonly_cast((void *)bpf_get_current_task(), bpf_core_type_id_kernel(struct task_struct));
	CALL(task->pid);
	task = bpf_rdonly_cast((void *)input.address, bpf_core_type_id_kernel(struct task_struct));
	CALL(task->pid);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
