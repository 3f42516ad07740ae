//! The `atomic` imports: read-modify-write on guest memory, sequentially consistent.
//!
//! RFC 9669 section 5.3. Plain wasm has none, and a load and a store in their place lose updates.

use core::sync::atomic::Ordering::SeqCst;

use abi::imports::AtomicOp;
use abi::traps::Trap;

use crate::guest::GuestMemory;

macro_rules! perform {
    ($cell:expr, $op:expr, $a:expr, $b:expr) => {
        match $op {
            AtomicOp::Add => $cell.fetch_add($a, SeqCst),
            AtomicOp::Or => $cell.fetch_or($a, SeqCst),
            AtomicOp::And => $cell.fetch_and($a, SeqCst),
            AtomicOp::Xor => $cell.fetch_xor($a, SeqCst),
            AtomicOp::Xchg => $cell.swap($a, SeqCst),
            AtomicOp::Cmpxchg => match $cell.compare_exchange($a, $b, SeqCst, SeqCst) {
                Ok(old) | Err(old) => old,
            },
        }
    };
}

/// Performs `op` on the `width` bytes (4 or 8) behind `pointer`; the old value, zero-extended.
/// `a` is the operand, for `cmpxchg` the expected value and `b` the new one.
///
/// # Errors
///
/// [`Trap::BadPointer`] outside guest memory, [`Trap::Misaligned`] if `pointer` is no multiple of `width`.
#[inline]
pub fn perform(
    memory: &GuestMemory,
    op: AtomicOp,
    width: u32,
    pointer: u64,
    a: u64,
    b: u64,
) -> Result<u64, Trap> {
    let cell = memory.slice(pointer, u64::from(width))?;
    if width == 8 {
        let cell = cell.as_atomic64().ok_or(Trap::Misaligned)?;
        Ok(perform!(cell, op, a, b))
    } else {
        let cell = cell.as_atomic32().ok_or(Trap::Misaligned)?;
        Ok(u64::from(perform!(cell, op, a as u32, b as u32)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::tests::memory;
    use abi::layout::guest_ptr;

    #[test]
    fn every_operation_returns_the_old_value_and_leaves_the_new_one() {
        use AtomicOp::*;
        let memory = memory(64);
        for (op, a, b, new) in [
            (Add, 5, 0, 17),
            (Or, 3, 0, 15),
            (And, 4, 0, 4),
            (Xor, 5, 0, 9),
            (Xchg, 99, 0, 99),
            (Cmpxchg, 12, 7, 7),
            (Cmpxchg, 13, 7, 12),
        ] {
            for width in [4, 8] {
                let cell = memory.at(8, 8).unwrap();
                cell.write(&12u64.to_ne_bytes());
                assert_eq!(perform(&memory, op, width, guest_ptr(8), a, b), Ok(12));
                assert_eq!(cell.word_at(0), new, "{op:?} {width}");
            }
        }
    }

    #[test]
    fn narrow_operations_leave_the_upper_half_alone() {
        let memory = memory(64);
        memory.at(0, 8).unwrap().write(&[0xff; 8]);
        let old = perform(&memory, AtomicOp::Add, 4, guest_ptr(0), 1, 0);
        assert_eq!(old, Ok(0xffff_ffff));
        assert_eq!(memory.at(0, 8).unwrap().word_at(0), 0xffff_ffff_0000_0000);
    }

    #[test]
    fn bad_addresses_trap() {
        let memory = memory(64);
        let at = |pointer| perform(&memory, AtomicOp::Add, 8, pointer, 1, 0);
        assert_eq!(at(guest_ptr(4)), Err(Trap::Misaligned));
        assert_eq!(at(guest_ptr(64)), Err(Trap::BadPointer));
        assert_eq!(at(0), Err(Trap::BadPointer));
    }
}
