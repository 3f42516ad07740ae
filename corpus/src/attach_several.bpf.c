/* Several programs at one place, of one type and of several. */
#include "attach.h"

struct sums first, second, entry, leave, exits, exits_too;

SEC("kprobe/vfs_read")
int kprobe_first(__u64 *ctx)
{
	if (attacher())
		note(&first, ctx, 0, 13);
	return 0;
}

SEC("kprobe/vfs_read")
int kprobe_second(__u64 *ctx)
{
	if (attacher())
		note(&second, ctx, 0, 13);
	return 0;
}

SEC("fentry/vfs_read")
int fentry_too(__u64 *ctx)
{
	if (attacher())
		note(&entry, ctx, 0, 1);
	return 0;
}

SEC("kretprobe/vfs_read")
int kretprobe_too(__u64 *ctx)
{
	if (attacher())
		note(&leave, ctx, 10, 11);
	return 0;
}

SEC("tp/syscalls/sys_exit_getpgrp")
int tracepoint_first(__u64 *ctx)
{
	if (attacher())
		note(&exits, ctx, 2, 3);
	return 0;
}

SEC("tp/syscalls/sys_exit_getpgrp")
int tracepoint_second(__u64 *ctx)
{
	if (attacher())
		note(&exits_too, ctx, 2, 3);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
