// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * What the kernel says of a crash on a request's larger stack: its unwinder knows no such stack and shows nothing. So that a report
 * from the field can be read, the frames there are printed behind the kernel's own words, and then those of who made the request.
 */
#include <linux/kdebug.h>
#include <linux/notifier.h>
#include <linux/printk.h>
#include <linux/sched/task_stack.h>
#include <asm/processor-flags.h>
#include <asm/segment.h>
#include <asm/unwind.h>

#include "control.h"

#define MOST_FRAMES 64

static void print_frames(struct unwind_state *state)
{
	int i;

	/* the first may be the address of no code: that may be why */
	for (i = 0; i < MOST_FRAMES && !unwind_done(state); i++, unwind_next_frame(state)) {
		unsigned long address = unwind_get_return_address(state);

		if (address)
			pr_emerg("  %pB\n", (void *)address);
		else if (i)
			break;
	}
}

/* On the larger stack, which the unwinder is told of once it has given up. */
static void print_engine(const struct wprobe_call *call, struct pt_regs *regs)
{
	struct unwind_state state;

	unwind_start(&state, current, regs, NULL);
#ifdef CONFIG_UNWINDER_ORC
	state.stack_info = (struct stack_info){
		.type = STACK_TYPE_TASK,
		.begin = call->stack,
		.end = call->stack_end,
	};
	state.error = false;
#endif
	pr_emerg("wprobe: in the engine, %zu bytes deep:\n", (size_t)(call->stack_end - (void *)regs->sp));
	print_frames(&state);
}

static void print_caller(const struct wprobe_call *call)
{
	struct pt_regs regs = {
		.bp = call->frame[0],
		.ip = call->frame[1],
		.sp = (unsigned long)(call->frame + 2),
		.cs = __KERNEL_CS,
		.flags = X86_EFLAGS_FIXED,
	};
	struct unwind_state state;

	unwind_start(&state, current, &regs, NULL);
	pr_emerg("wprobe: called from:\n");
	print_frames(&state);
}

static int on_crash(struct notifier_block *notifier, unsigned long event, void *data)
{
	struct pt_regs *regs = ((struct die_args *)data)->regs;
	const struct wprobe_call *call;

	if (event != DIE_OOPS || !regs || user_mode(regs))
		return NOTIFY_DONE;
	call = wprobe_call();
	if (!call || !call->stack || (void *)regs->sp < call->stack || (void *)regs->sp >= call->stack_end)
		return NOTIFY_DONE;
	print_engine(call, regs);
	print_caller(call);
	return NOTIFY_DONE;
}

static struct notifier_block crash = { .notifier_call = on_crash };

void wprobe_crash_init(void)
{
	register_die_notifier(&crash);
}

void wprobe_crash_exit(void)
{
	unregister_die_notifier(&crash);
}
