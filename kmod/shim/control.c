// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Requests to the control path. Each is served on its caller's stack, at the same time as others; what the engine does gets a larger
 * one. What a request holds is known here, so that one that Rust panics in lets go of it. What nothing leads to any more is freed
 * later, by a worker, so that nobody who closes a descriptor waits for it.
 */
#include <linux/hashtable.h>
#include <linux/irqflags.h>
#include <linux/llist.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/sched/task_stack.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>

#include "control.h"

/* Loading used 35 KiB, whatever the size and the nesting of the module. */
#define STACK (96 * 1024)
/* What is freed may hold what is to be freed: a ring its map's sandbox. */
#define GENERATIONS 4

/* Requests under way, by task. Looked at by the allocator, and where the kernel has crashed. */
static DEFINE_HASHTABLE(calls, 6);
static DEFINE_RAW_SPINLOCK(calls_lock);

/* A stack that nobody is on. */
static void *spare;

static DEFINE_MUTEX(registry);
static DEFINE_MUTEX(text);

/* The request that the current task is in, if any. */
struct wprobe_call *wprobe_call(void)
{
	struct wprobe_call *call, *found = NULL;
	unsigned long flags;

	raw_spin_lock_irqsave(&calls_lock, flags);
	hash_for_each_possible(calls, call, node, (unsigned long)current)
		if (call->task == current) {
			found = call;
			break;
		}
	raw_spin_unlock_irqrestore(&calls_lock, flags);
	return found;
}

static void enter(struct wprobe_call *call)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&calls_lock, flags);
	hash_add(calls, &call->node, (unsigned long)call->task);
	raw_spin_unlock_irqrestore(&calls_lock, flags);
}

static void put_stack(void *stack)
{
	/* the one before, or NULL */
	vfree(xchg(&spare, stack));
}

/* After a panic there are a stack and locks left; what they guard is not used any more (see src/control.rs). */
static void leave(struct wprobe_call *call)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&calls_lock, flags);
	hash_del(&call->node);
	raw_spin_unlock_irqrestore(&calls_lock, flags);
	while (call->locks)
		mutex_unlock(call->held[--call->locks]);
	if (call->stack)
		put_stack(call->stack);
}

long wprobe_serve(struct wprobe_request *request)
{
	struct wprobe_call call = { .task = current };
	long result;

	enter(&call);
	result = wprobe_catch_control(request, &call.resume);
	leave(&call);
	return result;
}

void wp_abort_control(long result)
{
	struct wprobe_call *call = wprobe_call();

	/* it may have been in one of its stretches with interrupts off */
	local_irq_enable();
	wprobe_abort(&call->resume, result);
}

/*
 * Has Rust do a part of the request that fails alone and takes no lock, with `most` bytes of memory at a time. 0, or what it was
 * aborted with: what it had allocated is gone then. *freed: how many blocks those were.
 */
long wp_attempt(void *run, s64 most, u64 *freed)
{
	struct wprobe_call *call = wprobe_call();
	struct wprobe_attempt attempt = { .left = most };
	s64 allocated = call->allocated;
	unsigned long index;
	void *block;
	long result;

	xa_init(&attempt.blocks);
	call->attempt = &attempt;
	result = wprobe_catch_attempt(run, &call->resume);
	call->attempt = NULL;
	*freed = 0;
	if (result) {
		xa_for_each(&attempt.blocks, index, block) {
			kvfree(block);
			++*freed;
		}
		call->allocated = allocated;
		if (attempt.denied)
			result = -ENOMEM;
	}
	xa_destroy(&attempt.blocks);
	return result;
}

/* What the current task is in, if it fails alone. */
u32 wp_in_attempt(void)
{
	const struct wprobe_call *call = wprobe_call();

	if (!call || !call->attempt)
		return WPROBE_NO_ATTEMPT;
	return call->attempt->denied ? WPROBE_ATTEMPT_DENIED : WPROBE_ATTEMPT;
}

/* Whether it may have `size` bytes more. */
bool wprobe_attempt_has_room(struct wprobe_attempt *attempt, size_t size)
{
	attempt->denied = (s64)size > attempt->left;
	return !attempt->denied;
}

/* NULL: there is no memory to note it in, and it is gone. */
void *wprobe_attempt_take(struct wprobe_attempt *attempt, void *block, size_t size)
{
	if (block && !xa_err(xa_store(&attempt->blocks, (unsigned long)block, block, GFP_KERNEL_ACCOUNT | __GFP_NOWARN))) {
		attempt->left -= size;
		return block;
	}
	kvfree(block);
	attempt->denied = true;
	return NULL;
}

void wprobe_attempt_give(struct wprobe_attempt *attempt, void *block, size_t size)
{
	if (xa_erase(&attempt->blocks, (unsigned long)block))
		attempt->left += size;
}

/*
 * Does `work` on a larger stack: parsing and compiling wasm needs more than the kernel's. What it allocates is counted in
 * `allocated`. false: there is no memory for the stack.
 */
bool wp_on_stack(void (*work)(void *), void *argument, s64 *allocated)
{
	struct wprobe_call *call = wprobe_call();

	call->stack = xchg(&spare, NULL);
	if (!call->stack)
		call->stack = vmalloc(STACK);
	if (!call->stack)
		return false;
	call->stack_end = call->stack + STACK;
	call->allocated = 0;
	wprobe_on_stack(work, argument, call->stack_end, &call->frame);
	*allocated = call->allocated;
	put_stack(call->stack);
	call->stack = NULL;
	return true;
}

/* The request of the current task, if it is on a larger stack. */
struct wprobe_call *wprobe_engine_call(void)
{
	char here;

	return object_is_on_stack(&here) ? NULL : wprobe_call();
}

/* What a request on a larger stack has allocated and not freed. */
s64 wp_allocated(void)
{
	const struct wprobe_call *call = wprobe_engine_call();

	return call ? call->allocated : 0;
}

/* NULL: there is no memory. */
struct mutex *wp_mutex_new(void)
{
	struct mutex *mutex = kmalloc(sizeof(*mutex), GFP_KERNEL_ACCOUNT);

	if (mutex)
		mutex_init(mutex);
	return mutex;
}

void wp_mutex_free(struct mutex *mutex)
{
	kfree(mutex);
}

struct mutex *wp_mutex(u32 which)
{
	return which == WPROBE_REGISTRY ? &registry : &text;
}

/* false: the caller is being killed. User memory is not touched while a lock is held: its pages may never come. */
bool wp_lock(struct mutex *mutex)
{
	struct wprobe_call *call = wprobe_call();

	if (WARN_ON_ONCE(call->locks == ARRAY_SIZE(call->held)) || mutex_lock_killable(mutex))
		return false;
	call->held[call->locks++] = mutex;
	return true;
}

/* The lock that was taken last. */
void wp_unlock(struct mutex *mutex)
{
	struct wprobe_call *call = wprobe_call();

	call->locks--;
	mutex_unlock(mutex);
}

static LLIST_HEAD(dead);
static struct workqueue_struct *reclaimer;

static void reclaim(struct work_struct *work)
{
	struct llist_node *oldest = llist_reverse_order(llist_del_all(&dead));
	struct wprobe_request request = { .op = WPROBE_RECLAIM, .object = oldest };

	/* once for all of them: runs that may see them end */
	if (oldest)
		synchronize_rcu();
	wprobe_serve(&request);
}

static DECLARE_WORK(reclaiming, reclaim);

void wp_reclaim(void)
{
	queue_work(reclaimer, &reclaiming);
}

/* What begins with `node` is freed when no run can see it any more. Never waits, never fails. */
void wp_defer(struct llist_node *node)
{
	llist_add(node, &dead);
	wp_reclaim();
}

/* Returns when what was let go of before is freed. */
void wp_flush(void)
{
	int i;

	for (i = 0; i < GENERATIONS; i++)
		flush_work(&reclaiming);
}

int wprobe_control_init(void)
{
	struct wprobe_request request = { .op = WPROBE_INIT };
	int error;

	reclaimer = alloc_workqueue("wprobe", WQ_UNBOUND, 1);
	if (!reclaimer)
		return -ENOMEM;
	error = wprobe_serve(&request);
	if (error)
		destroy_workqueue(reclaimer);
	else
		wprobe_crash_init();
	return error;
}

void wprobe_control_exit(void)
{
	struct wprobe_request request = { .op = WPROBE_EXIT };

	wp_flush();
	destroy_workqueue(reclaimer);
	wprobe_crash_exit();
	wprobe_serve(&request);
	vfree(spare);
}
