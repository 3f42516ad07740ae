/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Where kernels differ, for the whole shim. WPROBE_HAS_* are what configure.sh found in the kernel's headers; by version is
 * only what headers do not show: how the kernel itself behaves. What is missing gets the newer kernels' name here.
 */
#ifndef WPROBE_COMPAT_H
#define WPROBE_COMPAT_H

#include <linux/version.h>

#include "features.h"

#ifdef __ASSEMBLER__

#if __has_include(<asm/ibt.h>)
#include <asm/ibt.h>
#else
#define ENDBR
#endif

/* At the start of a function that is called by its address; where SYM_FUNC_START() does not put one everywhere. */
#ifdef WPROBE_HAS_FUNC_ENDBR
#define FUNC_ENDBR
#else
#define FUNC_ENDBR ENDBR
#endif

#else

#include <linux/atomic.h>
#include <linux/ftrace.h>
#include <linux/irq_work.h>
#include <linux/kprobes.h>
#include <linux/mm.h>
#include <linux/perf_event.h>
#include <linux/timekeeping.h>
#include <linux/uprobes.h>
#if __has_include(<asm/ibt.h>)
#include <asm/ibt.h>
#endif
#if __has_include(<crypto/sha2.h>)
#include <crypto/sha2.h>
#else
#include <crypto/sha.h>
#endif

/* Of memory that is no atomic_t. */
#ifndef try_cmpxchg_acquire
#define try_cmpxchg_acquire(at, old, new)                                                          \
	({                                                                                         \
		typeof(*(at)) expected = *(old);                                                   \
		typeof(*(at)) found = cmpxchg_acquire(at, expected, new);                          \
		if (unlikely(found != expected))                                                   \
			*(old) = found;                                                            \
		likely(found == expected);                                                         \
	})
#endif

#ifndef WPROBE_HAS_GET_KRETPROBE
#define get_kretprobe(instance) ((instance)->rp)
#endif

/* Whether a kprobe is at the start of a function; where the kernel does not note it, by what was asked for: all are by symbol. */
#ifdef KPROBE_FLAG_ON_FUNC_ENTRY
#define wprobe_is_on_entry(kprobe) ((kprobe)->flags & KPROBE_FLAG_ON_FUNC_ENTRY)
#else
#define wprobe_is_on_entry(kprobe) (!(kprobe)->offset)
#endif

/*
 * ftrace's own guards cost more than a hit, and nothing before a run's guard can be traced. Where it has no registers of its own
 * for callbacks it is asked for all of them, and the guards are what there has to be asked off.
 */
#ifdef WPROBE_HAS_FTRACE_REGS
#define WPROBE_FTRACE_FLAGS 0
#else
#define WPROBE_FTRACE_FLAGS (FTRACE_OPS_FL_SAVE_REGS | FTRACE_OPS_FL_RECURSION_SAFE)
#define ftrace_regs pt_regs
#endif

#ifndef WPROBE_HAS_FTRACE_FREE_FILTER
/* An empty filter that is set anew is freed with what it was. */
#define ftrace_free_filter(ops) ftrace_set_filter(ops, NULL, 0, 1)
#endif

#ifndef WPROBE_HAS_IRQ_WORK_IS_BUSY
static inline bool irq_work_is_busy(struct irq_work *work)
{
	return atomic_read(&work->flags) & IRQ_WORK_BUSY;
}
#endif

#ifndef WPROBE_HAS_LOCKDOWN_BPF_READ_KERNEL
#define LOCKDOWN_BPF_READ_KERNEL LOCKDOWN_BPF_READ
#endif

/*
 * The time with leap seconds. Where no clock gives it in a probe, it is the real time and what the other was ahead of it as the
 * module was loaded.
 */
#ifdef WPROBE_HAS_TAI_FAST
#define wprobe_tai_ahead() 0
#define wprobe_tai(ahead) ((void)(ahead), ktime_get_tai_fast_ns())
#else
#define wprobe_tai_ahead()                                                                         \
	(ktime_to_ns(ktime_mono_to_any(0, TK_OFFS_TAI)) - ktime_to_ns(ktime_mono_to_any(0, TK_OFFS_REAL)))
#define wprobe_tai(ahead) (ktime_get_real_fast_ns() + (ahead))
#endif

/* The address of a sample, if it has one: kernels without the flags clear it. */
#ifdef WPROBE_HAS_SAMPLE_FLAGS
#define WPROBE_SAMPLE_ADDRESS(data) ((data)->sample_flags & PERF_SAMPLE_ADDR ? (data)->addr : 0)
#else
#define WPROBE_SAMPLE_ADDRESS(data) ((data)->addr)
#endif

#ifndef WPROBE_HAS_VM_FLAGS_MOD
static inline void vm_flags_mod(struct vm_area_struct *vma, unsigned long set, unsigned long clear)
{
	vma->vm_flags = (vma->vm_flags | set) & ~clear;
}
#endif

/* What an event is that was made later: where there is no such flag there is no such event, or its other flags tell it. */
#ifndef WPROBE_HAS_EVENT_DYNAMIC
#define TRACE_EVENT_FL_DYNAMIC 0
#endif
#ifndef WPROBE_HAS_EVENT_EPROBE
#define TRACE_EVENT_FL_EPROBE 0
#endif

/* The module that an event is of. */
#ifdef WPROBE_HAS_EVENT_MODULE
#define wprobe_event_module(call) ((call)->module)
#else
#define wprobe_event_module(call) ((call)->mod)
#endif

/* What handlers of uprobes are given last: a word that an entry keeps for its return. */
#ifdef WPROBE_HAS_UPROBE_DATA
#define WPROBE_UPROBE_DATA , __u64 *data
#else
#define WPROBE_UPROBE_DATA
#endif

/* To objtool, which cannot follow a stack pointer that is aligned and put back. */
#ifdef WPROBE_HAS_UNWIND_HINT_TYPE_FIRST
#define WPROBE_UNWIND_HINT(type) UNWIND_HINT(type, 0, 0, 0)
#else
#define WPROBE_UNWIND_HINT(type) UNWIND_HINT(0, 0, type, 0)
#endif

/*
 * What native programs on system calls' tracepoints have their stacks unwound from: the user's registers, from which no way
 * leads into the kernel; since 6.12 those that the kernel's own handler of the tracepoint notes, where it is one frame of the
 * stack.
 */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
#define WPROBE_SYSCALL_FRAMES 1
#define wprobe_note_caller(caller, regs) \
	(perf_fetch_caller_regs(caller), (const struct pt_regs *)(caller))
#else
#define WPROBE_SYSCALL_FRAMES 0
#define wprobe_note_caller(caller, regs) ((void)(caller), (const struct pt_regs *)(regs))
#endif

/* How more than a page is asked for that must not fail: before 5.17 the kernel knows no such thing, and tries hard. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(5, 17, 0)
#define WPROBE_LARGE_NOFAIL __GFP_NOFAIL
#else
#define WPROBE_LARGE_NOFAIL __GFP_RETRY_MAYFAIL
#endif

/* A name as native programs get it, padded with zeros: since 5.17 it is where it is set (__set_task_comm()). */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(5, 17, 0)
#define wprobe_copy_comm(to, from) (memcpy(to, from, TASK_COMM_LEN), (void)((to)[TASK_COMM_LEN - 1] = 0))
#else
#define wprobe_copy_comm(to, from) strscpy_pad(to, from, TASK_COMM_LEN)
#endif

/* Since 6.12 a user's stack begins with the caller of a function whose frame is not linked yet (is_uprobe_at_func_entry()). */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0) && defined(CONFIG_UPROBES)
#define WPROBE_SEES_UPROBED_ENTRY
#endif

#endif

#endif
