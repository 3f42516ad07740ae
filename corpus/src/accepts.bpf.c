/* Counts what ../modules/accept.wat counts. */
#include "kernel.h"

__u64 accepts;

SEC("kprobe/__x64_sys_accept4")
int accept_entry(void *ctx)
{
	__sync_fetch_and_add(&accepts, 1);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
