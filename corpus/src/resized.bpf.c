/* Unsigned fields that the kernel has in another width: libbpf changes the instructions. The verifier takes none of it, but is asked
 * afterwards. */
#include "kernel.h"

#define CORE __attribute__((preserve_access_index))

struct task_struct___wide { unsigned long flags; } CORE;
struct task_struct___byte { unsigned char flags; } CORE;
struct task_struct___same { unsigned int flags; } CORE;
struct pt_regs___narrow { unsigned int si, di; } CORE;

__u64 values[5];

SEC("kprobe/__x64_sys_getpgrp")
int resized(struct pt_regs___narrow *ctx)
{
	void *task = (void *)bpf_get_current_task();

	values[0] = ((struct task_struct___wide *)task)->flags;
	values[1] = ((struct task_struct___byte *)task)->flags;
	values[2] = ((struct task_struct___same *)task)->flags;
	values[3] = ctx->si;
	values[4] = ctx->di;
	((struct task_struct___wide *)task)->flags = 1;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
