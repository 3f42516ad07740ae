/* Fields that no kernel has: behind a question they do no harm, reached they end the run. */
#include "kernel.h"

struct task_struct___other {
	int no_such_field;
} __attribute__((preserve_access_index));

__u64 asked, value;

SEC("kprobe/__x64_sys_getpgrp")
int guarded(void *ctx)
{
	struct task_struct___other *task = (void *)bpf_get_current_task();

	if (bpf_core_field_exists(task->no_such_field))
		value = BPF_CORE_READ(task, no_such_field);
	else
		__sync_fetch_and_add(&asked, 1);
	return 0;
}

SEC("kprobe/__x64_sys_getpgrp")
int reached(void *ctx)
{
	struct task_struct___other *task = (void *)bpf_get_current_task();

	value = BPF_CORE_READ(task, no_such_field);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
