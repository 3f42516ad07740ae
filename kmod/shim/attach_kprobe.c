// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * kprobes and kretprobes. A handler returns 0: the probed path goes on as if nothing had been there.
 */
#include <linux/kprobes.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "hit.h"

/* Instances in flight: what sleeps inside the function keeps one. Too few show as misses. Those of many places share them. */
#define MAX_ACTIVE 2048
#define MIN_ACTIVE 32

struct entry {
	struct wprobe_probe probe;
	struct kprobe kprobe;
};

struct ret {
	struct wprobe_probe probe;
	struct kretprobe kretprobe;
};

/* What an attachment is told by: each of its places has a probe of its own, which is what is hit. */
struct entries {
	struct wprobe_probe probe;
	u32 count;
	struct kprobe **kprobes;
	struct entry each[];
};

struct rets {
	struct wprobe_probe probe;
	u32 count;
	struct kretprobe **kretprobes;
	struct ret each[];
};

static int on_entry(struct kprobe *kprobe, struct pt_regs *regs)
{
	wprobe_hit_here(&container_of(kprobe, struct entry, kprobe)->probe, regs, regs);
	return 0;
}
NOKPROBE_SYMBOL(on_entry);

/* The same, of what takes a system call's arguments, for which C has nothing ready. */
static int on_syscall(struct kprobe *kprobe, struct pt_regs *regs)
{
	unsigned long flags;

	local_irq_save(flags);
	wprobe_hit_in_rust(&container_of(kprobe, struct entry, kprobe)->probe, regs, regs);
	local_irq_restore(flags);
	return 0;
}
NOKPROBE_SYMBOL(on_syscall);

static int on_return(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	struct kretprobe *kretprobe = get_kretprobe(instance);

	/* NULL while it is being unregistered */
	if (kretprobe)
		wprobe_hit(&container_of(kretprobe, struct ret, kretprobe)->probe, regs, regs);
	return 0;
}
NOKPROBE_SYMBOL(on_return);

/* What a program of a session gets: abi::layout has where these lie. */
struct session {
	struct pt_regs regs;
	u64 is_return;
	u64 cookie;
	u64 result;
};
#define SESSION_WORD(member) (offsetof(struct session, member) / sizeof(u64))
static_assert(offsetof(struct session, is_return) == WPROBE_SESSION_IS_RETURN);
static_assert(offsetof(struct session, cookie) == WPROBE_SESSION_COOKIE);
static_assert(offsetof(struct session, result) == WPROBE_SESSION_RESULT);
static_assert(sizeof(struct session) == WPROBE_SESSION_SIZE);

/*
 * Runs the program of a session, with interrupts off: what it left in its context is not yet another's. What it gives, which is
 * a refusal of the return if it did not run; `*cookie` is what it finds, and what it leaves if it ran.
 */
static u64 session_hit(struct wprobe_probe *probe, const struct pt_regs *regs, bool is_return, u64 *cookie)
{
	struct session session = {
		.regs = *regs,
		.is_return = is_return,
		.cookie = *cookie,
		.result = WPROBE_SESSION_IGNORES,
	};
	const struct wprobe_ready *ready;
	unsigned long flags;
	u64 runs, result = WPROBE_SESSION_IGNORES;

	local_irq_save(flags);
	ready = &probe->attachment->ready[smp_processor_id()];
	runs = READ_ONCE(*ready->runs);
	wprobe_hit_here(probe, regs, &session);
	if (READ_ONCE(*ready->runs) != runs) {
		*cookie = READ_ONCE(ready->context[SESSION_WORD(cookie)]);
		result = READ_ONCE(ready->context[SESSION_WORD(result)]);
	}
	local_irq_restore(flags);
	return result;
}
NOKPROBE_SYMBOL(session_hit);

static int on_session_entry(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	struct kretprobe *kretprobe = get_kretprobe(instance);
	u64 *cookie = (u64 *)instance->data;

	*cookie = 0;
	if (!kretprobe)
		return 1;
	/* other than 0: its return is not waited for */
	return session_hit(&container_of(kretprobe, struct ret, kretprobe)->probe, regs, false, cookie) != 0;
}
NOKPROBE_SYMBOL(on_session_entry);

static int on_session_return(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	struct kretprobe *kretprobe = get_kretprobe(instance);

	/* NULL while it is being unregistered */
	if (kretprobe)
		session_hit(&container_of(kretprobe, struct ret, kretprobe)->probe, regs, true,
			    (u64 *)instance->data);
	return 0;
}
NOKPROBE_SYMBOL(on_session_return);

static u64 entry_function(const struct wprobe_hit *hit)
{
	return wprobe_kprobe_function(&container_of(hit->probe, struct entry, probe)->kprobe);
}

static const struct wprobe_probe_ops entry_ops = { .function = entry_function };

static u64 entries_missed(const struct wprobe_probe *probe)
{
	const struct entries *entries = container_of(probe, struct entries, probe);
	u64 missed = 0;
	u32 i;

	for (i = 0; i < entries->count; i++)
		missed += entries->each[i].kprobe.nmissed;
	return missed;
}

/* Of those that were never registered. */
static void entries_free(struct entries *entries)
{
	kvfree(entries->kprobes);
	kvfree(entries);
}

static void entries_detach(struct wprobe_probe *probe)
{
	struct entries *entries = container_of(probe, struct entries, probe);

	unregister_kprobes(entries->kprobes, entries->count);
	kvfree(entries->kprobes);
}

static const struct wprobe_probe_ops entries_ops = {
	.missed = entries_missed,
	.detach = entries_detach,
};

/* At `offset` of `symbol`, or at `count` addresses. */
int wp_kprobe_attach(const char *symbol, u32 offset, const u64 *addresses, u32 count, void *attachment,
		     struct wprobe_probe **made)
{
	struct entries *entries = kvzalloc(struct_size(entries, each, count), GFP_KERNEL_ACCOUNT);
	int error;
	u32 i;

	if (!entries)
		return -ENOMEM;
	entries->probe.ops = &entries_ops;
	entries->count = count;
	entries->kprobes = kvcalloc(count, sizeof(*entries->kprobes), GFP_KERNEL_ACCOUNT);
	error = entries->kprobes ? 0 : -ENOMEM;
	if (error)
		goto free;
	for (i = 0; i < count; i++) {
		struct entry *entry = &entries->each[i];

		entry->probe.attachment = attachment;
		entry->probe.ops = &entry_ops;
		entry->probe.place = i;
		if (addresses) {
			entry->kprobe.addr = (kprobe_opcode_t *)addresses[i];
		} else {
			entry->kprobe.symbol_name = symbol;
			entry->kprobe.offset = offset;
		}
		/*
		 * No post_handler, also for probes after the first instruction: adding one where an armed kprobe
		 * already uses ftrace makes the kernel disarm that with the wrong ftrace_ops (ENOENT, then a stale
		 * probe, then an oops). The first instruction of a syscall wrapper is ftrace's nop: before is after.
		 */
		entry->kprobe.pre_handler = entry->probe.attachment->ready ? on_entry : on_syscall;
		entries->kprobes[i] = &entry->kprobe;
	}
	error = register_kprobes(entries->kprobes, count);
	if (error)
		goto free;
	*made = &entries->probe;
	return 0;
free:
	entries_free(entries);
	return error;
}

static u64 ret_function(const struct wprobe_hit *hit)
{
	return wprobe_kprobe_function(&container_of(hit->probe, struct ret, probe)->kretprobe.kp);
}

static const struct wprobe_probe_ops ret_ops = { .function = ret_function };

static u64 rets_missed(const struct wprobe_probe *probe)
{
	const struct rets *rets = container_of(probe, struct rets, probe);
	u64 missed = 0;
	u32 i;

	for (i = 0; i < rets->count; i++)
		missed += rets->each[i].kretprobe.nmissed + rets->each[i].kretprobe.kp.nmissed;
	return missed;
}

/* Of those that were never registered. */
static void rets_free(struct rets *rets)
{
	kvfree(rets->kretprobes);
	kvfree(rets);
}

static void rets_detach(struct wprobe_probe *probe)
{
	struct rets *rets = container_of(probe, struct rets, probe);

	unregister_kretprobes(rets->kretprobes, rets->count);
	kvfree(rets->kretprobes);
}

static const struct wprobe_probe_ops rets_ops = {
	.missed = rets_missed,
	.detach = rets_detach,
};

/* Where the function `symbol` returns, or those at `count` addresses; if it is a `session`, where they begin, too. */
int wp_kretprobe_attach(const char *symbol, const u64 *addresses, u32 count, bool session, void *attachment,
			struct wprobe_probe **made)
{
	struct rets *rets = kvzalloc(struct_size(rets, each, count), GFP_KERNEL_ACCOUNT);
	int error;
	u32 i;

	if (!rets)
		return -ENOMEM;
	rets->probe.ops = &rets_ops;
	rets->count = count;
	rets->kretprobes = kvcalloc(count, sizeof(*rets->kretprobes), GFP_KERNEL_ACCOUNT);
	error = rets->kretprobes ? 0 : -ENOMEM;
	if (error)
		goto free;
	for (i = 0; i < count; i++) {
		struct ret *ret = &rets->each[i];

		ret->probe.attachment = attachment;
		ret->probe.ops = &ret_ops;
		ret->probe.place = i;
		if (addresses)
			ret->kretprobe.kp.addr = (kprobe_opcode_t *)addresses[i];
		else
			ret->kretprobe.kp.symbol_name = symbol;
		ret->kretprobe.handler = session ? on_session_return : on_return;
		if (session) {
			ret->kretprobe.entry_handler = on_session_entry;
			ret->kretprobe.data_size = sizeof(u64);
		}
		ret->kretprobe.maxactive = max_t(u32, MAX_ACTIVE / count, MIN_ACTIVE);
		rets->kretprobes[i] = &ret->kretprobe;
	}
	error = register_kretprobes(rets->kretprobes, count);
	if (error)
		goto free;
	*made = &rets->probe;
	return 0;
free:
	rets_free(rets);
	return error;
}

/*
 * [probe] The arguments of the syscall whose wrapper was entered with `outer`. The copy is guarded: the
 * symbol may be no such wrapper.
 */
bool wp_syscall_args(const struct pt_regs *outer, u64 *args)
{
	struct pt_regs regs;

	if (wp_read_kernel(&regs, outer->di, sizeof(regs)))
		return false;
	args[0] = regs.di;
	args[1] = regs.si;
	args[2] = regs.dx;
	args[3] = regs.r10;
	args[4] = regs.r8;
	args[5] = regs.r9;
	return true;
}

size_t wp_regs_size(void)
{
	return sizeof(struct pt_regs);
}
