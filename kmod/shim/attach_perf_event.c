// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Samples of a perf event on every online CPU; the context is `struct bpf_perf_event_data`. */
#include <linux/cpumask.h>
#include <linux/fs.h>
#include <linux/kernel.h>
#include <linux/kprobes.h>
#include <linux/perf_event.h>
#include <linux/math64.h>
#include <linux/slab.h>
#include <linux/time64.h>
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
}

static const struct wprobe_probe_ops sampler_ops = { .detach = sampler_detach };

/* DEFAULT_MAX_SAMPLE_RATE of kernel/events/core.c */
#define DEFAULT_RATE 100000

/*
 * kernel.perf_event_max_sample_rate, which no module sees but as whoever asks does: in /proc. Without one it is what kernels begin
 * with.
 */
static u64 max_sample_rate(void)
{
	struct file *file = filp_open("/proc/sys/kernel/perf_event_max_sample_rate", O_RDONLY, 0);
	u64 rate = DEFAULT_RATE;
	char text[24] = {};
	loff_t position = 0;

	if (IS_ERR(file))
		return rate;
	if (kernel_read(file, text, sizeof(text) - 1, &position) > 0 && kstrtou64(strim(text), 10, &rate))
		rate = DEFAULT_RATE;
	filp_close(file, NULL);
	return rate;
}

static bool is_clock(const struct perf_event_attr *attr)
{
	return attr->type == PERF_TYPE_SOFTWARE &&
	       (attr->config == PERF_COUNT_SW_CPU_CLOCK || attr->config == PERF_COUNT_SW_TASK_CLOCK);
}

/*
 * What perf_event_open(2) checks, and this kernel function does not: a frequency is within the limit, a period no negative number.
 * A clock's period is nanoseconds, and so a frequency as well.
 */
static bool may_sample(const struct perf_event_attr *attr)
{
	if (attr->freq)
		return attr->sample_freq <= max_sample_rate();
	if (attr->sample_period & BIT_ULL(63))
		return false;
	return !is_clock(attr) || attr->sample_period >= div64_u64(NSEC_PER_SEC, max(max_sample_rate(), 1ULL));
}

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
	struct sampler *sampler;
	int error = 0;
	u32 cpu;

	if (!may_sample(&attr))
		return -ERANGE;
	sampler = kzalloc(struct_size(sampler, events, nr_cpu_ids), GFP_KERNEL_ACCOUNT);
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
	if (error) {
		sampler_detach(&sampler->probe);
		kfree(sampler);
	} else {
		*made = &sampler->probe;
	}
	return error;
}
