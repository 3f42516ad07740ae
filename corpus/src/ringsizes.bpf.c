/* Ring buffers whose sizes are no power of two of pages. */
#include "kernel.h"

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 5000);
} odd SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 3 * 4096);
} three SEC(".maps");

__u64 odd_size, three_size;

SEC("tp/syscalls/sys_enter_getpgrp")
int probe(void *ctx)
{
	__u64 pid = bpf_get_current_pid_tgid();

	odd_size = bpf_ringbuf_query(&odd, BPF_RB_RING_SIZE);
	three_size = bpf_ringbuf_query(&three, BPF_RB_RING_SIZE);
	bpf_ringbuf_output(&odd, &pid, sizeof(pid), 0);
	bpf_ringbuf_output(&three, &pid, sizeof(pid), 0);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
