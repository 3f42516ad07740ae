/* Events through both kinds of rings: who called getpgrp(2), on which CPU, how often before. */
#include "kernel.h"

struct event {
	__u64 number; /* among those of its CPU */
	__u64 complement;
	__u64 pid_tgid;
	__u32 cpu;
} __attribute__((packed)); /* a perf sample of 8n + 4 bytes is not padded */

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__type(key, __u32);
	__type(value, __u32);
} samples SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 * 1024);
} records SEC(".maps");

/* What the rings took, each CPU's on a cache line of its own. */
struct count {
	__u64 events, sampled, recorded, unused[5];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, struct count);
} counts SEC(".maps");

SEC("kprobe/__x64_sys_getpgrp")
int getpgrp_entry(void *ctx)
{
	__u32 cpu = bpf_get_smp_processor_id();
	struct count *count = bpf_map_lookup_elem(&counts, &cpu);
	struct event event, *record;

	if (!count)
		return 0;
	event.number = count->events++;
	event.complement = ~event.number;
	event.pid_tgid = bpf_get_current_pid_tgid();
	event.cpu = cpu;
	if (!bpf_perf_event_output(ctx, &samples, BPF_F_CURRENT_CPU, &event, sizeof(event)))
		count->sampled++;
	record = bpf_ringbuf_reserve(&records, sizeof(event), 0);
	if (!record)
		return 0;
	*record = event;
	bpf_ringbuf_submit(record, 0);
	count->recorded++;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
