/* kprobes at the start of a function and inside it, kretprobes, and both on a system call. */
#include "attach.h"

struct sums enters, insides, returns, calls, results;

SEC("kprobe/__x64_sys_getpgrp")
int enter(__u64 *ctx)
{
	if (attacher())
		note(&enters, ctx, 0, 13);
	return 0;
}

/* The tests write the offset of the kernel's second instruction over this one. */
SEC("kprobe/__x64_sys_getpgrp+0x00")
int inside(__u64 *ctx)
{
	if (attacher())
		note(&insides, ctx, 0, 13);
	return 0;
}

SEC("kretprobe/__x64_sys_getpgrp")
int leave(__u64 *ctx)
{
	if (attacher())
		note(&returns, ctx, 10, 11);
	return 0;
}

SEC("ksyscall/getpgid")
int call(__u64 *ctx)
{
	if (attacher())
		note(&calls, ctx, 0, 13);
	return 0;
}

SEC("kretsyscall/getpgid")
int result(__u64 *ctx)
{
	if (attacher())
		note(&results, ctx, 10, 11);
	return 0;
}

/* Never loaded natively: what must be refused, and why. */
SEC("?kprobe/no_such_function")
int missing(void *ctx)
{
	return 0;
}

SEC("?kprobe/__x64_sys_getpgrp+0x01")
int between(void *ctx)
{
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
