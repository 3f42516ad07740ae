/* What computing costs, of other kinds than compute.bpf.c's: none of these was chosen for its result, or is tuned for. Each returns
 * what it has computed of a packet. */
#include "kernel.h"

struct __sk_buff {
	__u32 len, pkt_type, mark, queue_mapping, protocol, vlan_present, vlan_tci, vlan_proto, priority,
		ingress_ifindex, ifindex, tc_index, cb[5], hash, tc_classid, data, data_end;
};

#define LENGTH 1024
#define BEGIN(skb) (void *)(long)(skb)->data
#define END(skb) (void *)(long)(skb)->data_end

struct record {
	__u64 time, sent, received;
	__u32 pid, uid;
	__u16 port, family;
	char name[20];
};

static __u32 heads[64], nexts[256], keys[256], crcs[256];
static __u8 letters[2048], state[256], composite[1024];
static __u32 sorted[256];
static __u64 left[8][8], right[8][8], product[8][8];
static struct record records[32];

/* 32-bit arithmetic: the end of murmur3, over and over. */
SEC("tc")
int mix32(struct __sk_buff *skb)
{
	__u32 h = skb->len, sum = 0;

	for (__u32 i = 0; i < 500; i++) {
		h ^= i;
		h ^= h >> 16;
		h *= 0x85ebca6b;
		h ^= h >> 13;
		h *= 0xc2b2ae35;
		h ^= h >> 16;
		sum += h;
	}
	return sum;
}

/* Bytes: how many are of which kind. */
SEC("tc")
int count_bytes(struct __sk_buff *skb)
{
	__u8 *data = BEGIN(skb), *end = END(skb);
	__u32 digits = 0, upper = 0, control = 0;

	for (int i = 0; i < LENGTH; i++) {
		__u8 c;

		if (data + i + 1 > end)
			break;
		c = data[i];
		if (c >= '0' && c <= '9')
			digits++;
		else if (c >= 'A' && c <= 'Z')
			upper++;
		else if (c < ' ')
			control++;
	}
	return digits | upper << 10 | control << 20;
}

/* Halfwords of the network's order, each looked for the packet's end. */
SEC("tc")
int halfwords(struct __sk_buff *skb)
{
	__u16 *data = BEGIN(skb);
	void *end = END(skb);
	__u32 sum = 0, most = 0;

	for (int i = 0; i < LENGTH / 2; i++) {
		__u16 word;

		if ((void *)(data + i + 1) > end)
			break;
		word = __builtin_bswap16(data[i]);
		if (word > most)
			most = word;
		sum += word ^ (__u16)i;
	}
	return sum ^ most;
}

static __noinline __u64 mixed(__u64 a, __u64 b, __u32 turn)
{
	a += b << (turn & 31);
	return a ^ a >> 29;
}

static __noinline __u64 folded(__u64 a, __u32 turn)
{
	return mixed(a, turn * 3, turn) + mixed(a >> 7, a, turn + 1);
}

/* Subprograms. */
SEC("tc")
int calls(struct __sk_buff *skb)
{
	__u64 sum = skb->len;

	for (__u32 i = 0; i < 200; i++)
		sum = folded(sum, i);
	return sum ^ sum >> 32;
}

/* Branches as a switch makes them: a machine of sixteen instructions. */
SEC("tc")
int machine(struct __sk_buff *skb)
{
	__u8 *data = BEGIN(skb);
	__u32 a = 1, b = 2, c = 3;

	if ((void *)data + LENGTH > END(skb))
		return 0;
	for (int i = 0; i < LENGTH; i++) {
		switch (data[i] & 15) {
		case 0: a += b; break;
		case 1: b -= c; break;
		case 2: c ^= a; break;
		case 3: a <<= 1; break;
		case 4: b >>= 1; break;
		case 5: c = ~c; break;
		case 6: a = b; break;
		case 7: b = c * 3; break;
		case 8: c += i; break;
		case 9: a |= c; break;
		case 10: b &= 0xffffff; break;
		case 11: c = a + b; break;
		case 12: a -= 7; break;
		case 13: b ^= a << 5; break;
		case 14: c = (c << 7) | (c >> 25); break;
		default: a ^= b ^ c; break;
		}
	}
	return a ^ b ^ c;
}

/* A string is looked for. */
SEC("tc")
int scan(struct __sk_buff *skb)
{
	static const char wanted[4] = "\x0d\x0a\x0d\x0a";
	__u8 *data = BEGIN(skb);
	__u32 found = 0, near = 0;

	if ((void *)data + LENGTH + 4 > END(skb))
		return 0;
	for (int i = 0; i < LENGTH; i++) {
		int same = 0;

		for (int j = 0; j < 4; j++) {
			if ((data[i + j] ^ wanted[j]) & 0x3f)
				break;
			same++;
		}
		near += same;
		if (same == 4)
			found = i;
	}
	return found << 16 | near;
}

/* Chains of a hash table of arrays. */
SEC("tc")
int chains(struct __sk_buff *skb)
{
	__u32 *data = BEGIN(skb), sum = 0;

	if ((void *)data + LENGTH > END(skb))
		return 0;
	for (__u32 i = 0; i < 64; i++)
		heads[i] = 0;
	for (__u32 i = 1; i < 256; i++) {
		__u32 bucket = data[i] * 0x9e3779b1 >> 26;

		keys[i] = data[i];
		nexts[i] = heads[bucket & 63];
		heads[bucket & 63] = i;
	}
	for (__u32 i = 0; i < 256; i += 2) {
		__u32 at = heads[(data[i] * 0x9e3779b1 >> 26) & 63];

		for (int turn = 0; turn < 8 && at; turn++) {
			if (keys[at & 255] == data[i]) {
				sum += at;
				break;
			}
			at = nexts[at & 255];
		}
	}
	return sum;
}

/* Structs are filled, moved up, and read. */
SEC("tc")
int copies(struct __sk_buff *skb)
{
	__u32 sum = 0;

	for (__u32 i = 0; i < 32; i++) {
		struct record record = { .time = i, .sent = skb->len, .pid = i * 3, .port = i << 4, .name = "a name" };

		records[i & 31] = record;
	}
	for (__u32 turn = 0; turn < 4; turn++)
		for (__u32 i = 31; i > 0; i--) {
			records[i & 31] = records[(i - 1) & 31];
			records[i & 31].received += i;
		}
	for (__u32 i = 0; i < 32; i++)
		sum += records[i & 31].received + records[i & 31].port + records[i & 31].name[2];
	return sum;
}

/* Bits: counted, reversed, Gray's code, the highest. */
SEC("tc")
int bits(struct __sk_buff *skb)
{
	__u64 x = skb->len | 1, sum = 0;

	for (__u32 i = 0; i < 200; i++) {
		__u64 v;

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		v = x - (x >> 1 & 0x5555555555555555ULL);
		v = (v & 0x3333333333333333ULL) + (v >> 2 & 0x3333333333333333ULL);
		v = (v + (v >> 4)) & 0x0f0f0f0f0f0f0f0fULL;
		sum += v * 0x0101010101010101ULL >> 56;
		v = (x >> 1 & 0x5555555555555555ULL) | (x & 0x5555555555555555ULL) << 1;
		v = (v >> 2 & 0x3333333333333333ULL) | (v & 0x3333333333333333ULL) << 2;
		sum ^= v ^ v >> 1;
		v = x | x >> 1;
		v |= v >> 2;
		v |= v >> 4;
		sum += v & -v;
	}
	return sum ^ sum >> 32;
}

/* CRC-32 with its table. */
SEC("tc")
int crc(struct __sk_buff *skb)
{
	__u8 *data = BEGIN(skb);
	__u32 crc = ~0U;

	if ((void *)data + LENGTH > END(skb))
		return 0;
	for (__u32 i = 0; i < 256; i++) {
		__u32 c = i;

		for (int bit = 0; bit < 8; bit++)
			c = c & 1 ? c >> 1 ^ 0xedb88320 : c >> 1;
		crcs[i & 255] = c;
	}
	for (int i = 0; i < LENGTH; i++)
		crc = crcs[(crc ^ data[i]) & 255] ^ crc >> 8;
	return ~crc;
}

/* Matrices of 64-bit numbers. */
SEC("tc")
int matrix(struct __sk_buff *skb)
{
	__u64 sum = 0;

	for (__u32 i = 0; i < 8; i++)
		for (__u32 j = 0; j < 8; j++) {
			left[i & 7][j & 7] = skb->len + i * j;
			right[i & 7][j & 7] = i - j;
		}
	for (__u32 i = 0; i < 8; i++)
		for (__u32 j = 0; j < 8; j++) {
			__u64 cell = 0;

			for (__u32 k = 0; k < 8; k++)
				cell += left[i & 7][k & 7] * right[k & 7][j & 7];
			product[i & 7][j & 7] = cell;
			sum = sum * 31 + cell;
		}
	return sum ^ sum >> 32;
}

/* Three bytes become four letters. */
SEC("tc")
int base64(struct __sk_buff *skb)
{
	__u8 *data = BEGIN(skb);
	__u32 sum = 0;

	if ((void *)data + LENGTH > END(skb))
		return 0;
	for (__u32 i = 0, o = 0; i + 3 <= LENGTH; i += 3, o += 4) {
		__u32 word = data[i] << 16 | data[i + 1] << 8 | data[i + 2];

		for (__u32 j = 0; j < 4; j++) {
			__u8 six = word >> (18 - 6 * j) & 63;

			letters[(o + j) & 2047] = six < 26 ? 'A' + six : six < 52 ? 'a' + six - 26 : six < 62 ? '0' + six - 52 :
				six == 62 ? '+' : '/';
		}
	}
	for (__u32 i = 0; i < 1364; i++)
		sum = sum * 33 + letters[i & 2047];
	return sum;
}

/* Primes, by their multiples. */
SEC("tc")
int sieve(struct __sk_buff *skb)
{
	__u32 count = skb->len & 1;

	for (__u32 i = 0; i < 1024; i++)
		composite[i] = 0;
	for (__u32 i = 2; i < 32; i++) {
		if (composite[i])
			continue;
		for (__u32 j = i * i; j < 1024; j += i)
			composite[j & 1023] = 1;
	}
	for (__u32 i = 2; i < 1024; i++)
		count += !composite[i];
	return count;
}

/* Roots by Newton: 64-bit divisions that are not by numbers. */
SEC("tc")
int roots(struct __sk_buff *skb)
{
	__u64 sum = 0;

	for (__u32 i = 1; i < 60; i++) {
		__u64 n = (__u64)i * 1000003 + skb->len, x = n;

		for (int turn = 0; turn < 12; turn++)
			x = (x + n / (x | 1)) >> 1;
		sum += x;
	}
	return sum;
}

/* Numbers of seven bits a byte. */
SEC("tc")
int varints(struct __sk_buff *skb)
{
	__u8 *data = BEGIN(skb), *end = END(skb);
	__u64 sum = 0, number = 0;
	__u32 shift = 0;

	for (int i = 0; i < LENGTH; i++) {
		if (data + i + 1 > end)
			break;
		number |= (__u64)(data[i] & 0x7f) << (shift & 63);
		shift += 7;
		if (!(data[i] & 0x80)) {
			sum = sum * 7 + number;
			number = 0;
			shift = 0;
		}
	}
	return sum ^ sum >> 32;
}

/* Halves of a sorted array. */
SEC("tc")
int search(struct __sk_buff *skb)
{
	__u32 sum = skb->len;

	for (__u32 i = 0; i < 256; i++)
		sorted[i & 255] = i * i * 5 + skb->len;
	for (__u32 i = 0; i < 16; i++) {
		__u32 wanted = i * 20443, low = 0, high = 256;

		for (int turn = 0; turn < 8; turn++) {
			__u32 middle = (low + high) / 2;

			if (sorted[middle & 255] <= wanted)
				low = middle;
			else
				high = middle;
		}
		sum += low;
	}
	return sum;
}

/* RC4: bytes of a table change places. */
SEC("tc")
int cipher(struct __sk_buff *skb)
{
	__u8 *data = BEGIN(skb);
	__u32 sum = 0;
	__u8 i = 0, j = 0;

	if ((void *)data + LENGTH > END(skb))
		return 0;
	for (__u32 k = 0; k < 256; k++)
		state[k] = k;
	for (__u32 k = 0; k < 256; k++) {
		__u8 s = state[k];

		j += s + data[k & 15];
		state[k] = state[j];
		state[j] = s;
	}
	j = 0;
	for (int k = 0; k < LENGTH; k++) {
		__u8 s;

		i++;
		s = state[i];
		j += s;
		state[i] = state[j];
		state[j] = s;
		sum = sum * 3 + (data[k] ^ state[(__u8)(s + state[i])]);
	}
	return sum;
}

char LICENSE[] SEC("license") = "GPL";
