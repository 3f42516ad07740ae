/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Calls into Rust that a panic can be led out of. Rust is built without unwinding; its panic handler
 * calls wprobe_abort(), which drops every frame above the call and makes the call return `result`.
 */
#include <linux/linkage.h>
#include <linux/objtool.h>
#include <asm/nospec-branch.h>

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
 * long wprobe_catch_hit(attachment, hit, cpu, resume): on the stack it is called on.
 *
 * If wprobe_rs_hit() leaves a run of native code over, that happens here, where all registers are saved
 * already; see enter.S.
 */
SYM_FUNC_START(wprobe_catch_hit)
	SAVE
	ENTER %rcx
	andq $-16, %rsp
	pushq %rdi
	pushq %rbx
	call wprobe_rs_hit
	testq %rax, %rax
	jnz 1f
	movq (%rbx), %rsp
	LEAVE
1:	pushq %rax
	pushq %rax
	LET_RUN %rax %rcx
	movq %rax, %rdi
	movq ARGUMENT(%rax), %rsi
	CALL_NOSPEC rdx
	movq (%rsp), %rsi
	movq 16(%rsp), %rbx
	movq 24(%rsp), %rdi
	call wprobe_rs_ran
	movq (%rbx), %rsp
	LEAVE
SYM_FUNC_END(wprobe_catch_hit)
STACK_FRAME_NON_STANDARD wprobe_catch_hit

/* void wprobe_abort(resume, result): returns from the catch that wrote *resume. */
SYM_FUNC_START(wprobe_abort)
	movq (%rdi), %rsp
	movq %rsi, %rax
	LEAVE
SYM_FUNC_END(wprobe_abort)
STACK_FRAME_NON_STANDARD wprobe_abort
