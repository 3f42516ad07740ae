/* Tail calls: taken, too many in a row, to nothing, outside the array. */
#include "kernel.h"

int add(void *ctx);
int chain(void *ctx);
int stutter(void *ctx);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 6);
	__uint(key_size, sizeof(__u32));
	__array(values, int(void *));
} programs SEC(".maps") = {
	.values = { [0] = (void *)&add, [1] = (void *)&chain, [3] = (void *)&stutter },
};

__u64 hits = 0, fell_through = 0, added = 0, links = 0, ends = 0, steps = 0;

SEC("kprobe/__x64_sys_getpgrp")
int getpgrp_entry(void *ctx)
{
	__u32 turn = hits++;

	bpf_tail_call(ctx, &programs, turn % 9);
	fell_through++;
	bpf_tail_call(ctx, &programs, 0);
	fell_through += 1000;
	return 0;
}

SEC("kprobe")
int add(void *ctx)
{
	added++;
	return 0;
}

SEC("kprobe")
int chain(void *ctx)
{
	links++;
	bpf_tail_call(ctx, &programs, 1);
	ends++;
	bpf_tail_call(ctx, &programs, 0);
	ends += 1000;
	return 0;
}

/* Tries an empty slot before each step. */
SEC("kprobe")
int stutter(void *ctx)
{
	steps++;
	bpf_tail_call(ctx, &programs, 2);
	bpf_tail_call(ctx, &programs, 3);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
