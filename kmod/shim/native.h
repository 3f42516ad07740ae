/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* What assembly knows of native code and its run; src/engine/native/mod.rs checks the offsets. */
#ifndef WPROBE_NATIVE_H
#define WPROBE_NATIVE_H

/* of helpers::native::Vm */
#define STACK_LIMIT 40
#define RESUME 48
/* of RunState */
#define ARGUMENT 56
/* helpers::native::STACK */
#define ROOM 2048

#endif
