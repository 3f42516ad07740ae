/* What the programs of calls_*.bpf.c share. Each helper call has a slot of its own for what it gave and what it
 * wrote; the test compares them, and all of .bss, with those of native eBPF, round by round. */
#ifndef CORPUS_CALLS_H
#define CORPUS_CALLS_H
#include "kernel.h"

/* What the test sets before each round. */
struct input {
	__u64 number;
	__u64 address; /* to read from */
	__u64 size;
	__u64 of_task; /* the address is an offset in the current task's name */
	__u64 device, inode; /* of this process's PID namespace */
	__u64 pid;
};
struct input input SEC(".data.input") = { .number = 1 };

#define BYTES 64

struct result {
	__u64 line; /* of the source */
	__s64 ret;
	__u8 bytes[BYTES]; /* 0xa5 where nothing was written */
};
struct result results[128] SEC(".bss.results");

/* Puts a call's result into the slot of this place in the source; the call may write to `bytes`. */
#define CALL(call)                                                                                 \
	do {                                                                                       \
		struct result *slot = &results[__COUNTER__];                                       \
		__u8 *bytes = slot->bytes;                                                         \
                                                                                                   \
		(void)bytes;                                                                       \
		slot->line = __LINE__;                                                             \
		__builtin_memset(slot->bytes, 0xa5, BYTES);                                        \
		slot->ret = (__s64)(call);                                                         \
	} while (0)

/* A size that a verifier lets pass. */
#define AT_MOST(size, limit)                                                                       \
	({                                                                                         \
		__u64 wanted = (size);                                                             \
                                                                                                   \
		barrier_var(wanted);                                                               \
		wanted > (limit) ? (limit) : wanted;                                               \
	})

#define MAP(name, kind, key_type, value_type, entries)                                             \
	struct {                                                                                   \
		__uint(type, kind);                                                                \
		__uint(max_entries, entries);                                                      \
		__type(key, key_type);                                                             \
		__type(value, value_type);                                                         \
	} name SEC(".maps")

#endif
