// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * What every kind of probe shares: a hit runs Rust with interrupts off, so that only an NMI can come
 * in between.
 */
#include <linux/irqflags.h>
#include <linux/kprobes.h>
#include <linux/smp.h>

#include "wprobe.h"

/* `regs` is what a stack is unwound from, or NULL; `words` holds the program's context. */
void wprobe_hit(struct wprobe_probe *probe, const struct pt_regs *regs, const void *words)
{
	struct wprobe_hit hit = {
		.regs = regs, .words = words, .frames = probe->ops->frames,
	};
	unsigned long flags;
	u32 cpu;

	local_irq_save(flags);
	cpu = smp_processor_id();
	wprobe_catch_hit(probe->attachment, &hit, cpu, wprobe_hit_resume(cpu));
	local_irq_restore(flags);
}
NOKPROBE_SYMBOL(wprobe_hit);

/* Hits that the probe itself could not handle. */
u64 wp_probe_missed(const struct wprobe_probe *probe)
{
	return probe->ops->missed ? probe->ops->missed(probe) : 0;
}

/* When it returns no handler runs any more, and the probe is freed. */
void wp_probe_detach(struct wprobe_probe *probe)
{
	probe->ops->detach(probe);
}
