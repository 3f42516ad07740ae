/* Programs on a function that the runtime calls for another program: hits inside a run, which are misses. */
#include "attach.h"

struct sums readers, entries, probes, exits;

SEC("raw_tp/sys_enter")
int reader(__u64 *ctx)
{
	__u64 words[4] = {};

	if (!attacher() || ctx[1] != 111 /* getpgrp */)
		return 0;
	/* twice: after a nested hit the outer run must go on */
	add(&readers, 0, bpf_probe_read_kernel(words, sizeof(words), (void *)ctx[0]));
	add(&readers, 1, bpf_probe_read_kernel(words, 8, (void *)8));
	note(&readers, ctx, 2, 2);
	return 0;
}

SEC("fentry/copy_from_kernel_nofault")
int entry(void *ctx)
{
	note(&entries, 0, 0, 0);
	return 0;
}

SEC("kprobe/copy_from_kernel_nofault")
int probe(void *ctx)
{
	note(&probes, 0, 0, 0);
	return 0;
}

SEC("fexit/copy_from_kernel_nofault")
int leave(void *ctx)
{
	note(&exits, 0, 0, 0);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
