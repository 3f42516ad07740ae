// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Samples of a perf event on every online CPU; the context is `struct bpf_perf_event_data`. */
#include <linux/cpumask.h>
#include <linux/kprobes.h>
#include <linux/perf_event.h>
#include <linux/slab.h>
#include <uapi/linux/bpf_perf_event.h>

#include "wprobe.h"

struct sampler {
	struct wprobe_probe probe;
	/* by CPU */
	struct perf_event *events[];
};

static void on_sample(struct perf_event *event, struct perf_sample_data *data, struct pt_regs *regs)
{
	struct sampler *sampler = event->overflow_handler_context;
	struct bpf_perf_event_data context = {
		.regs = *regs,
		.sample_period = data->period,
		.addr = WPROBE_SAMPLE_ADDRESS(data),
	};

	wprobe_hit(&sampler->probe, regs, &context);
}
NOKPROBE_SYMBOL(on_sample);

static void sampler_detach(struct wprobe_probe *probe)
{
	struct sampler *sampler = container_of(probe, struct sampler, probe);
	u32 cpu;

	for (cpu = 0; cpu < nr_cpu_ids; cpu++)
		if (!IS_ERR_OR_NULL(sampler->events[cpu]))
			perf_event_release_kernel(sampler->events[cpu]);
	/* a sample that was being taken */
	synchronize_rcu();
	kfree(sampler);
}

static const struct wprobe_probe_ops sampler_ops = { .detach = sampler_detach };

/* `sample`: samples a second, or with `period` events a sample. */
int wp_perf_event_attach(u32 type, u64 config, bool period, u64 sample, void *attachment,
			 struct wprobe_probe **made)
{
	struct perf_event_attr attr = {
		.type = type,
		.size = sizeof(attr),
		.config = config,
		.freq = !period,
		.sample_period = sample,
	};
	struct sampler *sampler = kzalloc(struct_size(sampler, events, nr_cpu_ids), GFP_KERNEL);
	int error = 0;
	u32 cpu;

	if (!sampler)
		return -ENOMEM;
	sampler->probe.attachment = attachment;
	sampler->probe.ops = &sampler_ops;
	for_each_online_cpu(cpu) {
		sampler->events[cpu] = perf_event_create_kernel_counter(&attr, cpu, NULL, on_sample,
									 sampler);
		error = PTR_ERR_OR_ZERO(sampler->events[cpu]);
		if (error)
			break;
	}
	if (error)
		sampler_detach(&sampler->probe);
	else
		*made = &sampler->probe;
	return error;
}
