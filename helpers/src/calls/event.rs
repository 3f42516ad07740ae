//! Events to user space: `perf_event_output`, `ringbuf_*`.

use abi::layout::{guest_offset, guest_ptr};
use abi::traps::Trap;

use super::{Run, r0};
use crate::host::{Host, Result0};
use crate::maps::{Commit, Map, Ringbuf};
use crate::work::price;

fn ring<'a, H>(run: &Run<'a, H>, handle: u64) -> Result<&'a Ringbuf, Trap> {
    run.space.map_of(handle)?.as_ringbuf().ok_or(Trap::BadMap)
}

pub(super) fn perf_event_output<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    let [_, map, flags, data, size] = args;
    let map = run.space.map_of(map)?;
    let rings = map.as_perf_event_array().ok_or(Trap::BadMap)?;
    run.work.units(price::RECORD)?;
    let data = run.slice(data, size)?;
    Ok(r0(rings.output(run.host, flags, data)))
}

pub(super) fn ringbuf_reserve<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    let ring = ring(run, args[0])?;
    run.work.units(price::RECORD)?;
    if args[2] != 0 {
        return Ok(0);
    }
    let record = ring.reserve(run.space.memory(), args[1]);
    Ok(record.map_or(0, guest_ptr))
}

/// Ends the record at `record`, if it is one of a ring's.
pub(super) fn commit<H: Host>(run: &Run<'_, H>, record: u64, flags: u64, how: Commit) -> Result0 {
    // Each map may be asked whether it is its own.
    run.work
        .units(price::RECORD + u64::from(run.space.map_count()) * price::OWNER)?;
    let offset = guest_offset(record).ok_or(Trap::BadPointer)?;
    let mut rings = (0..run.space.map_count())
        .filter_map(|index| run.space.map(index))
        .filter_map(Map::as_ringbuf);
    let ring = rings
        .find(|ring| ring.owns(offset))
        .ok_or(Trap::BadPointer)?;
    match ring.commit(run.host, run.space.memory(), offset, how, flags) {
        Ok(()) => Ok(0),
        Err(_) => Err(Trap::BadPointer),
    }
}

pub(super) fn ringbuf_submit<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    commit(run, args[0], args[1], Commit::Submit)
}

pub(super) fn ringbuf_discard<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    commit(run, args[0], args[1], Commit::Discard)
}

pub(super) fn ringbuf_output<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    let [map, data, size, flags, _] = args;
    let ring = ring(run, map)?;
    let memory = run.space.memory();
    run.work.units(2 * price::RECORD)?;
    let data = run.slice(data, size)?;
    Ok(r0(ring.output(run.host, memory, data, flags)))
}

pub(super) fn ringbuf_query<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    Ok(ring(run, args[0])?.query(run.space.memory(), args[1]))
}
