/* Fields that the kernel has in another width, and with a sign or as something else than an integer here: poison. */
#include "kernel.h"

#define CORE __attribute__((preserve_access_index))

struct task_struct___signed { long flags; } CORE;
struct task_struct___pointer { void *flags; } CORE;

__u64 values[2];

SEC("kprobe/__x64_sys_getpgrp")
int misfits(void *ctx)
{
	void *task = (void *)bpf_get_current_task();

	values[0] = ((struct task_struct___signed *)task)->flags;
	values[1] = (__u64)((struct task_struct___pointer *)task)->flags;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
