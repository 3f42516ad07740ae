/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* What assembly knows of native code and its run; src/engine/native/mod.rs checks the offsets. */
#ifndef WPROBE_NATIVE_H
#define WPROBE_NATIVE_H

/* of abi::native::Vm */
#define STACK_LIMIT 40
#define RESUME 48
/* of RunState */
#define ARGUMENT 56
#define OUTERMOST 64
/* abi::native::STACK */
#define ROOM 2048
/* What a function's tail call adds to it: more than what leads to the program, which is no native code, takes. */
#define ROOM_WITHIN 640

#ifdef __ASSEMBLY__
/* What a caller expects back. */
.macro SAVE
	pushq %rbp
	pushq %rbx
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
.endm

.macro RESTORE
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %rbx
	popq %rbp
.endm
#endif

#endif
