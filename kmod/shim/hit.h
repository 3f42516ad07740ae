/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* The way from a probe's handler to the program, as short as it can be: most of what a small program costs. */
#ifndef WPROBE_HIT_H
#define WPROBE_HIT_H

#include <linux/atomic.h>
#include <linux/build_bug.h>
#include <linux/irqflags.h>
#include <linux/objtool.h>
#include <linux/percpu.h>
#include <linux/smp.h>
#include <linux/version.h>
#include <asm/asm.h>
#include <asm/nospec-branch.h>

#include "native.h"
#include "wprobe.h"

/* A CPU's own, as it begins: Cpu in src/cpu.rs. */
struct wprobe_cpu {
	union {
		struct {
			/* a run is under way */
			u8 running;
			/* runs are timed */
			u8 timed;
		};
		/* zero where a run may begin here */
		u16 closed;
	};
	struct wprobe_ready *ready;
};

/* A run's state, as it begins: RunState in src/engine/slot.rs. */
struct wprobe_run {
	/* abi::native::Vm */
	u64 memory;
	u64 stack;
	u64 stack_base;
	u64 cpu;
	u64 fuel;
	u64 stack_limit;
	u64 resume;
	/* what the program is called with */
	u64 argument;
	u64 outermost;
	u64 module;
	struct wprobe_hit hit;
	/* native code was left before its end, or there is more to be done after it */
	u8 left;
};
static_assert(offsetof(struct wprobe_run, stack_limit) == STACK_LIMIT);
static_assert(offsetof(struct wprobe_run, resume) == RESUME);
static_assert(offsetof(struct wprobe_run, argument) == ARGUMENT);
static_assert(offsetof(struct wprobe_run, outermost) == OUTERMOST);
static_assert(offsetof(struct wprobe_run, left) == 96);

/* What a hit on one CPU needs: Ready in src/attach/hit.rs. */
struct wprobe_ready {
	struct wprobe_cpu *cpu;
	/* of Slot in src/engine/slot.rs: its first */
	u8 *lock;
	/* of Stats in src/stats.rs: its first */
	const u8 *disabled;
	/* of Counters in src/stats.rs: its first */
	u64 *runs;
	u64 *context;
	const u64 *masks;
	struct wprobe_run *run;
	u64 entry;
	u64 module;
	u64 fuel;
	u64 info;
	/* of the context, that are wanted */
	u64 words;
	u64 rust[4];
};
static_assert(offsetof(struct wprobe_ready, words) == 88);
static_assert(sizeof(struct wprobe_ready) == 128);

/* Where in the context layout::FUNCTION_INFO is. */
#define WPROBE_INFO_AT 511

/* Slot's states */
#define WPROBE_FREE 0
#define WPROBE_HELD 1

/* Where a panic in a hit leads to; see catch.S. */
DECLARE_PER_CPU(u64, wprobe_hit_resume);

/* hit.c: what is not plain, in Rust. With interrupts off. */
void wprobe_hit_in_rust(struct wprobe_probe *probe, const void *from, const void *words);
void wprobe_left(const struct wprobe_probe *probe);

/*
 * Begins a run of native code, with interrupts off; or does nothing, where it is not for C to do so. The same as
 * Attachment::hit() in src/attach/hit.rs, but for the context: the caller puts it where it belongs.
 *
 * Accesses are plain, as instructions may then do two things at once. Only an NMI could come in between, and what others
 * write is a byte.
 */
static __always_inline bool wprobe_begin(struct wprobe_probe *probe, const void *from,
					 struct wprobe_ready **begun)
{
	struct wprobe_ready *ready = &probe->attachment->ready[smp_processor_id()];
	struct wprobe_cpu *cpu = ready->cpu;
	struct wprobe_run *run = ready->run;
	u8 free = WPROBE_FREE;

	*begun = ready;
	if (unlikely(cpu->closed || *ready->disabled))
		return false;
	cpu->running = true;
	barrier();
	if (unlikely(!try_cmpxchg_acquire(ready->lock, &free, WPROBE_HELD))) {
		cpu->running = false;
		return false;
	}
	cpu->ready = ready;
	*ready->runs += 1;
	run->hit.from = from;
	run->hit.probe = probe;
	run->fuel = ready->fuel;
	run->module = ready->module;
	return true;
}

/* To objtool, which cannot follow a stack pointer that is aligned and put back. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 4, 0)
#define HINT(type) UNWIND_HINT(type, 0, 0, 0)
#else
#define HINT(type) UNWIND_HINT(0, 0, type, 0)
#endif

/*
 * Calls native code, which saves no register, as wprobe_native_enter() does; here the handler saves them, together with what
 * it saves for itself. Unwinding goes on from the caller's frame pointer, so it has to have one.
 */
static __always_inline void wprobe_run_native(struct wprobe_ready *ready)
{
	u64 entry;

	asm volatile(HINT(UNWIND_HINT_TYPE_SAVE)
		     "movq %%rsp, %%rcx\n\t"
		     "andq $-16, %%rsp\n\t"
		     "pushq %%rcx\n\t"
		     "pushq %%rbp\n\t"
		     "movq %c[run](%%rbx), %%rdi\n\t"
		     /* the call's return address is where it resumes */
		     "leaq -8(%%rsp), %%rcx\n\t"
		     "movq %%rcx, %c[resume](%%rdi)\n\t"
		     "movq %%rcx, %c[outermost](%%rdi)\n\t"
		     "leaq -%c[room](%%rsp), %%rcx\n\t"
		     "movq %%rcx, %c[limit](%%rdi)\n\t"
		     "movq %c[argument](%%rdi), %%rsi\n\t"
		     "movq %c[entry](%%rbx), %[thunk_target]\n\t"
		     CALL_NOSPEC
		     "movq (%%rsp), %%rbp\n\t"
		     "movq 8(%%rsp), %%rsp\n\t"
		     HINT(UNWIND_HINT_TYPE_RESTORE)
		     : "+b"(ready), [thunk_target] "=&a"(entry), ASM_CALL_CONSTRAINT
		     : [run] "i"(offsetof(struct wprobe_ready, run)), [entry] "i"(offsetof(struct wprobe_ready, entry)),
		       [argument] "i"(ARGUMENT), [resume] "i"(RESUME), [outermost] "i"(OUTERMOST), [limit] "i"(STACK_LIMIT),
		       [room] "i"(ROOM)
		     : "rcx", "rdx", "rdi", "rsi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "cc", "memory");
}

/* Runs it, and ends the run. */
static __always_inline void wprobe_run(struct wprobe_ready *ready)
{
	wprobe_run_native(ready);
	if (unlikely(ready->run->left)) {
		wprobe_left(ready->run->hit.probe);
		return;
	}
	smp_store_release(ready->lock, WPROBE_FREE);
	barrier();
	ready->cpu->running = false;
}

/* Where all words of the context are there already. `from` is what a stack is unwound from, or NULL. */
static __always_inline void wprobe_hit_here(struct wprobe_probe *probe, const void *from,
					    const void *words)
{
	struct wprobe_ready *ready;
	unsigned long flags;
	u64 i;

	local_irq_save(flags);
	if (likely(wprobe_begin(probe, from, &ready))) {
		if (ready->words) {
			for (i = 0; i < ready->words; i++)
				ready->context[i] = ((const u64 *)words)[i];
			ready->context[WPROBE_INFO_AT] = ready->info;
		}
		wprobe_run(ready);
	} else {
		wprobe_hit_in_rust(probe, from, words);
	}
	local_irq_restore(flags);
}

#endif
