// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * [probe] Stacks, walked as perf walks them for native programs (perf_callchain_kernel(), perf_callchain_user()
 * in arch/x86/events/core.c), which modules cannot call.
 */
#include <linux/rcupdate.h>
#include <linux/sched/task_stack.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/uprobes.h>
#include <asm/unwind.h>

#include "wprobe.h"

/* sysctl_perf_event_max_stack, which is not exported, as the kernel sets it. */
#define MAX_DEPTH 127

/* Addresses on their way into a buffer. */
struct walk {
	u64 *to;
	u32 skip;
	/* how many are seen at most */
	u32 end;
	u32 seen;
};

#define WALK(buffer, skipped, room) \
	{ .to = (buffer), .skip = (skipped), .end = min_t(u32, (skipped) + (room), MAX_DEPTH) }

/* Whether there is room for more. */
static bool full(const struct walk *walk)
{
	return walk->seen >= walk->end;
}

/* Whether it was taken. */
static __always_inline bool store(struct walk *walk, u64 address)
{
	if (full(walk))
		return false;
	/* the guest's buffer has any alignment */
	if (walk->seen >= walk->skip)
		memcpy(walk->to + (walk->seen - walk->skip), &address, sizeof(address));
	walk->seen++;
	return true;
}

static long stored(const struct walk *walk)
{
	return walk->seen < walk->skip ? -EFAULT : (long)(walk->seen - walk->skip);
}

static void unwind(struct walk *walk, struct pt_regs *regs)
{
	struct unwind_state state;

	for (unwind_start(&state, current, regs, NULL); !unwind_done(&state);
	     unwind_next_frame(&state)) {
		unsigned long address = unwind_get_return_address(&state);

		if (!address || !store(walk, address))
			return;
	}
}

/*
 * From what perf_arch_fetch_caller_regs() notes of a caller, whose frame the noting function's own lies under. perf
 * unwinds from itself to there; on an engine's stack nobody could.
 */
static noinline void unwind_caller(struct walk *walk, const struct pt_regs *regs)
{
	struct pt_regs all = *regs;

	all.flags = X86_EFLAGS_FIXED;
	all.sp = regs->sp + 2 * sizeof(u64);
	if (!copy_from_kernel_nofault(&all.bp, (void *)regs->sp, sizeof(all.bp)))
		unwind(walk, &all);
}

static void walk_kernel(struct walk *walk, struct pt_regs *regs, u64 frames)
{
	while (frames--)
		if (!store(walk, (u64)wprobe_hit))
			return;
	if (user_mode(regs) || !store(walk, regs->ip))
		return;
	/* set in all registers that were saved whole */
	if (regs->flags & X86_EFLAGS_FIXED)
		unwind(walk, regs);
	else
		unwind_caller(walk, regs);
}

/* Two words at a user address. */
static bool read_frame(u64 at, bool is_64bit, u64 *next, u64 *address)
{
	u64 words[2];
	u32 halves[2];

	if (is_64bit) {
		if (copy_from_user_nofault(words, (const void __user *)at, sizeof(words)))
			return false;
		*next = words[0];
		*address = words[1];
		return true;
	}
	if (copy_from_user_nofault(halves, (const void __user *)at, sizeof(halves)))
		return false;
	*next = halves[0];
	*address = halves[1];
	return true;
}

/* A uprobe on `push %rbp`: the caller's frame is not linked yet, but its address is on top of the stack. */
static bool before_frame(struct pt_regs *regs)
{
#ifdef WPROBE_SEES_UPROBED_ENTRY
	static const u8 endbr[] = { 0xf3, 0x0f, 0x1e, 0xfa };
	struct arch_uprobe *uprobe = current->utask ? current->utask->auprobe : NULL;

	if (!uprobe)
		return false;
	return uprobe->insn[0] == 0x55 ||
	       (user_64bit_mode(regs) && !memcmp(uprobe->insn, endbr, sizeof(endbr)));
#else
	return false;
#endif
}

static void walk_user(struct walk *walk, struct pt_regs *regs)
{
	bool is_64bit = user_64bit_mode(regs);
	u64 at = regs->bp, address;

	if (!store(walk, regs->ip))
		return;
	if (is_64bit && before_frame(regs) &&
	    !copy_from_user_nofault(&address, (const void __user *)regs->sp, sizeof(address)))
		store(walk, address);
	while (!full(walk) && read_frame(at, is_64bit, &at, &address))
		store(walk, address);
}

/* How many addresses of the current task's stack were stored, or -EFAULT. */
long wp_stack(const struct wprobe_hit *hit, bool user, u32 skip, u64 *to, u32 room)
{
	struct walk walk = WALK(to, skip, room);
	/* only read, but what reads them asks for more */
	struct pt_regs *regs = (struct pt_regs *)hit->from;
	struct pt_regs copy;

	if (regs && hit->probe->ops->registers) {
		hit->probe->ops->registers(regs, &copy);
		regs = &copy;
	}
	if (user && !(regs && user_mode(regs)))
		regs = current->mm ? task_pt_regs(current) : NULL;
	if (regs && user)
		walk_user(&walk, regs);
	else if (regs)
		walk_kernel(&walk, regs, hit->probe->ops->frames);
	return stored(&walk);
}

/*
 * How many addresses of the kernel stack of a task that is not running were stored, or -EFAULT. The stack of a
 * task that can be found by its id is freed no sooner than an RCU grace period later (thread_stack_free_rcu()). The
 * user stack of another address space is not to be had: natively neither, with the same errors.
 */
long wp_task_stack(u64 address, bool user, u32 skip, u64 *to, u32 room)
{
	struct walk walk = WALK(to, skip, room);
	struct unwind_state state;
	struct task_struct *task;
	long error = 0;

	rcu_read_lock();
	task = wprobe_task_at(address);
	if (!task)
		error = -EFAULT;
	else if (user)
		error = user_mode(task_pt_regs(task)) ? -EOPNOTSUPP : -EFAULT;
	else {
		for (unwind_start(&state, task, NULL, NULL); !unwind_done(&state);
		     unwind_next_frame(&state)) {
			unsigned long pc = unwind_get_return_address(&state);

			if (!pc || !store(&walk, pc))
				break;
		}
	}
	rcu_read_unlock();
	return error ?: stored(&walk);
}
