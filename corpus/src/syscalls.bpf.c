/* Counts entries of the syscalls that the hand-written modules in ../modules count. */
#include "kernel.h"

__u64 forks, mkdirs, openats;

SEC("kprobe/__x64_sys_fork")
int fork_entry(void *ctx)
{
	__sync_fetch_and_add(&forks, 1);
	return 0;
}

SEC("kprobe/__x64_sys_mkdir")
int mkdir_entry(void *ctx)
{
	__sync_fetch_and_add(&mkdirs, 1);
	return 0;
}

SEC("kprobe/__x64_sys_openat")
int openat_entry(void *ctx)
{
	__sync_fetch_and_add(&openats, 1);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
