/* A user-space function whose section names it whole: who counts is for the attachment to say. */
#include "kernel.h"

__u64 hits, cookie;

SEC("uprobe/libc.so.6:getpgrp")
int count_hits_of_a_process(void *ctx)
{
	__sync_fetch_and_add(&hits, 1);
	cookie = bpf_get_attach_cookie(ctx);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
