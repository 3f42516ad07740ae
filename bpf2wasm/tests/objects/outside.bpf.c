/* Helpers that are given places of a data section, with as many bytes behind them as they take, and with fewer. */
#include <linux/types.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, __u64);
	__type(value, __u64[4]);
} map SEC(".maps");

struct {
	__u64 key, values[4];
} data;

SEC("kprobe/a")
int key(void *ctx)
{
	return bpf_map_delete_elem(&map, &data.values[3]);
}

SEC("kprobe/b")
int key_outside(void *ctx)
{
	return bpf_map_delete_elem(&map, (char *)&data.values[3] + 4);
}

SEC("kprobe/c")
int value(void *ctx)
{
	return bpf_map_update_elem(&map, &data.key, data.values, BPF_ANY);
}

SEC("kprobe/d")
int value_outside(void *ctx)
{
	return bpf_map_update_elem(&map, &data.key, data.values + 1, BPF_ANY);
}

SEC("kprobe/e")
int read(void *ctx)
{
	return bpf_probe_read_kernel(&data, sizeof(data), ctx);
}

SEC("kprobe/f")
int read_outside(void *ctx)
{
	return bpf_probe_read_kernel(data.values, sizeof(data), ctx);
}

char LICENSE[] SEC("license") = "GPL";
