// SPDX-License-Identifier: GPL-2.0 OR MIT
/* Raw tracepoints: the context is the tracepoint's arguments, a word each. */
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/tracepoint.h>

#include "hit.h"

struct raw {
	struct wprobe_probe probe;
	struct tracepoint *tracepoint;
	struct module *owner;
	void *handler;
};

struct search {
	struct notifier_block notifier;
	const char *name;
	struct tracepoint *found;
	struct module *owner;
};

static void try_kernel(struct tracepoint *tracepoint, void *data)
{
	struct search *search = data;

	if (!strcmp(tracepoint->name, search->name))
		search->found = tracepoint;
}

static int try_module(struct notifier_block *notifier, unsigned long event, void *data)
{
	struct search *search = container_of(notifier, struct search, notifier);
	struct module *module = ((struct tp_module *)data)->mod;
	unsigned int i;

	if (event != MODULE_STATE_COMING || search->found)
		return 0;
	for (i = 0; i < module->num_tracepoints; i++) {
		struct tracepoint *tracepoint = tracepoint_ptr_deref(&module->tracepoints_ptrs[i]);

		if (!strcmp(tracepoint->name, search->name) && try_module_get(module)) {
			search->found = tracepoint;
			search->owner = module;
			break;
		}
	}
	return 0;
}

/* NULL if there is none. The module that has it, if any, is held for the caller. */
struct tracepoint *wprobe_find_tracepoint(const char *name, struct module **owner)
{
	struct search search = { .notifier.notifier_call = try_module, .name = name };

	for_each_kernel_tracepoint(try_kernel, &search);
	/* A notifier that is registered is told of every module that is there. */
	if (!search.found && !register_tracepoint_module_notifier(&search.notifier))
		unregister_tracepoint_module_notifier(&search.notifier);
	*owner = search.owner;
	return search.found;
}

/* The caller passes as many as the tracepoint has; what lies behind them is not copied. */
static void on_raw(void *data, u64 a0, u64 a1, u64 a2, u64 a3, u64 a4, u64 a5, u64 a6, u64 a7, u64 a8,
		   u64 a9, u64 a10, u64 a11)
{
	u64 words[WPROBE_TRACEPOINT_ARGS] = { a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11 };
	const void *from = __builtin_frame_address(0);
	struct raw *raw = data;
	struct wprobe_ready *ready;
	unsigned long flags;
	u64 i;

	local_irq_save(flags);
	if (likely(wprobe_begin(&raw->probe, from, &ready))) {
		for (i = 0; i < ready->words; i++)
			ready->context[i] = words[i] & ready->masks[i];
		wprobe_run(ready);
	} else {
		wprobe_hit_in_rust(&raw->probe, from, words);
	}
	local_irq_restore(flags);
}
NOKPROBE_SYMBOL(on_raw);

static noinline void short_in_rust(struct raw *raw, const void *from, u64 a0, u64 a1, u64 a2, u64 a3, u64 a4)
{
	u64 words[WPROBE_SHORT_ARGS] = { a0, a1, a2, a3, a4 };

	wprobe_hit_in_rust(&raw->probe, from, words);
}
NOKPROBE_SYMBOL(short_in_rust);

/* As on_raw(), for as many as come in registers. */
static void on_short(void *data, u64 a0, u64 a1, u64 a2, u64 a3, u64 a4)
{
	const void *from = __builtin_frame_address(0);
	struct raw *raw = data;
	struct wprobe_ready *ready;
	unsigned long flags;

	local_irq_save(flags);
	if (likely(wprobe_begin(&raw->probe, from, &ready))) {
		if (ready->words) {
			u64 *to = ready->context;
			const u64 *masks = ready->masks;

			to[0] = a0 & masks[0];
			to[1] = a1 & masks[1];
			if (ready->words > 2) {
				to[2] = a2 & masks[2];
				to[3] = a3 & masks[3];
				to[4] = a4 & masks[4];
			}
		}
		wprobe_run(ready);
	} else {
		short_in_rust(raw, from, a0, a1, a2, a3, a4);
	}
	local_irq_restore(flags);
}
NOKPROBE_SYMBOL(on_short);

/* Of the tracepoint's caller, from the handler's frame: the caller's frame pointer, and where the handler returns to. */
static void raw_registers(const void *from, struct pt_regs *regs)
{
	const unsigned long *frame = from;

	*regs = (struct pt_regs){
		.bp = frame[0],
		.ip = frame[1],
		.sp = (unsigned long)(frame + 2),
		.cs = __KERNEL_CS,
		.flags = X86_EFLAGS_FIXED,
	};
}

static void raw_detach(struct wprobe_probe *probe)
{
	struct raw *raw = container_of(probe, struct raw, probe);

	tracepoint_probe_unregister(raw->tracepoint, raw->handler, raw);
	tracepoint_synchronize_unregister();
	module_put(raw->owner);
}

static const struct wprobe_probe_ops raw_ops = {
	.frames = 2,
	.registers = raw_registers,
	.detach = raw_detach,
};

/* `args`: how many are copied */
int wp_raw_tracepoint_attach(const char *name, u32 args, void *attachment,
			     struct wprobe_probe **made)
{
	struct raw *raw = kzalloc(sizeof(*raw), GFP_KERNEL_ACCOUNT);
	int error = -ENOENT;

	if (!raw)
		return -ENOMEM;
	raw->probe.attachment = attachment;
	raw->probe.ops = &raw_ops;
	raw->handler = args <= WPROBE_SHORT_ARGS ? (void *)on_short : (void *)on_raw;
	raw->tracepoint = wprobe_find_tracepoint(name, &raw->owner);
	if (raw->tracepoint)
		error = tracepoint_probe_register(raw->tracepoint, raw->handler, raw);
	if (error) {
		module_put(raw->owner);
		kfree(raw);
	} else {
		*made = &raw->probe;
	}
	return error;
}
