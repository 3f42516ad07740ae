/* What computing costs: programs that hardly ask the kernel for anything, on a packet. Each returns what it has computed. */
#include "kernel.h"

struct __sk_buff {
	__u32 len, pkt_type, mark, queue_mapping, protocol, vlan_present, vlan_tci, vlan_proto, priority,
		ingress_ifindex, ifindex, tc_index, cb[5], hash, tc_classid, data, data_end;
};

#define LENGTH 1024
#define SORTED 64

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, __u64);
} numbers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, __u64);
} table SEC(".maps");

static __u32 unsorted[SORTED];

#define BEGIN(skb) (void *)(long)(skb)->data
#define END(skb) (void *)(long)(skb)->data_end

/* What a run costs in which nothing is computed. */
SEC("tc")
int nothing(struct __sk_buff *skb)
{
	return 0;
}

SEC("tc")
int arithmetic(struct __sk_buff *skb)
{
	__u64 a = skb->len, b = 1;

	for (int i = 0; i < 1000; i++) {
		a = a * 6364136223846793005ULL + b;
		b ^= a >> 33;
		b += a / (i + 3);
	}
	return (__u32)(a ^ b);
}

/* FNV-1a, byte by byte. */
SEC("tc")
int hash_bytes(struct __sk_buff *skb)
{
	__u8 *data = BEGIN(skb), *end = END(skb);
	__u32 hash = 2166136261U;

	for (int i = 0; i < LENGTH; i++) {
		if (data + i + 1 > end)
			break;
		hash = (hash ^ data[i]) * 16777619;
	}
	return hash;
}

/* A hash of words: rotations and sums, as jhash. */
SEC("tc")
int hash_words(struct __sk_buff *skb)
{
	__u32 *data = BEGIN(skb), a = 0xdeadbeef, b = a, c = a;
	void *end = END(skb);

	if ((void *)data + LENGTH > end)
		return 0;
	for (int i = 0; i + 3 <= LENGTH / 4; i += 3) {
		a += data[i];
		b += data[i + 1];
		c += data[i + 2];
		a = (a - c) ^ (c << 4 | c >> 28);
		c += b;
		b = (b - a) ^ (a << 6 | a >> 26);
		a += c;
		c = (c - b) ^ (b << 8 | b >> 24);
		b += a;
	}
	return a ^ b ^ c;
}

/* The Internet's. */
SEC("tc")
int checksum(struct __sk_buff *skb)
{
	__u16 *data = BEGIN(skb);
	__u32 sum = 0;

	if ((void *)data + LENGTH > END(skb))
		return 0;
	for (int i = 0; i < LENGTH / 2; i++)
		sum += data[i];
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16) ~(sum + (sum >> 16));
}

/* Through type, length and value to the end, as options of TCP and IPv6 are read. */
SEC("tc")
int parse(struct __sk_buff *skb)
{
	__u8 *data = BEGIN(skb), *end = END(skb);
	__u32 at = 0, sum = 0;

	for (int i = 0; i < 128; i++) {
		__u8 *option = data + (at & (LENGTH - 1));

		if (option + 4 > end)
			break;
		switch (option[0] & 3) {
		case 0:
			sum += option[1];
			break;
		case 1:
			sum ^= option[2] << 8 | option[3];
			break;
		case 2:
			sum = sum * 3 + __builtin_bswap16(*(__u16 *)(option + 2));
			break;
		default:
			sum += i;
		}
		at += 2 + (option[1] & 15);
	}
	return sum + at;
}

SEC("tc")
int sort(struct __sk_buff *skb)
{
	__u32 seed = skb->len, sum = 0;

	for (__u32 i = 0; i < SORTED; i++) {
		seed = seed * 1664525 + 1013904223;
		unsorted[i & (SORTED - 1)] = seed >> 8;
	}
	for (__u32 i = 0; i < SORTED - 1; i++)
		for (__u32 j = 0; j < SORTED - 1; j++) {
			__u32 *pair = &unsorted[j];
			__u32 low = pair[0], high = pair[1];

			pair[0] = low < high ? low : high;
			pair[1] = low < high ? high : low;
		}
	for (__u32 i = 0; i < SORTED; i++)
		sum = sum * 31 + unsorted[i];
	return sum;
}

SEC("tc")
int array_loop(struct __sk_buff *skb)
{
	__u64 sum = skb->len;

	for (__u32 i = 0; i < 200; i++) {
		__u32 key = i;
		__u64 *number = bpf_map_lookup_elem(&numbers, &key);

		if (number) {
			*number = sum;
			sum = sum * 5 + (*number ^ i);
		}
	}
	return sum;
}

SEC("tc")
int table_loop(struct __sk_buff *skb)
{
	__u64 sum = skb->len;

	for (__u32 i = 0; i < 100; i++) {
		__u32 key = i & 63;
		__u64 *number = bpf_map_lookup_elem(&table, &key);

		if (number)
			sum += *number;
		else
			bpf_map_update_elem(&table, &key, &sum, BPF_ANY);
	}
	return sum;
}

char LICENSE[] SEC("license") = "GPL";
