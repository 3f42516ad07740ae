//! Guest memory: what lies where, and how a guest pointer looks.
//!
//! ```text
//! 0 ─────────── NULL_GUARD ── per-CPU areas ─────────────── map values, data sections ── size
//!   never used                CPU_AREA bytes each:
//!                             context copy │ stack │ keys │ kept frames
//! ```
//!
//! All of it is the guest's to scribble over; nothing outside the sandbox depends on its contents.

/// The size of a wasm page; guest memory is a multiple of it.
pub const WASM_PAGE: u32 = 0x1_0000;

/// Bytes at the bottom of guest memory that nothing is placed in, so that a null pointer plus a
/// field offset never reaches live data.
pub const NULL_GUARD: u32 = 0x1000;

/// Bytes of a CPU's context copy. `PERF_MAX_TRACE_SIZE` would be 8192; no record seen needs more than this.
pub const CONTEXT_SIZE: u32 = 0x1000;

/// Where, counted from the context, a word lies that describes the traced function to `get_func_*`: how
/// many arguments the context has, and [`FUNCTION_RETURNS`]. Contexts end before it.
pub const FUNCTION_INFO: u32 = CONTEXT_SIZE - 8;

/// In that word: the result lies behind the arguments.
pub const FUNCTION_RETURNS: u64 = 1 << 32;

/// Where, counted from the context, a program of a session finds whether it runs at a return (1) or at entry (0); behind the
/// registers, which are its context.
pub const SESSION_IS_RETURN: u32 = 21 * 8;

/// The same of its cookie: 0 at entry, at the return what it left there.
pub const SESSION_COOKIE: u32 = SESSION_IS_RETURN + 8;

/// The same of where it leaves its result: at entry, other than 0 means that the return is none of its business. The host
/// puts [`SESSION_IGNORES`] there before it runs.
pub const SESSION_RESULT: u32 = SESSION_COOKIE + 8;

/// Bytes of a session's context: all of that.
pub const SESSION_SIZE: u32 = SESSION_RESULT + 8;

/// What a run that does not come to its end leaves as its result.
pub const SESSION_IGNORES: u64 = 1;

/// Bytes of a CPU's stack: eight frames of the kernel's 512 (`MAX_CALL_FRAMES * MAX_BPF_STACK`).
pub const STACK_SIZE: u32 = 0x1000;

/// How deep helpers that call functions of the module may nest. A runtime's own stack bounds it.
pub const CALLBACK_DEPTH: u32 = 2;

/// How deep runs of the engine may nest in all: callbacks, and the tail calls of functions that programs call. A runtime's own
/// stack bounds it.
pub const NESTED_DEPTH: u32 = 3;

/// Bytes of a key as a callback sees it: the longest one.
pub const KEY_SIZE: u32 = 512;

/// Bytes for a key of each level of callbacks and for frames kept aside, filled up to a page, so that all areas begin with one.
pub const KEYS_SIZE: u32 = 0x1000;

/// Bytes of the area a CPU owns: its context copy, its stack, its keys.
pub const CPU_AREA: u32 = CONTEXT_SIZE + STACK_SIZE + KEYS_SIZE;

/// Bytes for the frames of functions that wait for a tail call, all together. Each may be 256, as natively.
pub const KEPT_SIZE: u32 = KEYS_SIZE - CALLBACK_DEPTH * KEY_SIZE;

const _: () = assert!(NESTED_DEPTH * 256 <= KEPT_SIZE && KEPT_SIZE < KEYS_SIZE);

/// The kernel's `MAX_BPF_STACK`: the frame of one function.
pub const FRAME_SIZE: u32 = 512;

/// Upper half of a 64-bit register that points into guest memory.
///
/// Bits 63, 56 and 47 of `TAG << 32` are 0, 1 and 1: not canonical with 48-bit, 57-bit or masked
/// (LAM) addresses, so no kernel or user address carries it. An access wraps to 32 bits, which
/// drops the tag at no cost.
pub const TAG: u32 = 0x5742_D000;

/// Upper half of a map handle; the lower half is the map's index in its sandbox.
/// Not canonical either, and no guest pointer.
pub const MAP_TAG: u32 = 0x5742_D001;

/// The 64-bit guest pointer to `offset`.
pub const fn guest_ptr(offset: u32) -> u64 {
    (TAG as u64) << 32 | offset as u64
}

/// The offset behind `pointer`, unless it carries no tag.
pub const fn guest_offset(pointer: u64) -> Option<u32> {
    if (pointer >> 32) as u32 == TAG {
        Some(pointer as u32)
    } else {
        None
    }
}

/// The handle of map `index`.
pub const fn map_handle(index: u32) -> u64 {
    (MAP_TAG as u64) << 32 | index as u64
}

/// The index behind `handle`, unless it is no map handle.
pub const fn map_index(handle: u64) -> Option<u32> {
    if (handle >> 32) as u32 == MAP_TAG {
        Some(handle as u32)
    } else {
        None
    }
}

/// Offset of `cpu`'s context copy.
pub const fn context_base(cpu: u32) -> u32 {
    NULL_GUARD + cpu * CPU_AREA
}

/// Offset of the lowest byte of `cpu`'s stack.
pub const fn stack_base(cpu: u32) -> u32 {
    context_base(cpu) + CONTEXT_SIZE
}

/// Offset of the key that `cpu`'s callbacks see which are called from `depth` callbacks deep.
pub const fn key_base(cpu: u32, depth: u32) -> u32 {
    stack_base(cpu) + STACK_SIZE + depth * KEY_SIZE
}

/// Offset of where `cpu`'s frames are kept.
pub const fn kept_base(cpu: u32) -> u32 {
    key_base(cpu, CALLBACK_DEPTH)
}

/// Offset of the first byte after the per-CPU areas of `cpus` CPUs.
pub const fn values_base(cpus: u32) -> u32 {
    context_base(cpus)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_not_canonical_in_any_addressing_mode() {
        for tag in [TAG, MAP_TAG] {
            let address = (tag as u64) << 32;
            let bit = |n: u32| address >> n & 1;
            assert_ne!(bit(63), bit(56), "57-bit and LAM_U57");
            assert_ne!(bit(63), bit(47), "48-bit and LAM_U48");
        }
    }

    #[test]
    fn pointers_and_handles_are_told_apart() {
        assert_eq!(guest_offset(guest_ptr(7)), Some(7));
        assert_eq!(map_index(map_handle(7)), Some(7));
        assert_eq!(guest_offset(map_handle(7)), None);
        assert_eq!(map_index(guest_ptr(7)), None);
        assert_eq!(guest_offset(0), None);
    }
}
