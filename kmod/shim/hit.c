// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * What every kind of probe shares: a hit runs Rust with interrupts off, so that only an NMI can come
 * in between.
 */
#include <linux/irqflags.h>
#include <linux/kprobes.h>
#include <linux/percpu.h>
#include <linux/smp.h>

#include "wprobe.h"

/* Where a panic in a hit leads to; see catch.S. */
static DEFINE_PER_CPU(u64, hit_resume);

void wp_abort_hit(u32 cpu)
{
	wprobe_abort(per_cpu_ptr(&hit_resume, cpu), 0);
}

/* `regs` is what a stack is unwound from, or NULL; `words` holds the program's context. */
void wprobe_hit(struct wprobe_probe *probe, const struct pt_regs *regs, const void *words)
{
	struct wprobe_hit hit = {
		.regs = regs, .words = words, .frames = probe->ops->frames,
	};
	unsigned long flags;

	local_irq_save(flags);
	wprobe_catch_hit(probe->attachment, &hit, smp_processor_id(), this_cpu_ptr(&hit_resume));
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
