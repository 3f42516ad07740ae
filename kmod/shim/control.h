/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* A request under way, as control.c and what looks at it know it. */
#ifndef WPROBE_CONTROL_H
#define WPROBE_CONTROL_H

#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/xarray.h>

#include "wprobe.h"

/* A sandbox's, then the registry's or that of the room for native code. */
#define WPROBE_MOST_LOCKS 2

/* A part of a request that fails alone. */
struct wprobe_attempt {
	/* what it has allocated and not freed, by address */
	struct xarray blocks;
	/* bytes that it may still have, if blocks are freed as it does */
	s64 left;
	/* whether it was refused some */
	bool denied;
};

struct wprobe_call {
	struct hlist_node node;
	struct task_struct *task;
	/* where wprobe_abort() leads */
	u64 resume;
	/* the part that it is in, if that fails alone */
	struct wprobe_attempt *attempt;
	/* what it holds, in the order it was taken */
	struct mutex *held[WPROBE_MOST_LOCKS];
	u32 locks;
	/* the larger stack that it is on, or NULL; its end; and where its caller's frame is: the frame pointer, the return address */
	void *stack;
	void *stack_end;
	const unsigned long *frame;
	/* bytes that it has allocated and not freed on that stack */
	s64 allocated;
};

long wprobe_serve(struct wprobe_request *request);
struct wprobe_call *wprobe_call(void);
struct wprobe_call *wprobe_engine_call(void);
bool wprobe_attempt_has_room(struct wprobe_attempt *attempt, size_t size);
void *wprobe_attempt_take(struct wprobe_attempt *attempt, void *block, size_t size);
void wprobe_attempt_give(struct wprobe_attempt *attempt, void *block, size_t size);
int wprobe_control_init(void);
void wprobe_control_exit(void);

/* catch.S */
void wprobe_on_stack(void (*work)(void *), void *argument, void *stack_end, const unsigned long **frame);

/* crash.c */
void wprobe_crash_init(void);
void wprobe_crash_exit(void);

#endif
