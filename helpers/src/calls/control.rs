//! Helpers that change what runs: tail calls, and those that call functions of the module.

use abi::layout;
use abi::traps::Trap;

use super::Run;
use crate::host::{Errno, Host, Result0};
use crate::work::price;

/// Tail calls in a row (`MAX_TAIL_CALL_CNT`).
const MAX_TAIL_CALLS: u32 = 33;
/// Turns of a loop (`BPF_MAX_LOOPS`).
pub(super) const MAX_LOOPS: u32 = 8 << 20;

/// Calls the function with a number of the module's table.
pub type Callback<'c> = &'c mut dyn FnMut(u64, [u64; 5]) -> Result0;

/// As [`super::Implementation`], of a helper that calls functions of the module.
pub type CallbackImplementation<H> = fn(&Run<'_, H>, [u64; 5], Callback<'_>) -> Result0;

/// `bpf_tail_call`, as since Linux 6.12, where only calls that are taken count: the program (its number in the sandbox, from 1) that takes over; `None`: the caller goes on.
///
/// # Errors
///
/// [`Trap::BadMap`] if it is no array of programs.
pub fn tail_call<H>(run: &Run<'_, H>, args: [u64; 5]) -> Result<Option<u32>, Trap> {
    run.work.units(price::CALLBACK)?;
    let map = run.space.map_of(args[1])?;
    let programs = map.as_references().filter(|_| map.spec().is_of_programs());
    let program = programs.ok_or(Trap::BadMap)?.get(args[2] as u32);
    Ok(program
        .filter(|_| run.tail_calls < MAX_TAIL_CALLS)
        .map(|number| number as u32))
}

pub(super) fn bpf_loop<H: Host>(run: &Run<'_, H>, args: [u64; 5], call: Callback<'_>) -> Result0 {
    let [turns, function, context, flags, _] = args;
    let turns = turns as u32;
    if flags != 0 {
        return Ok(Errno::EINVAL.as_r0());
    }
    if turns > MAX_LOOPS {
        return Ok(Errno::E2BIG.as_r0());
    }
    for turn in 0..u64::from(turns) {
        run.work.units(price::CALLBACK)?;
        if call(function, [turn, context, 0, 0, 0])? != 0 {
            return Ok(turn + 1);
        }
    }
    Ok(turns.into())
}

pub(super) fn for_each_map_elem<H: Host>(
    run: &Run<'_, H>,
    args: [u64; 5],
    call: Callback<'_>,
) -> Result0 {
    let [handle, function, context, flags, _] = args;
    let map = run.space.map_of(handle)?;
    if flags != 0 {
        return Ok(Errno::EINVAL.as_r0());
    }
    let cpu = run.cpu;
    let key = layout::key_base(cpu, run.depth.min(layout::CALLBACK_DEPTH - 1));
    let size = u64::from(map.spec().key_size);
    let place = run.space.memory().at(key, size).ok_or(Trap::BadPointer)?;
    let key = layout::guest_ptr(key);
    let seen = map.for_each(cpu, place, run.work, |value| {
        let value = layout::guest_ptr(value);
        Ok(call(function, [handle, key, value, context, 0])? == 0)
    });
    seen.map(u64::from)
}
