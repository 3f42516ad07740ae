// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Entry and return of functions, with their arguments as context: ftrace calls back at entry, a kretprobe
 * that saved the arguments at return.
 */
#include <linux/ftrace.h>
#include <linux/kprobes.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>

#include "hit.h"

/* As many as eBPF takes (MAX_BPF_FUNC_ARGS); they and the result are the context. */
#define MAX_ARGS 12
/* In registers; the rest lie on the stack, above the return address. */
#define REGISTER_ARGS 6
/* See attach_kprobe.c. */
#define MAX_ACTIVE 2048

/* Words of arguments: how many, and by bits which lie on the stack although registers are left, as a struct that does not fit. */
struct args {
	u32 count;
	u32 stacked;
};

struct fentry {
	struct wprobe_probe probe;
	struct ftrace_ops ops;
	u64 function;
	struct args args;
};

struct fexit {
	struct wprobe_probe probe;
	struct kretprobe kretprobe;
	struct args args;
};

/* As read_args(), where they do not lie in the order of registers, then of the stack. */
static noinline void read_mixed_args(struct pt_regs *regs, const struct args *args, u64 *words)
{
	const u64 registers[REGISTER_ARGS] = { regs->di, regs->si, regs->dx, regs->cx, regs->r8, regs->r9 };
	u32 i, taken = 0, on_stack = 1;

	for (i = 0; i < args->count; i++)
		if (taken < REGISTER_ARGS && !(args->stacked & BIT(i)))
			words[i] = registers[taken++];
		else
			words[i] = regs_get_kernel_stack_nth(regs, on_stack++);
	words[i] = 0;
}
NOKPROBE_SYMBOL(read_mixed_args);

/*
 * With the registers at a function's entry; `words` has room for all that are in registers, and one more: what a fmod_ret
 * program finds where the result will be.
 */
static __always_inline void read_args(struct pt_regs *regs, const struct args *args, u64 *words)
{
	u32 i;

	if (unlikely(args->stacked)) {
		read_mixed_args(regs, args, words);
		return;
	}
	words[0] = regs->di;
	words[1] = regs->si;
	words[2] = regs->dx;
	words[3] = regs->cx;
	words[4] = regs->r8;
	words[5] = regs->r9;
	for (i = REGISTER_ARGS; i < args->count; i++)
		words[i] = regs_get_kernel_stack_nth(regs, i - REGISTER_ARGS + 1);
	words[args->count] = 0;
}

/*
 * Whether what is protected by RCU is. Where the idle loop cannot be traced (CONFIG_ARCH_WANTS_NO_INSTR, since 6.3), no
 * function that ftrace can attach to runs where it is not.
 */
static __always_inline bool may_hit(void)
{
#ifdef WPROBE_HAS_IDLE_UNTRACED
	return true;
#else
	return rcu_is_watching();
#endif
}

static noinline void entry_in_rust(struct fentry *fentry, struct pt_regs *regs)
{
	u64 words[MAX_ARGS + 1];

	read_args(regs, &fentry->args, words);
	wprobe_hit_in_rust(&fentry->probe, regs, words);
}
NOKPROBE_SYMBOL(entry_in_rust);

/*
 * ftrace calls this without its own guards, which cost more than the hit: nothing before a run's guard can be
 * traced. Of the registers there are those that arguments are in, and those that a stack is unwound from.
 */
static void on_entry(unsigned long ip, unsigned long parent, struct ftrace_ops *ops,
		     struct ftrace_regs *fregs)
{
	struct fentry *fentry = container_of(ops, struct fentry, ops);
	struct pt_regs *regs = (struct pt_regs *)fregs;
	struct wprobe_ready *ready;
	unsigned long flags;

	if (!may_hit())
		return;
	local_irq_save(flags);
	if (likely(wprobe_begin(&fentry->probe, regs, &ready))) {
		if (ready->words) {
			read_args(regs, &fentry->args, ready->context);
			ready->context[WPROBE_INFO_AT] = ready->info;
		}
		wprobe_run(ready);
	} else {
		entry_in_rust(fentry, regs);
	}
	local_irq_restore(flags);
}
NOKPROBE_SYMBOL(on_entry);

/* To ftrace, a code segment says that all registers are there. */
static void entry_registers(const void *from, struct pt_regs *regs)
{
	*regs = *(const struct pt_regs *)from;
	if (!regs->cs)
		regs->flags = X86_EFLAGS_FIXED;
	regs->cs = __KERNEL_CS;
}

static u64 fentry_function(const struct wprobe_hit *hit)
{
	return container_of(hit->probe, struct fentry, probe)->function;
}

static void fentry_detach(struct wprobe_probe *probe)
{
	struct fentry *fentry = container_of(probe, struct fentry, probe);

	/* waits for handlers */
	unregister_ftrace_function(&fentry->ops);
	ftrace_free_filter(&fentry->ops);
}

static const struct wprobe_probe_ops fentry_ops = {
	.frames = 2,
	.registers = entry_registers,
	.function = fentry_function,
	.detach = fentry_detach,
};

/* A kprobe that is never armed tells where a symbol lies. */
static int find_function(const char *symbol, unsigned long *ip, u64 *function)
{
	struct kprobe kprobe = { .symbol_name = symbol, .flags = KPROBE_FLAG_DISABLED };
	int error = register_kprobe(&kprobe);

	if (error)
		return error;
	*ip = (unsigned long)kprobe.addr;
	*function = wprobe_kprobe_function(&kprobe);
	unregister_kprobe(&kprobe);
	return 0;
}

int wp_fentry_attach(const char *symbol, u32 args, u32 stacked, void *attachment, struct wprobe_probe **made)
{
	struct fentry *fentry;
	unsigned long ip;
	u64 function;
	int error;

	if (args > MAX_ARGS)
		return -E2BIG;
	error = find_function(symbol, &ip, &function);
	if (error)
		return error;
	fentry = kzalloc(sizeof(*fentry), GFP_KERNEL_ACCOUNT);
	if (!fentry)
		return -ENOMEM;
	fentry->probe.attachment = attachment;
	fentry->probe.ops = &fentry_ops;
	fentry->args = (struct args){ args, stacked };
	fentry->function = function;
	fentry->ops.func = on_entry;
	fentry->ops.flags = WPROBE_FTRACE_FLAGS;
	error = ftrace_set_filter_ip(&fentry->ops, ip, 0, 0);
	if (!error)
		error = register_ftrace_function(&fentry->ops);
	if (error) {
		ftrace_free_filter(&fentry->ops);
		kfree(fentry);
	} else {
		*made = &fentry->probe;
	}
	return error;
}

static int on_call(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	struct kretprobe *kretprobe = get_kretprobe(instance);

	if (!kretprobe)
		return 1;
	read_args(regs, &container_of(kretprobe, struct fexit, kretprobe)->args, (u64 *)instance->data);
	return 0;
}
NOKPROBE_SYMBOL(on_call);

static int on_return(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	struct kretprobe *kretprobe = get_kretprobe(instance);
	u64 *words = (u64 *)instance->data;
	struct fexit *fexit;

	/* NULL while it is being unregistered */
	if (!kretprobe)
		return 0;
	fexit = container_of(kretprobe, struct fexit, kretprobe);
	words[fexit->args.count] = regs->ax;
	wprobe_hit(&fexit->probe, regs, words);
	return 0;
}
NOKPROBE_SYMBOL(on_return);

static u64 fexit_function(const struct wprobe_hit *hit)
{
	return wprobe_kprobe_function(&container_of(hit->probe, struct fexit, probe)->kretprobe.kp);
}

static u64 fexit_missed(const struct wprobe_probe *probe)
{
	const struct kretprobe *kretprobe = &container_of(probe, struct fexit, probe)->kretprobe;

	return kretprobe->nmissed + kretprobe->kp.nmissed;
}

static void fexit_detach(struct wprobe_probe *probe)
{
	unregister_kretprobe(&container_of(probe, struct fexit, probe)->kretprobe);
}

static const struct wprobe_probe_ops fexit_ops = {
	.frames = 2,
	.function = fexit_function,
	.missed = fexit_missed,
	.detach = fexit_detach,
};

int wp_fexit_attach(const char *symbol, u32 args, u32 stacked, void *attachment, struct wprobe_probe **made)
{
	struct fexit *fexit;
	int error;

	if (args > MAX_ARGS)
		return -E2BIG;
	fexit = kzalloc(sizeof(*fexit), GFP_KERNEL_ACCOUNT);
	if (!fexit)
		return -ENOMEM;
	fexit->probe.attachment = attachment;
	fexit->probe.ops = &fexit_ops;
	fexit->args = (struct args){ args, stacked };
	fexit->kretprobe.kp.symbol_name = symbol;
	fexit->kretprobe.entry_handler = on_call;
	fexit->kretprobe.handler = on_return;
	fexit->kretprobe.data_size = (max_t(u32, args, REGISTER_ARGS) + 1) * sizeof(u64);
	fexit->kretprobe.maxactive = MAX_ACTIVE;
	error = register_kretprobe(&fexit->kretprobe);
	if (error)
		kfree(fexit);
	else
		*made = &fexit->probe;
	return error;
}
