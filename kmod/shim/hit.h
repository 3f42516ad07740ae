/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* The way from a probe's handler into Rust, as short as it can be: most of what a small program costs. */
#ifndef WPROBE_HIT_H
#define WPROBE_HIT_H

#include <linux/irqflags.h>
#include <linux/percpu.h>
#include <linux/smp.h>

#include "wprobe.h"

/* Where a panic in a hit leads to; see catch.S. */
DECLARE_PER_CPU(u64, wprobe_hit_resume);

/*
 * A hit runs Rust with interrupts off, so that only an NMI can come in between. `regs` is what a stack is unwound
 * from, or NULL; `words` holds the program's context.
 */
static __always_inline void wprobe_hit_here(struct wprobe_probe *probe, const struct pt_regs *regs,
					    const void *words)
{
	struct wprobe_hit hit = {
		.regs = regs, .words = words, .probe = probe,
	};
	unsigned long flags;

	local_irq_save(flags);
	wprobe_catch_hit(probe->attachment, &hit, smp_processor_id(),
			 this_cpu_ptr(&wprobe_hit_resume));
	local_irq_restore(flags);
}

#endif
