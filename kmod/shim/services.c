// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Kernel services for Rust. Those marked [probe] run inside probes, with interrupts off: they do not
 * sleep, allocate or fault.
 */
#include <linux/cred.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/percpu.h>
#include <linux/prandom.h>
#include <linux/random.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/timekeeping.h>
#include <linux/uaccess.h>
#include <linux/uidgid.h>
#include <linux/vmalloc.h>

#include "control.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

static DEFINE_PER_CPU(struct rnd_state, random_state);

void wp_log(const char *text, size_t length)
{
	pr_err("wprobe: %.*s\n", (int)length, text);
}

/* What the engine allocates at a time, at most: it takes no failure. */
#define MOST_OF_ENGINE (64 << 20)

/*
 * Blocks of a power of two are aligned to their size; pages to theirs. They count to the memory cgroup of who asks. Small ones, and
 * the engine's, are given beyond its limit rather than not at all, for Rust takes no failure there; others, and those of what fails
 * alone, are refused, and nobody is killed for them.
 */
void *wp_alloc(size_t size, size_t align)
{
	struct wprobe_call *call = wprobe_engine_call();
	struct wprobe_attempt *attempt = call ? call->attempt : NULL;
	gfp_t flags = GFP_KERNEL_ACCOUNT | __GFP_NOWARN;
	size_t asked = size;
	void *block;

	if (align > PAGE_SIZE || size > INT_MAX)
		return NULL;
	if (align > ARCH_KMALLOC_MINALIGN && size < PAGE_SIZE)
		size = roundup_pow_of_two(max(size, align));
	if (attempt)
		flags |= __GFP_RETRY_MAYFAIL;
	else if (size <= PAGE_SIZE)
		flags |= __GFP_NOFAIL;
	else if (call && size <= MOST_OF_ENGINE)
		flags |= WPROBE_LARGE_NOFAIL;
	else
		flags |= __GFP_RETRY_MAYFAIL;
	if (attempt && !wprobe_attempt_has_room(attempt, asked))
		return NULL;
	block = kvmalloc(size, flags);
	if (attempt)
		block = wprobe_attempt_take(attempt, block, asked);
	if (call && block)
		call->allocated += asked;
	return block;
}

void wp_free(void *block, size_t size)
{
	struct wprobe_call *call = wprobe_engine_call();

	if (call)
		call->allocated -= size;
	if (call && call->attempt)
		wprobe_attempt_give(call->attempt, block, size);
	kvfree(block);
}

/* Zeroed, of whole pages, which user space may map; of the memory cgroup of who asks. */
void *wp_alloc_guest(size_t size)
{
	if (size > INT_MAX)
		return NULL;
	return __vmalloc(PAGE_ALIGN(size), GFP_KERNEL_ACCOUNT | __GFP_ZERO | __GFP_NOWARN | __GFP_RETRY_MAYFAIL);
}

void wp_free_guest(void *memory)
{
	vfree(memory);
}

bool wp_copy_in(void *to, u64 from, size_t size)
{
	return !copy_from_user(to, (const void __user *)from, size);
}

bool wp_copy_out(u64 to, const void *from, size_t size)
{
	return !copy_to_user((void __user *)to, from, size);
}

/* [probe] */
u32 wp_cpu(void)
{
	return raw_smp_processor_id();
}

/* [probe] */
bool wp_irqs_off(void)
{
	return irqs_disabled();
}

u64 wp_irq_save(void)
{
	unsigned long flags;

	local_irq_save(flags);
	return flags;
}

void wp_irq_restore(u64 flags)
{
	local_irq_restore((unsigned long)flags);
}

/* Runs have interrupts off, which RCU, where it watches, takes for a read-side critical section. */
void wp_wait_for_runs(void)
{
	synchronize_rcu();
}

/* Between parts of something long: others get the CPU, a signal that kills is heeded at the end. */
void wp_rest(void)
{
	cond_resched();
}

/* The same; whether the caller lives on. */
bool wp_rest_unless_killed(void)
{
	cond_resched();
	return !fatal_signal_pending(current);
}

/* [probe] */
u64 wp_ktime(void)
{
	return ktime_get_mono_fast_ns();
}

/* [probe] */
u64 wp_boottime(void)
{
	return ktime_get_boot_fast_ns();
}

/* [probe] */
u64 wp_pid_tgid(void)
{
	return (u64)current->tgid << 32 | current->pid;
}

/* [probe] */
u64 wp_uid_gid(void)
{
	kuid_t uid;
	kgid_t gid;

	current_uid_gid(&uid, &gid);
	return (u64)from_kgid(&init_user_ns, gid) << 32 | from_kuid(&init_user_ns, uid);
}

/* [probe] */
u64 wp_task(void)
{
	return (u64)current;
}

/* [probe] */
void wp_comm(char *comm)
{
	wprobe_copy_comm(comm, current->comm);
}

void wp_seed_random(void)
{
	prandom_seed_full_state(&random_state);
}

/* [probe] as bpf_get_prandom_u32() */
u32 wp_random(void)
{
	return prandom_u32_state(this_cpu_ptr(&random_state));
}

u32 wp_entropy(void)
{
	return get_random_u32();
}

/*
 * [probe] 0 or a negative errno. Linux 6.1 takes an address that needs five levels of page tables for a
 * good one on a CPU that has them, in use or not; the general protection fault that follows is a WARN.
 */
long wp_read_kernel(void *to, u64 from, size_t size)
{
	int unused = pgtable_l5_enabled() ? 64 - 57 : 64 - 48;

	if ((u64)((s64)(from << unused) >> unused) != from)
		return -ERANGE;
	return copy_from_kernel_nofault(to, (const void *)from, size);
}

/*
 * [probe] 0 or a negative errno. A word goes by way of the stack, where the kernel sees at once that it may be written; for guest
 * memory, which is vmalloc()'s, it looks thrice as long (CONFIG_HARDENED_USERCOPY).
 */
long wp_read_user(void *to, u64 from, size_t size)
{
	u64 word;
	long error;

	if (size != sizeof(word))
		return copy_from_user_nofault(to, (const void __user *)from, size);
	error = copy_from_user_nofault(&word, (const void __user *)from, sizeof(word));
	if (!error)
		memcpy(to, &word, sizeof(word));
	return error;
}

/*
 * [probe] Length with NUL, or a negative errno: strncpy_from_kernel_nofault(), which is not exported.
 * Aligned words never straddle a page, so nothing behind the string is touched that could fault; what lies there
 * does not get into the buffer.
 */
long wp_read_kernel_str(char *to, u64 from, size_t size)
{
	size_t done = 0;

	while (done < size) {
		size_t step = min_t(size_t, size - done, 8 - (from + done) % 8);
		char word[8], *nul;
		long error = wp_read_kernel(word, from + done, step);

		if (error)
			return error;
		nul = memchr(word, 0, step);
		if (nul)
			step = nul - word + 1;
		memcpy(to + done, word, step);
		done += step;
		if (nul)
			return done;
	}
	if (size)
		to[size - 1] = 0;
	return size;
}

/* [probe] Length with NUL, or a negative errno: strncpy_from_user_nofault(), which is not exported. */
long wp_read_user_str(char *to, u64 from, size_t size)
{
	long length;

	if (!size)
		return 0;
	pagefault_disable();
	length = strncpy_from_user(to, (const char __user *)from, size);
	pagefault_enable();
	if (length < 0)
		return length;
	if (length == size) {
		to[size - 1] = 0;
		return size;
	}
	/* as the kernel's own: the NUL of an empty string is not counted */
	return length ? length + 1 : 0;
}

/* [probe] */
u64 wp_user_end(void)
{
	return TASK_SIZE;
}

/* [probe] What printk() makes of a pointer, as bpf_trace_printk() has it. */
size_t wp_pointer_text(u8 kind, u64 address, char *to, size_t size)
{
	void *pointer = (void *)address;

	switch (kind) {
	case 'S':
		return scnprintf(to, size, "%pS", pointer);
	case 's':
		return scnprintf(to, size, "%ps", pointer);
	case 'B':
		return scnprintf(to, size, "%pB", pointer);
	case 'K':
		return scnprintf(to, size, "%pK", pointer);
	default:
		return scnprintf(to, size, "%p", pointer);
	}
}

/* [probe] */
void wp_trace(const char *text, size_t length)
{
	trace_wprobe_print(text, length);
}
