/* What probes cost: programs of the usual kinds on lseek(2). Each counts its runs in element 0 of an array. */
#include "kernel.h"
#include <bpf/bpf_tracing.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 10240);
	__type(key, __u64);
	__type(value, __u64);
} starts SEC(".maps");

struct event {
	__u64 id, time;
	__u32 user;
	int offset, whence;
	char command[16], text[64];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct event);
} scratch SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_STACK_TRACE);
	__uint(max_entries, 1024);
	__uint(key_size, 4);
	__uint(value_size, 127 * 8);
} stacks SEC(".maps");

__u32 slots[64];

static __always_inline void count(void)
{
	__u32 key = 0;
	__u64 *n = bpf_map_lookup_elem(&counts, &key);

	if (n)
		__sync_fetch_and_add(n, 1);
}

/* The smallest useful one. */
SEC("kprobe/__x64_sys_lseek")
int lseek_entry(void *ctx)
{
	count();
	return 0;
}

SEC("fentry/__x64_sys_lseek")
int lseek_fentry(void *ctx)
{
	count();
	return 0;
}

SEC("tp/syscalls/sys_enter_lseek")
int lseek_tracepoint(void *ctx)
{
	count();
	return 0;
}

/* Of all system calls it sees, only lseek(2) is counted. */
SEC("raw_tp/sys_enter")
int lseek_raw(__u64 *ctx)
{
	if (ctx[1] == 8)
		count();
	return 0;
}

/* As tools do that remember when something began. */
SEC("kprobe/__x64_sys_lseek")
int lseek_hash(void *ctx)
{
	__u64 id = bpf_get_current_pid_tgid(), now = bpf_ktime_get_ns();

	bpf_map_update_elem(&starts, &id, &now, BPF_ANY);
	count();
	return 0;
}

static __always_inline __u32 log2(__u64 v)
{
	__u32 n = 0;

	for (int i = 32; i; i /= 2)
		if (v >> i) {
			v >>= i;
			n += i;
		}
	return n;
}

/* As tools do that show how long something took. */
SEC("kprobe/__x64_sys_lseek")
int lseek_histogram(void *ctx)
{
	__u64 id = bpf_get_current_pid_tgid(), now = bpf_ktime_get_ns();
	__u64 *start = bpf_map_lookup_elem(&starts, &id);

	if (start)
		__sync_fetch_and_add(&slots[log2(now - *start) & 63], 1);
	bpf_map_update_elem(&starts, &id, &now, BPF_ANY);
	count();
	return 0;
}

/* As tools do that say who did what. */
SEC("kprobe/__x64_sys_lseek")
int lseek_strings(struct pt_regs *ctx)
{
	__u32 key = 0;
	struct event *event = bpf_map_lookup_elem(&scratch, &key);
	struct pt_regs *regs = (struct pt_regs *)PT_REGS_PARM1(ctx);
	unsigned long offset;

	if (!event)
		return 0;
	event->id = bpf_get_current_pid_tgid();
	event->user = bpf_get_current_uid_gid();
	event->time = bpf_ktime_get_ns();
	bpf_probe_read_kernel(&offset, sizeof(offset), &regs->si);
	event->offset = offset;
	bpf_get_current_comm(event->command, sizeof(event->command));
	bpf_probe_read_kernel_str(event->text, sizeof(event->text), event->command);
	count();
	return 0;
}

SEC("kprobe/__x64_sys_lseek")
int lseek_stack(void *ctx)
{
	bpf_get_stackid(ctx, &stacks, 0);
	count();
	return 0;
}

/* A loop over memory, as hashes and checksums are. */
SEC("kprobe/__x64_sys_lseek")
int lseek_loop(void *ctx)
{
	__u32 sum = 1;

	for (int i = 0; i < 1000; i++)
		sum = sum * 31 + slots[(sum >> 8) & 63];
	slots[63] = sum;
	count();
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
