/* uprobes, uretprobes, usdt with its arguments, and samples. */
#include "attach.h"
#include <bpf/usdt.bpf.h>

struct sums enters, returns, tracepoints, samples;

SEC("uprobe")
int enter(__u64 *ctx)
{
	if (attacher()) {
		note(&enters, ctx, 8, 13);
		add(&enters, 0, ctx[14]); /* di */
		add(&enters, 1, ctx[13]); /* si */
		add(&enters, 2, ctx[16]); /* ip */
	}
	return 0;
}

SEC("uretprobe")
int leave(__u64 *ctx)
{
	if (attacher())
		note(&returns, ctx, 10, 11);
	return 0;
}

SEC("usdt")
int BPF_USDT(tracepoint, __u64 a, int b, long c)
{
	if (attacher()) {
		note(&tracepoints, 0, 0, 0);
		add(&tracepoints, 0, a);
		add(&tracepoints, 1, b);
		add(&tracepoints, 2, c);
		add(&tracepoints, 3, bpf_usdt_arg_cnt(ctx));
		add(&tracepoints, 4, bpf_usdt_arg(ctx, 3, (long *)&a));
	}
	return 0;
}

/* struct bpf_perf_event_data: the period and the address behind the registers */
SEC("perf_event")
int sample(__u64 *ctx)
{
	__sync_fetch_and_add(&samples.events, 1);
	add(&samples, 0, ctx[21]);
	add(&samples, 1, ctx[22]);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
