/* What a comparison of two runtimes must see: data as it was loaded, arguments that a loader's tables lead to, what a program wrote
 * of a record and nothing else. */
#include "kernel.h"
#include <bpf/usdt.bpf.h>

/* Only user space changes it, and nobody does. */
volatile __u64 weight = 7;
__u64 weighed;

struct filled {
	__u64 number;
	__u32 part;
	__u32 whole;
};

struct ring {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
};
struct ring partial SEC(".maps"), arguments SEC(".maps");

SEC("kprobe/__x64_sys_getpgrp")
int weighs(void *ctx)
{
	weighed += weight;
	return 0;
}

/* What other records leave behind is another number each time, and lies where the next one has what it does not fill. */
SEC("kprobe/__x64_sys_getpgrp")
int fills(void *ctx)
{
	__u32 *noise = bpf_ringbuf_reserve(&partial, 64, 0);
	struct filled *record;

	if (!noise)
		return 0;
	/* by stores to places that are known, which are no members of the next record */
#pragma clang loop unroll(full)
	for (int i = 0; i < 16; i++)
		noise[i] = bpf_get_prandom_u32();
	bpf_ringbuf_discard(noise, 0);
	record = bpf_ringbuf_reserve(&partial, 64, 0);
	if (!record)
		return 0;
	record->number = 0x1234567800000001;
	record->part = weight; /* no constant, or both were one store */
	record->whole = 4;
	bpf_ringbuf_submit(record, 0);
	return 0;
}

SEC("?usdt")
int BPF_USDT(reads, __u64 a, int b, long c)
{
	__u64 known[2] = { c, bpf_usdt_arg_cnt(ctx) };

	/* that of a place that nobody knows is none */
	if (c)
		bpf_ringbuf_output(&arguments, known, sizeof(known), 0);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
