/* Elements of every type of map, with flags good and bad: each round has a key and flags. What changes elements gives
 * an int in Linux 6.1. */
#include "calls.h"

struct pair {
	__u64 first, second;
};

struct prefix {
	__u32 length;
	__u8 bytes[4];
};

MAP(hash, BPF_MAP_TYPE_HASH, __u32, struct pair, 4);
MAP(array, BPF_MAP_TYPE_ARRAY, __u32, struct pair, 4);
MAP(percpu_hash, BPF_MAP_TYPE_PERCPU_HASH, __u32, struct pair, 4);
MAP(percpu_array, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, struct pair, 4);
MAP(lru_hash, BPF_MAP_TYPE_LRU_HASH, __u32, struct pair, 1024);
MAP(lru_percpu_hash, BPF_MAP_TYPE_LRU_PERCPU_HASH, __u32, struct pair, 1024);

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4);
	__type(key, struct prefix);
	__type(value, struct pair);
} lpm SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 3);
	__type(value, struct pair);
} queue SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_STACK);
	__uint(max_entries, 3);
	__type(value, struct pair);
} stack SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_BLOOM_FILTER);
	__uint(max_entries, 1000);
	__type(value, struct pair);
} bloom SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, __u32);
} samples SEC(".maps");

static __u64 flags(void)
{
	switch (input.number % 12) {
	case 7:
		return BPF_NOEXIST;
	case 8:
		return BPF_EXIST;
	case 9:
		return BPF_NOEXIST | BPF_EXIST;
	case 10:
		return 8;
	case 11:
		return input.number % 24 == 11 ? 1ULL << 32 : ~0ULL;
	default:
		return BPF_ANY;
	}
}

static __always_inline long copy(void *bytes, const struct pair *value)
{
	if (!value)
		return 0;
	*(struct pair *)bytes = *value;
	return 1;
}

#define CHANGE(map, key)                                                                           \
	do {                                                                                       \
		CALL(copy(bytes, bpf_map_lookup_elem(&map, key)));                                 \
		CALL((int)bpf_map_update_elem(&map, key, &value, flags()));                             \
		CALL(copy(bytes, bpf_map_lookup_elem(&map, key)));                                 \
		if (input.number % 5 == 0)                                                         \
			CALL((int)bpf_map_delete_elem(&map, key));                                      \
	} while (0)

SEC("kprobe/__x64_sys_getpgid")
int elements(void *ctx)
{
	struct pair value = { input.number, ~input.number };
	__u32 key = input.number * 7 % 6;
	struct prefix prefix = { key * 8, { key, 1, 2, 3 } };

	CHANGE(hash, &key);
	CHANGE(array, &key);
	CHANGE(percpu_hash, &key);
	CHANGE(percpu_array, &key);
	CHANGE(lru_hash, &key);
	CHANGE(lru_percpu_hash, &key);
	CHANGE(lpm, &prefix);
	return 0;
}

SEC("kprobe/__x64_sys_getpgid")
int other_cpus(void *ctx)
{
	__u32 key = input.number * 7 % 6;

	CALL(copy(bytes, bpf_map_lookup_percpu_elem(&percpu_array, &key, 0)));
	CALL(copy(bytes, bpf_map_lookup_percpu_elem(&percpu_array, &key, 1)));
	CALL(copy(bytes, bpf_map_lookup_percpu_elem(&percpu_array, &key, 4096)));
	CALL(copy(bytes, bpf_map_lookup_percpu_elem(&percpu_hash, &key, input.number % 3)));
	CALL(copy(bytes, bpf_map_lookup_percpu_elem(&percpu_hash, &key, -1)));
	CALL(copy(bytes, bpf_map_lookup_percpu_elem(&lru_percpu_hash, &key, 1)));
	return 0;
}

SEC("kprobe/__x64_sys_getpgid")
int ends(void *ctx)
{
	struct pair value = { input.number, ~input.number };
	__u64 push = input.number % 4 == 3 ? flags() : input.number % 5 ? BPF_ANY : BPF_EXIST;

	CALL((int)bpf_map_push_elem(&queue, &value, push));
	CALL((int)bpf_map_push_elem(&stack, &value, push));
	CALL((int)bpf_map_peek_elem(&queue, bytes));
	CALL((int)bpf_map_peek_elem(&stack, bytes));
	if (input.number % 16 > 7) {
		CALL((int)bpf_map_pop_elem(&queue, bytes));
		CALL((int)bpf_map_pop_elem(&stack, bytes));
		CALL((int)bpf_map_pop_elem(&queue, bytes));
		CALL((int)bpf_map_pop_elem(&stack, bytes));
	}
	CALL((int)bpf_map_push_elem(&bloom, &value, input.number % 7 ? BPF_ANY : flags()));
	if (input.number % 7)
		CALL((int)bpf_map_peek_elem(&bloom, &value));
	return 0;
}

/* No reader: the ring fills up, and there is no sample. */
SEC("kprobe/__x64_sys_getpgid")
int events(void *ctx)
{
	__u64 size = AT_MOST(input.size, BYTES), *record;
	struct pair value = { input.number, input.size };

	CALL(bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA));
	CALL(bpf_ringbuf_query(&ring, BPF_RB_RING_SIZE));
	CALL(bpf_ringbuf_query(&ring, BPF_RB_CONS_POS));
	CALL(bpf_ringbuf_query(&ring, BPF_RB_PROD_POS));
	CALL(bpf_ringbuf_query(&ring, input.number));
	CALL(bpf_ringbuf_output(&ring, results, size, flags()));
	record = bpf_ringbuf_reserve(&ring, 40, input.number % 11 ? 0 : 1);
	if (!record) {
		CALL(0);
	} else {
		*record = input.number;
		if (input.number & 1)
			bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
		else
			bpf_ringbuf_discard(record, BPF_RB_FORCE_WAKEUP);
		CALL(1);
	}
	CALL(bpf_perf_event_output(ctx, &samples, BPF_F_CURRENT_CPU, &value, sizeof(value)));
	CALL(bpf_perf_event_output(ctx, &samples, input.number % 16, &value, sizeof(value)));
	CALL(bpf_perf_event_output(ctx, &samples, 1ULL << 32, &value, sizeof(value)));
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
