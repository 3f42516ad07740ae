// SPDX-License-Identifier: GPL-2.0 OR MIT
/* What every kind of probe shares. */
#include <linux/kprobes.h>
#include <linux/percpu.h>
#include <linux/slab.h>
#include <linux/smp.h>

#include "hit.h"

DEFINE_PER_CPU(u64, wprobe_hit_resume);

void wp_abort_hit(u32 cpu)
{
	wprobe_abort(per_cpu_ptr(&wprobe_hit_resume, cpu), 0);
}

void wprobe_hit_in_rust(struct wprobe_probe *probe, const void *from, const void *words)
{
	struct wprobe_hit hit = { .from = from, .probe = probe };

	wprobe_catch_hit(probe->attachment, &hit, words, smp_processor_id(),
			 this_cpu_ptr(&wprobe_hit_resume));
}
NOKPROBE_SYMBOL(wprobe_hit_in_rust);

void wprobe_left(const struct wprobe_probe *probe)
{
	wprobe_catch_left(probe->attachment, smp_processor_id(), this_cpu_ptr(&wprobe_hit_resume));
}
NOKPROBE_SYMBOL(wprobe_left);

/* A hit runs with interrupts off, so that only an NMI can come in between. */
void wprobe_hit(struct wprobe_probe *probe, const void *from, const void *words)
{
	wprobe_hit_here(probe, from, words);
}
NOKPROBE_SYMBOL(wprobe_hit);

/*
 * [probe] Where the function begins on whose entry a kprobe is; 0: on none. Behind an endbr, where the function has one, as
 * get_entry_ip() has it.
 */
u64 wprobe_kprobe_function(const struct kprobe *kprobe)
{
	u64 ip = (u64)kprobe->addr;
#ifdef CONFIG_X86_KERNEL_IBT
	u32 before;
#endif

	if (!wprobe_is_on_entry(kprobe))
		return 0;
#ifdef CONFIG_X86_KERNEL_IBT
	if (!wp_read_kernel(&before, ip - ENDBR_INSN_SIZE, sizeof(before)) &&
	    (before == gen_endbr() || before == gen_endbr_poison()))
		return ip - ENDBR_INSN_SIZE;
#endif
	return ip;
}

/* [probe] Where the function begins that was hit; 0: none */
u64 wp_function(const struct wprobe_hit *hit)
{
	return hit->probe->ops->function ? hit->probe->ops->function(hit) : 0;
}

/* Hits that the probe itself could not handle. */
u64 wp_probe_missed(const struct wprobe_probe *probe)
{
	return probe->ops->missed ? probe->ops->missed(probe) : 0;
}

/* When it returns no handler runs any more. The probe can still be asked what it missed. */
void wp_probe_detach(struct wprobe_probe *probe)
{
	probe->ops->detach(probe);
}

/* Of one that is detached. */
void wp_probe_free(struct wprobe_probe *probe)
{
	kvfree(probe);
}
