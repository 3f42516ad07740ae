// A load and a store whose places, and perhaps widths, the target kernel decides.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

// The compiler takes the upper half of a 4-byte load for zero.
#define OPAQUE(value) asm volatile("" : "+r"(value))

struct fields {
	unsigned int read;
	unsigned long written;
} __attribute__((preserve_access_index));

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, int);
	__type(value, struct fields *);
} pointers SEC(".maps");

// Where the context is known to be guest memory.
SEC("syscall")
int known(struct fields *f)
{
	unsigned long value = f->read;

	OPAQUE(value);
	f->written = 0x1122334455667788;
	return value ^ value >> 32;
}

// Where the pointer could be anything.
SEC("syscall")
int unknown(struct fields *f)
{
	int key = 0;
	struct fields **place = bpf_map_lookup_elem(&pointers, &key);
	unsigned long value;

	if (!place)
		return 0;
	*place = f;
	f = *(struct fields *volatile *)place;
	value = f->read;
	OPAQUE(value);
	f->written = 0x1122334455667788;
	return value ^ value >> 32;
}

char LICENSE[] SEC("license") = "GPL";
