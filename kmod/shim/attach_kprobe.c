// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * kprobes and kretprobes. A handler returns 0: the probed path goes on as if nothing had been there.
 */
#include <linux/kprobes.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "hit.h"

/* Instances in flight: what sleeps inside the function keeps one. Too few show as misses. */
#define MAX_ACTIVE 2048

struct entry {
	struct wprobe_probe probe;
	struct kprobe kprobe;
};

struct ret {
	struct wprobe_probe probe;
	struct kretprobe kretprobe;
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

static u64 entry_function(const struct wprobe_hit *hit)
{
	return wprobe_kprobe_function(&container_of(hit->probe, struct entry, probe)->kprobe);
}

static u64 entry_missed(const struct wprobe_probe *probe)
{
	return container_of(probe, struct entry, probe)->kprobe.nmissed;
}

static void entry_detach(struct wprobe_probe *probe)
{
	unregister_kprobe(&container_of(probe, struct entry, probe)->kprobe);
}

static const struct wprobe_probe_ops entry_ops = {
	.function = entry_function,
	.missed = entry_missed,
	.detach = entry_detach,
};

int wp_kprobe_attach(const char *symbol, u32 offset, void *attachment, struct wprobe_probe **made)
{
	struct entry *entry = kzalloc(sizeof(*entry), GFP_KERNEL_ACCOUNT);
	int error;

	if (!entry)
		return -ENOMEM;
	entry->probe.attachment = attachment;
	entry->probe.ops = &entry_ops;
	entry->kprobe.symbol_name = symbol;
	entry->kprobe.offset = offset;
	/*
	 * No post_handler, also for probes after the first instruction: adding one where an armed kprobe
	 * already uses ftrace makes the kernel disarm that with the wrong ftrace_ops (ENOENT, then a stale
	 * probe, then an oops). The first instruction of a syscall wrapper is ftrace's nop: before is after.
	 */
	entry->kprobe.pre_handler = entry->probe.attachment->ready ? on_entry : on_syscall;
	error = register_kprobe(&entry->kprobe);
	if (error)
		kfree(entry);
	else
		*made = &entry->probe;
	return error;
}

static u64 ret_function(const struct wprobe_hit *hit)
{
	return wprobe_kprobe_function(&container_of(hit->probe, struct ret, probe)->kretprobe.kp);
}

static u64 ret_missed(const struct wprobe_probe *probe)
{
	const struct kretprobe *kretprobe = &container_of(probe, struct ret, probe)->kretprobe;

	return kretprobe->nmissed + kretprobe->kp.nmissed;
}

static void ret_detach(struct wprobe_probe *probe)
{
	unregister_kretprobe(&container_of(probe, struct ret, probe)->kretprobe);
}

static const struct wprobe_probe_ops ret_ops = {
	.function = ret_function,
	.missed = ret_missed,
	.detach = ret_detach,
};

int wp_kretprobe_attach(const char *symbol, void *attachment, struct wprobe_probe **made)
{
	struct ret *ret = kzalloc(sizeof(*ret), GFP_KERNEL_ACCOUNT);
	int error;

	if (!ret)
		return -ENOMEM;
	ret->probe.attachment = attachment;
	ret->probe.ops = &ret_ops;
	ret->kretprobe.kp.symbol_name = symbol;
	ret->kretprobe.handler = on_return;
	ret->kretprobe.maxactive = MAX_ACTIVE;
	error = register_kretprobe(&ret->kretprobe);
	if (error)
		kfree(ret);
	else
		*made = &ret->probe;
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
