/* Tail calls from functions that programs call: taken, on and on, to nothing, while others wait. Who includes this says what
 * the sections are: one array has programs of one type. */
#ifndef CORPUS_TAILWITHIN_H
#define CORPUS_TAILWITHIN_H
#include "kernel.h"

int leaf(void *ctx);
int link(void *ctx);
int deeper(void *ctx);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 5);
	__uint(key_size, sizeof(__u32));
	__array(values, int(void *));
} programs SEC(".maps") = {
	.values = { [0] = (void *)&leaf, [1] = (void *)&link, [2] = (void *)&deeper },
};

__u64 hits, leaves, links, ends, deeps, fell_through, kept, spoilt, given, sums;

static __noinline int go(void *ctx, __u32 index)
{
	volatile __u64 own = index;

	bpf_tail_call(ctx, &programs, index);
	fell_through++;
	return 100 + own;
}

/* Has a frame that must be as it was when `go` is back. */
static __noinline int wait(void *ctx, __u32 index)
{
	volatile __u64 frame[6];
	int i, result;

	for (i = 0; i < 6; i++)
		frame[i] = hits * 7 + i;
	result = go(ctx, index);
	for (i = 0; i < 6; i++)
		if (frame[i] == hits * 7 + i)
			kept++;
		else
			spoilt++;
	return result;
}

static __always_inline int all(void *ctx)
{
	volatile __u64 frame[4] = { 1, 2, 3, 4 };

	hits++;
	/* leaf, a chain of links to the end, one more level, an empty place, outside */
	given = wait(ctx, 0);
	sums += given;
	given = wait(ctx, 2);
	sums += given * 10;
	given = wait(ctx, 3);
	sums += given * 100;
	given = wait(ctx, hits + 4);
	sums += given * 1000;
	given = wait(ctx, 1);
	sums += given * 10000;
	kept += frame[0] + frame[1] + frame[2] + frame[3];
	return 0;
}

SEC(ENTRY) int within(void *ctx) { return all(ctx); }

SEC(TARGET) int leaf(void *ctx)
{
	volatile __u64 frame[8] = { leaves, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee };

	leaves++;
	return 7 + frame[1] - frame[2];
}

/* By itself, no function in between, until there may be no more; then its end's result is the function's. */
SEC(TARGET) int link(void *ctx)
{
	links++;
	bpf_tail_call(ctx, &programs, 1);
	ends++;
	return 3;
}

SEC(TARGET) int deeper(void *ctx)
{
	deeps++;
	return wait(ctx, 0) + 1000;
}

char LICENSE[] SEC("license") = "GPL";
#endif
