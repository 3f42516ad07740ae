/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Calls into Rust that a panic can be led out of. Rust is built without unwinding; its panic handler
 * calls wprobe_abort(), which drops every frame above the call and makes the call return `result`.
 */
#include <linux/linkage.h>
#include <linux/objtool.h>

#include "native.h"

/* Behind SAVE: makes this frame what *resume leads to, and keeps what it led to for LEAVE. */
.macro ENTER resume
	pushq (\resume)
	pushq \resume
	movq %rsp, (\resume)
	movq \resume, %rbx
.endm

/* Back in the frame that *%rbx leads to: a hit inside a hit leaves the outer one's way out as it was. */
.macro LEAVE
	popq %rbx
	popq (%rbx)
	RESTORE
	RET
.endm

/*
 * long wprobe_catch_control(request, stack_top, resume)
 *
 * Runs on the stack that ends at `stack_top`: parsing and compiling wasm needs more than the kernel's.
 */
SYM_FUNC_START(wprobe_catch_control)
	SAVE
	ENTER %rdx
	movq %rsi, %rsp
	call wprobe_rs_control
	movq (%rbx), %rsp
	LEAVE
SYM_FUNC_END(wprobe_catch_control)
STACK_FRAME_NON_STANDARD wprobe_catch_control

/*
 * long wprobe_catch_attempt(attempt, resume)
 *
 * A part of a request that fails alone: a panic in it leads back here, and no further. On the stack it is called on.
 */
SYM_FUNC_START(wprobe_catch_attempt)
	SAVE
	ENTER %rsi
	andq $-16, %rsp
	call wprobe_rs_attempt
	xorl %eax, %eax
	movq (%rbx), %rsp
	LEAVE
SYM_FUNC_END(wprobe_catch_attempt)
STACK_FRAME_NON_STANDARD wprobe_catch_attempt

/*
 * void wprobe_catch_hit(attachment, hit, words, cpu, resume)
 * void wprobe_catch_left(attachment, cpu, resume)
 *
 * On the stack they are called on.
 */
SYM_FUNC_START(wprobe_catch_hit)
	SAVE
	ENTER %r8
	andq $-16, %rsp
	call wprobe_rs_hit
	movq (%rbx), %rsp
	LEAVE
SYM_FUNC_END(wprobe_catch_hit)
STACK_FRAME_NON_STANDARD wprobe_catch_hit

SYM_FUNC_START(wprobe_catch_left)
	SAVE
	ENTER %rdx
	andq $-16, %rsp
	call wprobe_rs_left
	movq (%rbx), %rsp
	LEAVE
SYM_FUNC_END(wprobe_catch_left)
STACK_FRAME_NON_STANDARD wprobe_catch_left

/* void wprobe_abort(resume, result): returns from the catch that wrote *resume. */
SYM_FUNC_START(wprobe_abort)
	movq (%rdi), %rsp
	movq %rsi, %rax
	LEAVE
SYM_FUNC_END(wprobe_abort)
STACK_FRAME_NON_STANDARD wprobe_abort
