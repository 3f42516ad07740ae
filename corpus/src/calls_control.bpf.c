/* Helpers that call, lock, and tell of what is called. */
#include "calls.h"

MAP(hash, BPF_MAP_TYPE_HASH, __u32, __u64, 8);
MAP(array, BPF_MAP_TYPE_ARRAY, __u32, __u64, 5);

int taken(void *ctx);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 3);
	__uint(key_size, sizeof(__u32));
	__array(values, int(void *));
} programs SEC(".maps") = {
	.values = { [1] = (void *)&taken },
};

SEC("kprobe/__x64_sys_getpgid")
int call(void *ctx)
{
	CALL(input.number);
	bpf_tail_call(ctx, &programs, input.number % 5);
	CALL(-input.number);
	return 0;
}

SEC("kprobe")
int taken(void *ctx)
{
	CALL(input.number);
	return 0;
}

__u64 turns, sum;

static long turn(__u64 index, void *ctx)
{
	turns++;
	sum += index;
	return index == 12;
}

static long element(void *map, __u32 *key, __u64 *value, void *ctx)
{
	turns++;
	sum += *key * 100 + *value;
	return *value == 3;
}

SEC("kprobe/__x64_sys_getpgid")
int callbacks(void *ctx)
{
	__u64 flags = input.number % 4 == 3, value = input.number;
	__u32 key = input.number % 5;

	bpf_map_update_elem(&array, &key, &value, BPF_ANY);
	key = 7;
	bpf_map_update_elem(&hash, &key, &value, BPF_ANY);
	CALL(bpf_loop(AT_MOST(input.size, 20), turn, &value, flags));
	/* 32 bits: where the verifier inlines the loop, the upper half is lost */
	CALL((int)bpf_loop((8 << 20) + input.number, turn, &value, 0));
	/* Linux 6.1 gives an int, too */
	CALL((int)bpf_for_each_map_elem(&array, element, &value, flags));
	CALL((int)bpf_for_each_map_elem(&hash, element, &value, flags));
	return 0;
}

struct guarded {
	struct bpf_spin_lock lock;
	__u32 unused;
	__u64 first, second;
};

MAP(guarded, BPF_MAP_TYPE_ARRAY, __u32, struct guarded, 1);

SEC("fentry/__x64_sys_getpgid")
int locks(void *ctx)
{
	__u32 key = 0;
	struct guarded *value = bpf_map_lookup_elem(&guarded, &key);
	__u64 first, second;

	if (!value)
		return 0;
	bpf_spin_lock(&value->lock);
	first = value->first++;
	second = value->second--;
	bpf_spin_unlock(&value->lock);
	CALL(first);
	CALL(second);
	return 0;
}

SEC("fentry/__x64_sys_getpgid")
int entered(void *ctx)
{
	CALL(bpf_get_func_ip(ctx));
	return 0;
}

SEC("kprobe/__x64_sys_getpgid")
int probed(void *ctx)
{
	CALL(bpf_get_func_ip(ctx));
	return 0;
}

SEC("kretprobe/__x64_sys_getpgid")
int returned(void *ctx)
{
	CALL(bpf_get_func_ip(ctx));
	return 0;
}

SEC("fexit/__x64_sys_getpgid")
int function(void *ctx)
{
	CALL(bpf_get_func_ip(ctx));
	CALL(bpf_get_func_arg_cnt(ctx));
	CALL(bpf_get_func_arg(ctx, 0, (void *)bytes));
	CALL(bpf_get_func_arg(ctx, input.number % 4, (void *)bytes));
	CALL(bpf_get_func_arg(ctx, -1, (void *)bytes));
	CALL(bpf_get_func_ret(ctx, (void *)bytes));
	CALL(bpf_get_attach_cookie(ctx));
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
