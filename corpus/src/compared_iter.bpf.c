/* A program that only native eBPF attaches, beside one that either does. */
#include "kernel.h"

__u64 runs;

SEC("kprobe/__x64_sys_getpgrp")
int counts(void *ctx)
{
	__sync_fetch_and_add(&runs, 1);
	return 0;
}

SEC("iter/task")
int iterates(void *ctx)
{
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
