/* Numbers one by one: what bpf_for() and bpf_repeat() are made of. Needs no event where it is test-run. */
#include "calls.h"

struct bpf_iter_num {
	__u64 opaque;
} __attribute__((aligned(8)));

extern int bpf_iter_num_new(struct bpf_iter_num *numbers, int start, int end) __ksym;
extern int *bpf_iter_num_next(struct bpf_iter_num *numbers) __ksym;
extern void bpf_iter_num_destroy(struct bpf_iter_num *numbers) __ksym;

#define INT_MAX 2147483647
#define INT_MIN (-INT_MAX - 1)

__u64 turns, sums, stops;

/* Goes through a range, or `most` numbers of it. */
#define RANGE(start, end, most)                                                                    \
	do {                                                                                       \
		struct bpf_iter_num numbers;                                                       \
		int *number;                                                                       \
                                                                                                   \
		CALL(bpf_iter_num_new(&numbers, start, end));                                      \
		while ((number = bpf_iter_num_next(&numbers))) {                                   \
			CALL(*number);                                                             \
			turns++;                                                                   \
			sums += (__u64)*number * turns;                                            \
			if (most && turns % (most ?: 1) == 0) {                                    \
				stops++;                                                           \
				break;                                                             \
			}                                                                          \
		}                                                                                  \
		bpf_iter_num_destroy(&numbers);                                                    \
	} while (0)

static __always_inline int all_ranges(void)
{
	int round = input.number % 100;

	RANGE(0, 100, 0);
	RANGE(0, 100, 7);
	RANGE(-5, 5, 0);
	RANGE(5, 5, 0);
	RANGE(6, 5, 0);
	RANGE(INT_MAX - 3, INT_MAX, 0);
	RANGE(INT_MIN, INT_MIN + 3, 0);
	RANGE(INT_MIN, INT_MAX, 0);
	RANGE(INT_MAX, INT_MIN, 0);
	RANGE(0, 8 << 20, 3);
	RANGE(0, (8 << 20) + 1, 3);
	RANGE(-1, 8 << 20, 3);
	RANGE(0, round, 0);
	RANGE(-round, round, 0);
	RANGE((int)input.size, (int)input.address, 5);
	return 0;
}

/* One range in another, whose bounds it moves. */
static __always_inline int all_nests(void)
{
	struct bpf_iter_num outer, inner;
	int *from, *number;

	CALL(bpf_iter_num_new(&outer, 0, 12));
	while ((from = bpf_iter_num_next(&outer))) {
		bpf_iter_num_new(&inner, *from, 10);
		while ((number = bpf_iter_num_next(&inner))) {
			turns++;
			sums += (__u64)*number << (*from & 15);
		}
		bpf_iter_num_destroy(&inner);
	}
	bpf_iter_num_destroy(&outer);
	CALL(turns);
	return 0;
}

#define PROGRAM(name)                                                                              \
	SEC("?raw_tp/" #name) int name(void *ctx) { return all_##name##s(); }                      \
	SEC("kprobe/__x64_sys_getpgid") int name##_in_probe(void *ctx) { return all_##name##s(); }

PROGRAM(range)
PROGRAM(nest)

char LICENSE[] SEC("license") = "GPL";
