// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * kprobes and kretprobes. A handler runs Rust with interrupts off, so that only an NMI can come in
 * between, and returns 0: the probed path goes on as if nothing had been there.
 */
#include <linux/kprobes.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "wprobe.h"

/* Instances in flight: what sleeps inside the function keeps one. Too few show as misses. */
#define MAX_ACTIVE 2048

struct wprobe_kprobe {
	void *attachment;
	bool returns;
	union {
		struct kprobe entry;
		struct kretprobe ret;
	};
};

static void hit(struct wprobe_kprobe *probe, struct pt_regs *regs)
{
	unsigned long flags;
	u32 cpu;

	local_irq_save(flags);
	cpu = smp_processor_id();
	wprobe_catch_hit(probe->attachment, regs, cpu, wprobe_hit_resume(cpu));
	local_irq_restore(flags);
}
NOKPROBE_SYMBOL(hit);

static int on_pre(struct kprobe *entry, struct pt_regs *regs)
{
	hit(container_of(entry, struct wprobe_kprobe, entry), regs);
	return 0;
}
NOKPROBE_SYMBOL(on_pre);

static int on_return(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	struct kretprobe *ret = get_kretprobe(instance);

	/* NULL while it is being unregistered */
	if (ret)
		hit(container_of(ret, struct wprobe_kprobe, ret), regs);
	return 0;
}
NOKPROBE_SYMBOL(on_return);

/* Attaches at symbol + offset; 0 or a negative errno. `symbol` must outlive the probe. */
int wp_kprobe_attach(u32 point, const char *symbol, u32 offset, void *attachment,
		     struct wprobe_kprobe **made)
{
	struct wprobe_kprobe *probe = kzalloc(sizeof(*probe), GFP_KERNEL);
	struct kprobe *entry;
	int error;

	if (!probe)
		return -ENOMEM;
	probe->attachment = attachment;
	probe->returns = point == WPROBE_RETURN;
	entry = probe->returns ? &probe->ret.kp : &probe->entry;
	entry->symbol_name = symbol;
	entry->offset = offset;
	if (probe->returns) {
		probe->ret.handler = on_return;
		probe->ret.maxactive = MAX_ACTIVE;
		error = register_kretprobe(&probe->ret);
	} else {
		/*
		 * No post_handler, also for WPROBE_POST: adding one where an armed kprobe already uses ftrace
		 * makes the kernel disarm that with the wrong ftrace_ops (ENOENT, then a stale probe, then an
		 * oops). The first instruction of a syscall wrapper is ftrace's nop: before is after.
		 */
		entry->pre_handler = on_pre;
		error = register_kprobe(entry);
	}
	if (error)
		kfree(probe);
	else
		*made = probe;
	return error;
}

/* Hits that the probe itself could not handle. */
u64 wp_kprobe_missed(const struct wprobe_kprobe *probe)
{
	return probe->returns ? probe->ret.nmissed + probe->ret.kp.nmissed : probe->entry.nmissed;
}

/* When it returns no handler runs any more. */
void wp_kprobe_detach(struct wprobe_kprobe *probe)
{
	if (probe->returns)
		unregister_kretprobe(&probe->ret);
	else
		unregister_kprobe(&probe->entry);
	kfree(probe);
}

/*
 * [probe] The arguments of the syscall whose wrapper was entered with `outer`. The copy is guarded: the
 * symbol may be no such wrapper.
 */
bool wp_syscall_args(const struct pt_regs *outer, u64 *args)
{
	struct pt_regs regs;

	if (copy_from_kernel_nofault(&regs, (const void *)outer->di, sizeof(regs)))
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
