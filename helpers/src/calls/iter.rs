//! Open-coded iterators: `bpf_iter_num_*`, what `bpf_for` and `bpf_repeat` call (`kernel/bpf/bpf_iter.c`).
//!
//! An iterator lies in the program's memory and is checked at each use. A program that spoils its own gets other numbers, and
//! each of them costs a call.

use abi::traps::Trap;

use super::Run;
use super::control::MAX_LOOPS;
use crate::guest::GuestSlice;
use crate::host::{Errno, Host, Result0};

/// Bytes of `struct bpf_iter_num`: the number before the next one, and the end.
const ITER_NUM: u64 = 8;

/// A range of numbers, as it lies in memory.
struct Numbers {
    current: i32,
    end: i32,
}

impl Numbers {
    /// What gives nothing: over, or never begun.
    const NONE: Numbers = Numbers { current: 0, end: 0 };

    fn read(place: GuestSlice<'_>) -> Self {
        let word = place.word_at(0);
        Self {
            current: word as i32,
            end: (word >> 32) as i32,
        }
    }

    fn write(self, place: GuestSlice<'_>) {
        let word = u64::from(self.end as u32) << 32 | u64::from(self.current as u32);
        place.write(&word.to_le_bytes());
    }
}

fn place<'a, H>(run: &Run<'a, H>, pointer: u64) -> Result<GuestSlice<'a>, Trap> {
    run.slice(pointer, ITER_NUM)
}

/// The numbers from `args[1]` to before `args[2]`.
pub(super) fn num_new<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    let place = place(run, args[0])?;
    let (start, end) = (args[1] as i32, args[2] as i32);
    let count = i64::from(end) - i64::from(start);
    let refused = match count {
        ..0 => Some(Errno::EINVAL),
        count if count > i64::from(MAX_LOOPS) => Some(Errno::E2BIG),
        _ => None,
    };
    let numbers = match refused {
        Some(_) => Numbers::NONE,
        None => Numbers {
            current: start.wrapping_sub(1),
            end,
        },
    };
    numbers.write(place);
    Ok(refused.map_or(0, Errno::as_r0))
}

/// Where the next number lies; null after the last.
pub(super) fn num_next<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    let place = place(run, args[0])?;
    let Numbers { current, end } = Numbers::read(place);
    let next = current.wrapping_add(1);
    if next >= end {
        Numbers::NONE.write(place);
        return Ok(0);
    }
    Numbers { current: next, end }.write(place);
    Ok(args[0])
}

pub(super) fn num_destroy<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    Numbers::NONE.write(place(run, args[0])?);
    Ok(0)
}
