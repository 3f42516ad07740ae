/* What the programs with dynptrs share. */
#ifndef CORPUS_CALLS_DYNPTR_H
#define CORPUS_CALLS_DYNPTR_H
#include "calls.h"

struct bpf_dynptr {
	__u64 opaque[2];
} __attribute__((aligned(8)));

char data[128];

static __always_inline void fill(void)
{
	for (int i = 0; i < 128; i++)
		data[i] = i + input.number;
}

#define PROGRAM(name)                                                                              \
	SEC("?raw_tp/" #name) int name(void *ctx) { return all_##name(); }                         \
	SEC("kprobe/__x64_sys_getpgid") int name##_in_probe(void *ctx) { return all_##name(); }
#endif
