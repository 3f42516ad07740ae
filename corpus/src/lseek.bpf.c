/*
 * What probes cost: what programs usually do, on each of four kinds of probe of lseek(2). Each counts its runs in element 0 of an array.
 */
#include "kernel.h"
#include <bpf/bpf_tracing.h>

/* A string of the process that calls, and where it has three of them; the loader sets them. */
const volatile __u64 text, texts;

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

struct run {
	__u64 id, time;
	__u32 user, lengths[3];
	char command[16], arguments[3][64];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct run);
} scratch SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_STACK_TRACE);
	__uint(max_entries, 1024);
	__uint(key_size, 4);
	__uint(value_size, 127 * 8);
} stacks SEC(".maps");

struct call {
	__u64 text;
	__u32 flags;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 10240);
	__type(key, __u64);
	__type(value, struct call);
} calls SEC(".maps");

struct event {
	__u64 time, id;
	__u32 user, flags;
	char command[16], text[255];
	__u64 callers[2];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
} events SEC(".maps");

__u32 slots[64];

/* The smallest useful one. */
static __always_inline void counter(void *ctx)
{
	__u32 key = 0;
	__u64 *n = bpf_map_lookup_elem(&counts, &key);

	if (n)
		__sync_fetch_and_add(n, 1);
}

/* As tools do that remember when something began. */
static __always_inline void hash(void *ctx)
{
	__u64 id = bpf_get_current_pid_tgid(), now = bpf_ktime_get_ns();

	bpf_map_update_elem(&starts, &id, &now, BPF_ANY);
	counter(ctx);
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
static __always_inline void histogram(void *ctx)
{
	__u64 id = bpf_get_current_pid_tgid(), now = bpf_ktime_get_ns();
	__u64 *start = bpf_map_lookup_elem(&starts, &id);

	if (start)
		__sync_fetch_and_add(&slots[log2(now - *start) & 63], 1);
	bpf_map_update_elem(&starts, &id, &now, BPF_ANY);
	counter(ctx);
}

/* As opensnoop does: at entry a note of the arguments, at exit an event. */
static __always_inline void snoop(void *ctx)
{
	__u64 id = bpf_get_current_pid_tgid();
	struct call call = { .text = text, .flags = 1 }, *noted;
	struct event event = {};

	bpf_map_update_elem(&calls, &id, &call, BPF_ANY);
	noted = bpf_map_lookup_elem(&calls, &id);
	if (!noted)
		return;
	event.time = bpf_ktime_get_ns();
	event.id = id;
	event.user = bpf_get_current_uid_gid();
	event.flags = noted->flags;
	bpf_get_current_comm(event.command, sizeof(event.command));
	bpf_probe_read_user_str(event.text, sizeof(event.text), (void *)noted->text);
	bpf_get_stack(ctx, event.callers, sizeof(event.callers), BPF_F_USER_STACK);
	bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, &event, sizeof(event));
	bpf_map_delete_elem(&calls, &id);
	counter(ctx);
}

/* As execsnoop does: who it is, and copies of strings that an array points to. */
static __always_inline void strings(void *ctx)
{
	__u32 key = 0;
	struct run *run = bpf_map_lookup_elem(&scratch, &key);

	if (!run)
		return;
	run->id = bpf_get_current_pid_tgid();
	run->user = bpf_get_current_uid_gid();
	run->time = bpf_ktime_get_ns();
	bpf_get_current_comm(run->command, sizeof(run->command));
	for (int i = 0; i < 3; i++) {
		const char *from = 0;

		bpf_probe_read_user(&from, sizeof(from), (void *)(texts + 8 * i));
		run->lengths[i] = bpf_probe_read_user_str(run->arguments[i], 64, from);
	}
	counter(ctx);
}

static __always_inline void stack(void *ctx)
{
	bpf_get_stackid(ctx, &stacks, 0);
	counter(ctx);
}

#define ON(section, name, body, counts)   \
	SEC(section)                      \
	int name(__u64 *ctx)              \
	{                                 \
		if (counts)               \
			body(ctx);        \
		return 0;                 \
	}

/* What `body` does, on each kind. A raw tracepoint sees all system calls: only lseek(2) counts. */
#define ON_EACH(body)                                                      \
	ON("kprobe/__x64_sys_lseek", kprobe_##body, body, 1)               \
	ON("tp/syscalls/sys_enter_lseek", tracepoint_##body, body, 1)      \
	ON("raw_tp/sys_enter", raw_tp_##body, body, ctx[1] == 8)           \
	ON("fentry/__x64_sys_lseek", fentry_##body, body, 1)

ON_EACH(counter)
ON_EACH(hash)
ON_EACH(histogram)
ON_EACH(snoop)
ON_EACH(strings)
ON_EACH(stack)

/* A loop over memory, as hashes and checksums are. */
SEC("kprobe/__x64_sys_lseek")
int kprobe_loop(void *ctx)
{
	__u32 sum = 1;

	for (int i = 0; i < 1000; i++)
		sum = sum * 31 + slots[(sum >> 8) & 63];
	slots[63] = sum;
	counter(ctx);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
