/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Into native code and out of it; helpers/abi/src/native.rs says what either side expects. A hit's own way in is
 * wprobe_run_native() in hit.h.
 */
#include <linux/linkage.h>
#include <linux/objtool.h>
#include <asm/nospec-branch.h>

#include "native.h"

/*
 * u64 wprobe_native_enter(vm, function, const u64 args[5])
 *
 * Saves what its caller expects back, for the function saves nothing. Entries nest: a helper may call
 * back.
 */
.macro ENTER
	SAVE
	pushq RESUME(%rdi)
	pushq STACK_LIMIT(%rdi)
	pushq %rdi
	/* the next call's return address is where it resumes */
	leaq -8(%rsp), %rax
	movq %rax, RESUME(%rdi)
.endm

.macro CALL_ENTERED
	movq %rsi, %rax
	movq %rdx, %r10
	movq (%r10), %rsi
	movq 8(%r10), %rdx
	movq 16(%r10), %rcx
	movq 24(%r10), %r8
	movq 32(%r10), %r9
	CALL_NOSPEC rax
	popq %rdi
	popq STACK_LIMIT(%rdi)
	popq RESUME(%rdi)
	RESTORE
	RET
.endm

SYM_FUNC_START(wprobe_native_enter)
	ENTER
	leaq -ROOM(%rsp), %rax
	movq %rax, STACK_LIMIT(%rdi)
	CALL_ENTERED
SYM_FUNC_END(wprobe_native_enter)
STACK_FRAME_NON_STANDARD wprobe_native_enter

/* The same, on what the run that this one is nested in has left of its room, and what brought it here. */
SYM_FUNC_START(wprobe_native_enter_within)
	ENTER
	subq $ROOM_WITHIN, STACK_LIMIT(%rdi)
	CALL_ENTERED
SYM_FUNC_END(wprobe_native_enter_within)
STACK_FRAME_NON_STANDARD wprobe_native_enter_within

/* void wprobe_native_abandon(run): returns from what the hit entered, whatever was entered since. */
SYM_FUNC_START(wprobe_native_abandon)
	movq OUTERMOST(%rdi), %rsp
	RET
SYM_FUNC_END(wprobe_native_abandon)
STACK_FRAME_NON_STANDARD wprobe_native_abandon

/* void wprobe_native_leave(vm): returns from the function that was entered last. */
SYM_FUNC_START(wprobe_native_leave)
	movq RESUME(%rdi), %rsp
	RET
SYM_FUNC_END(wprobe_native_leave)
STACK_FRAME_NON_STANDARD wprobe_native_leave

/* u64 wprobe_native_return(result): what every function of native code ends with. */
SYM_FUNC_START(wprobe_native_return)
	movq %rdi, %rax
	RET
SYM_FUNC_END(wprobe_native_return)
