/* Raw tracepoints, with and without BTF: arguments of every size, and seven of them. */
#include "attach.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct task_struct {
	int pid;
};
#pragma clang attribute pop

struct sums enters, exits, switches, allocations, shrinks;

SEC("raw_tp/sys_enter")
int sys_enter(__u64 *ctx)
{
	if (attacher() && ctx[1] == 111 /* getpgrp */)
		note(&enters, ctx, 1, 2);
	return 0;
}

SEC("tp_btf/sys_exit")
int BPF_PROG(sys_exit, struct pt_regs *regs, long ret)
{
	if (attacher() && regs->orig_ax == 111)
		note(&exits, ctx, 1, 2);
	return 0;
}

SEC("tp_btf/sched_switch")
int BPF_PROG(sched_switch, bool preempt, struct task_struct *prev, struct task_struct *next)
{
	if (!attacher())
		return 0;
	note(&switches, ctx, 0, 1);
	add(&switches, 1, prev->pid);
	add(&switches, 2, next->pid);
	return 0;
}

/* `int node` is -1, with whatever above it. */
SEC("raw_tp/kmalloc")
int kmalloc(__u64 *ctx)
{
	if (attacher())
		note(&allocations, ctx, 0, 6);
	return 0;
}

SEC("raw_tp/mm_shrink_slab_start")
int shrink(__u64 *ctx)
{
	if (attacher())
		note(&shrinks, ctx, 0, 7);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
