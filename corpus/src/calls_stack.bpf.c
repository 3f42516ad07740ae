/* Stacks of the current task and of others. */
#include "calls.h"

#define FRAMES 40

struct {
	__uint(type, BPF_MAP_TYPE_STACK_TRACE);
	__uint(max_entries, 64);
	__uint(key_size, 4);
	__uint(value_size, 8 * 8);
} stacks SEC(".maps");

__u64 addresses[FRAMES];

SEC("kprobe/__x64_sys_getpgid")
int own(void *ctx)
{
	__u32 size = AT_MOST(input.size, sizeof(addresses));
	__u64 skip = input.number % 3;

	CALL(bpf_get_stackid(ctx, &stacks, skip));
	CALL(bpf_get_stackid(ctx, &stacks, BPF_F_USER_STACK | skip));
	CALL(bpf_get_stackid(ctx, &stacks, 1ULL << (input.number % 64)));
	CALL(bpf_get_stack(ctx, bytes, BYTES, skip));
	CALL(bpf_get_stack(ctx, bytes, AT_MOST(size, BYTES), skip));
	CALL(bpf_get_stack(ctx, bytes, AT_MOST(size, BYTES), BPF_F_USER_STACK));
	CALL(bpf_get_stack(ctx, addresses, size, 1ULL << (input.number % 64)));
	return 0;
}

/* Since Linux 6.12 there is a kernel stack, which begins in the tracepoint's own handler. */
SEC("tp/syscalls/sys_enter_getpgid")
int event(void *ctx)
{
	CALL(bpf_get_stack(ctx, bytes, BYTES, 1));
	CALL(bpf_get_stack(ctx, bytes, BYTES, BPF_F_USER_STACK));
	return 0;
}

/* Natively the kernel stack begins in the helper itself: what is beyond the probe is the same. */
SEC("fentry/__x64_sys_getpgid")
int tasks(void *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();
	__u32 size = AT_MOST(input.size, BYTES);
	__u64 frames[FRAMES] = {};
	long count;

	CALL(bpf_get_task_stack(task, bytes, BYTES, BPF_F_USER_STACK));
	CALL(bpf_get_task_stack(task, bytes, size, BPF_F_USER_STACK | 1));
	CALL(bpf_get_task_stack(task, bytes, 12, 0));
	CALL(bpf_get_task_stack(task, bytes, BYTES, 1ULL << (12 + input.number % 50)));
	count = bpf_get_task_stack(task, frames, sizeof(frames), 0) >> 3;
	if (count < 2 || count > FRAMES)
		return 0;
	CALL(frames[count - 1]);
	CALL(frames[count - 2]);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
