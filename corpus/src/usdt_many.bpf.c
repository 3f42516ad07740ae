/* A tracepoint at more places than the map of specifications has room for. */
#include "attach.h"
#include <bpf/usdt.bpf.h>

__u64 hits, sum;

SEC("usdt")
int BPF_USDT(many, int x)
{
	__sync_fetch_and_add(&hits, 1);
	__sync_fetch_and_add(&sum, x);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
