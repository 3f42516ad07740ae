/* Tracepoints: whole records of system calls and of others, fields found by CO-RE, data of no fixed size. */
#include "attach.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct trace_event_raw_sched_process_exec {
	__u32 __data_loc_filename;
	int pid, old_pid;
};
#pragma clang attribute pop

struct sums enters, exits, switches, execs;
char filename[64];

SEC("tp/syscalls/sys_enter_openat")
int openat_enter(__u64 *ctx)
{
	if (attacher())
		note(&enters, ctx, 1, 6);
	return 0;
}

SEC("tp/syscalls/sys_exit_openat")
int openat_exit(__u64 *ctx)
{
	if (attacher())
		note(&exits, ctx, 1, 3);
	return 0;
}

/* From the first field on all kernels to the last of the shortest record. */
SEC("tp/sched/sched_switch")
int sched_switch(__u64 *ctx)
{
	if (attacher())
		note(&switches, ctx, 1, 8);
	return 0;
}

SEC("tp/sched/sched_process_exec")
int exec(struct trace_event_raw_sched_process_exec *ctx)
{
	char name[64] = {};
	__u32 at = ctx->__data_loc_filename & 0xffff;
	long length = bpf_probe_read_kernel_str(name, sizeof(name), (void *)ctx + at);

	if (__builtin_memcmp(name, "/bin/true", 10))
		return 0;
	note(&execs, (void *)name, 0, 8);
	add(&execs, 8, length);
	add(&execs, 9, ctx->pid);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
