/* What the programs of attach_*.bpf.c share: they note what the thread `attacher` does, in sums that do not depend
 * on the order of events. */
#ifndef CORPUS_ATTACH_H
#define CORPUS_ATTACH_H
#include "kernel.h"

#define WORDS 13

struct sums {
	__u64 events;
	__u64 words[WORDS];
};

static __always_inline bool attacher(void)
{
	char comm[16];

	bpf_get_current_comm(comm, sizeof(comm));
	return !__builtin_memcmp(comm, "attacher", 8);
}

/* A sum in which no word's change hides another's. */
static __always_inline void add(struct sums *sums, int at, __u64 word)
{
	__sync_fetch_and_add(&sums->words[at], word * 0x9e3779b97f4a7c15ULL ^ word >> 32);
}

/* A word that the verifier may know as a pointer, with which there is no computing, as a number. */
static __always_inline __u64 number(__u64 word)
{
	volatile __u64 known = word;
	__u64 read = 0;

	bpf_probe_read_kernel(&read, sizeof(read), (void *)&known);
	return read;
}

/* So many words of a context. */
static __always_inline void note(struct sums *sums, const __u64 *words, int from, int to)
{
	__sync_fetch_and_add(&sums->events, 1);
#pragma clang loop unroll(full)
	for (int i = from; i < to; i++)
		add(sums, i, number(words[i]));
}
#endif
