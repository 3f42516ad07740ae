/* bpf_get_attach_cookie() wherever a program can be attached with one. */
#include "attach.h"

__u64 kprobe, kretprobe, tracepoint, raw, entry, leave, sample, user;

SEC("kprobe/__x64_sys_getpgrp")
int on_kprobe(void *ctx)
{
	kprobe = bpf_get_attach_cookie(ctx);
	return 0;
}

SEC("kretprobe/__x64_sys_getpgrp")
int on_kretprobe(void *ctx)
{
	kretprobe = bpf_get_attach_cookie(ctx);
	return 0;
}

SEC("tp/syscalls/sys_enter_getpgrp")
int on_tracepoint(void *ctx)
{
	tracepoint = bpf_get_attach_cookie(ctx);
	return 0;
}

SEC("?raw_tp/sys_enter")
int on_raw(void *ctx)
{
	raw = bpf_get_attach_cookie(ctx);
	return 0;
}

SEC("?fentry/vfs_read")
int on_entry(void *ctx)
{
	entry = bpf_get_attach_cookie(ctx);
	return 0;
}

SEC("?fexit/vfs_read")
int on_exit(void *ctx)
{
	leave = bpf_get_attach_cookie(ctx);
	return 0;
}

SEC("perf_event")
int on_sample(void *ctx)
{
	sample = bpf_get_attach_cookie(ctx);
	return 0;
}

SEC("uprobe")
int on_user(void *ctx)
{
	user = bpf_get_attach_cookie(ctx);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
