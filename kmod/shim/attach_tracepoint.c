// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Tracepoints with the record that native programs get: a pointer in the first word, then the fields
 * as the event's `format` file places them.
 *
 * Not through perf events of our own: a native program on the same event that returns 0, as nearly all
 * do, would take the hit away. The event's own probe builds the record for a copy of the event instead,
 * whose only eBPF program is a C function. System calls have no such probe; their records are built here.
 */
#include <linux/filter.h>
#include <linux/module.h>
#include <linux/perf_event.h>
#include <linux/slab.h>
#include <linux/trace_events.h>
#include <linux/tracepoint.h>
#include <linux/uaccess.h>
#include <asm/ftrace.h>
#include <asm/syscall.h>
#include <trace/syscall.h>

#include "wprobe.h"

struct shadow {
	struct wprobe_probe probe;
	struct trace_event_file *file;
	/* the copy */
	struct trace_event_call call;
	struct bpf_prog *program;
	struct bpf_prog_array *programs;
	/* keeps the buffers that records are built in */
	struct perf_event *buffers;
};

static unsigned int on_record(const void *record, const struct bpf_insn *insns)
{
	struct shadow *shadow = *(struct shadow **)insns;

	wprobe_hit(&shadow->probe, *(const struct pt_regs **)record, record);
	return 0;
}

/* All but the shadow itself. */
static void shadow_empty(struct shadow *shadow)
{
	if (!IS_ERR_OR_NULL(shadow->buffers))
		perf_event_release_kernel(shadow->buffers);
	if (shadow->program)
		bpf_prog_free(shadow->program);
	kfree(shadow->programs);
	free_percpu(shadow->call.perf_events);
	trace_put_event_file(shadow->file);
}

static void shadow_detach(struct wprobe_probe *probe)
{
	struct shadow *shadow = container_of(probe, struct shadow, probe);

	tracepoint_probe_unregister(shadow->call.tp, shadow->call.class->perf_probe, &shadow->call);
	tracepoint_synchronize_unregister();
	shadow_empty(shadow);
}

static const struct wprobe_probe_ops shadow_ops = { .detach = shadow_detach };

/* The one program of the copy. Where its instructions would be is the way back to the shadow. */
static int shadow_program(struct shadow *shadow)
{
	shadow->program = bpf_prog_alloc(bpf_prog_size(1), 0);
	shadow->programs = kzalloc(struct_size(shadow->programs, items, 2), GFP_KERNEL_ACCOUNT);
	if (!shadow->program || !shadow->programs)
		return -ENOMEM;
	*(struct shadow **)shadow->program->insnsi = shadow;
	shadow->program->bpf_func = on_record;
	shadow->programs->items[0].prog = shadow->program;
	rcu_assign_pointer(shadow->call.prog_array, shadow->programs);
	return 0;
}

static int shadow_fill(struct shadow *shadow)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_TRACEPOINT,
		.size = sizeof(attr),
		.config = shadow->file->event_call->event.type,
		.disabled = 1,
	};
	int error;

	shadow->call = *shadow->file->event_call;
	shadow->call.perf_events = alloc_percpu(struct hlist_head);
	if (!shadow->call.perf_events)
		return -ENOMEM;
	error = shadow_program(shadow);
	if (error)
		return error;
	shadow->buffers = perf_event_create_kernel_counter(&attr, raw_smp_processor_id(), NULL, NULL,
							   NULL);
	return PTR_ERR_OR_ZERO(shadow->buffers);
}

/* Takes `file` over. */
static int shadow_attach(struct trace_event_file *file, void *attachment, struct wprobe_probe **made)
{
	struct shadow *shadow = kzalloc(sizeof(*shadow), GFP_KERNEL_ACCOUNT);
	int error;

	if (!shadow) {
		trace_put_event_file(file);
		return -ENOMEM;
	}
	shadow->probe.attachment = attachment;
	shadow->probe.ops = &shadow_ops;
	shadow->file = file;
	error = shadow_fill(shadow);
	if (!error)
		error = tracepoint_probe_register(shadow->call.tp, shadow->call.class->perf_probe,
						  &shadow->call);
	if (error) {
		shadow_empty(shadow);
		kfree(shadow);
	} else {
		*made = &shadow->probe;
	}
	return error;
}

struct syscall {
	struct wprobe_probe probe;
	struct trace_event_file *file;
	struct tracepoint *tracepoint;
	struct module *owner;
	void *handler;
	int nr;
};

/* As the kernel's `struct syscall_tp_t`, which has no place for a longer common header either. */
struct syscall_record {
	const struct pt_regs *regs;
	unsigned long nr;
	/* an exit has its result here */
	unsigned long args[6];
};

static bool is_other(const struct syscall *syscall, struct pt_regs *regs)
{
	return syscall_get_nr(current, regs) != syscall->nr || arch_trace_is_compat_syscall(regs);
}

static void on_enter(void *data, struct pt_regs *regs, long id)
{
	struct syscall_record record = { .regs = regs };
	struct syscall *syscall = data;
	struct pt_regs caller;

	if (is_other(syscall, regs))
		return;
	record.nr = syscall->nr;
	syscall_get_arguments(current, regs, record.args);
	wprobe_hit(&syscall->probe, wprobe_note_caller(&caller, regs), &record);
}

static void on_exit(void *data, struct pt_regs *regs, long ret)
{
	struct syscall_record record = { .regs = regs };
	struct syscall *syscall = data;
	struct pt_regs caller;

	if (is_other(syscall, regs))
		return;
	record.nr = syscall->nr;
	record.args[0] = syscall_get_return_value(current, regs);
	wprobe_hit(&syscall->probe, wprobe_note_caller(&caller, regs), &record);
}

static void syscall_detach(struct wprobe_probe *probe)
{
	struct syscall *syscall = container_of(probe, struct syscall, probe);

	tracepoint_probe_unregister(syscall->tracepoint, syscall->handler, syscall);
	tracepoint_synchronize_unregister();
	module_put(syscall->owner);
	trace_put_event_file(syscall->file);
}

static const struct wprobe_probe_ops syscall_ops = { .frames = WPROBE_SYSCALL_FRAMES, .detach = syscall_detach };

/* What nobody can have made but the kernel's own build: no module, and not root by writing to tracefs. */
#define MADE_LATER (TRACE_EVENT_FL_DYNAMIC | TRACE_EVENT_FL_KPROBE | TRACE_EVENT_FL_UPROBE | TRACE_EVENT_FL_EPROBE)

/*
 * Whether an event is a system call's, and which: only then is what `data` leads to known. The class's name does not tell, which
 * other events may have.
 */
static bool find_syscall(const struct trace_event_call *call, struct syscall_metadata *metadata)
{
	if (call->flags & (MADE_LATER | TRACE_EVENT_FL_TRACEPOINT) || wprobe_event_module(call) ||
	    copy_from_kernel_nofault(metadata, call->data, sizeof(*metadata)))
		return false;
	return (metadata->enter_event == call || metadata->exit_event == call) &&
	       metadata->syscall_nr >= 0 && metadata->syscall_nr < NR_syscalls;
}

/* Takes `file` over. */
static int syscall_attach(struct trace_event_file *file, const struct syscall_metadata *metadata,
			  void *attachment, struct wprobe_probe **made)
{
	bool enters = metadata->enter_event == file->event_call;
	struct syscall *syscall = kzalloc(sizeof(*syscall), GFP_KERNEL_ACCOUNT);
	int error = -ENOENT;

	if (!syscall) {
		trace_put_event_file(file);
		return -ENOMEM;
	}
	syscall->probe.attachment = attachment;
	syscall->probe.ops = &syscall_ops;
	syscall->file = file;
	syscall->nr = metadata->syscall_nr;
	syscall->handler = enters ? (void *)on_enter : (void *)on_exit;
	syscall->tracepoint = wprobe_find_tracepoint(enters ? "sys_enter" : "sys_exit",
						     &syscall->owner);
	if (syscall->tracepoint)
		error = tracepoint_probe_register(syscall->tracepoint, syscall->handler, syscall);
	if (error) {
		module_put(syscall->owner);
		trace_put_event_file(file);
		kfree(syscall);
	} else {
		*made = &syscall->probe;
	}
	return error;
}

int wp_tracepoint_attach(const char *system, const char *name, void *attachment,
			 struct wprobe_probe **made)
{
	struct trace_event_file *file = trace_get_event_file(NULL, system, name);
	struct syscall_metadata metadata;
	struct trace_event_call *call;

	/* no such event is EINVAL */
	if (IS_ERR(file))
		return PTR_ERR(file) == -EINVAL ? -ENOENT : PTR_ERR(file);
	call = file->event_call;
	/*
	 * The file holds the module that a tracepoint is in. Where events have no programs nobody asks for an event's, and a probe
	 * would see nothing.
	 */
	if (IS_ENABLED(CONFIG_BPF_EVENTS) && !(call->flags & MADE_LATER) && call->flags & TRACE_EVENT_FL_TRACEPOINT &&
	    call->class->perf_probe)
		return shadow_attach(file, attachment, made);
	if (!strcmp(call->class->system, "syscalls") && find_syscall(call, &metadata))
		return syscall_attach(file, &metadata, attachment, made);
	trace_put_event_file(file);
	return -EOPNOTSUPP;
}
