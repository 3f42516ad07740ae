//! Helpers on maps.

use core::mem::MaybeUninit;

use abi::layout::{guest_ptr, map_handle};
use abi::map_types::MapType;
use abi::traps::Trap;

use super::{Run, r0};
use crate::guest::GuestSlice;
use crate::host::Host;
use crate::maps::{Key, Map, Value};
use crate::work::{Stop, price};

/// Reads the key behind `pointer` into `room`, to look for it. A map's key size is at most [`crate::maps::MAX_KEY`], so it fits.
#[inline]
fn read_key<'r, H>(
    run: &Run<'_, H>,
    map: &Map,
    pointer: u64,
    room: &'r mut MaybeUninit<Key>,
) -> Result<&'r Key, Trap> {
    let size = u64::from(map.spec().key_size);
    run.work
        .units(price::LOOKUP + size.div_ceil(8) * price::KEY_WORD)?;
    let bytes = run.slice(pointer, size)?;
    Key::read_guest(room, bytes).map_err(|_| Trap::BadMap)
}

#[inline(always)]
pub(super) fn lookup_elem<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result<u64, Trap> {
    let map = run.space.map_of(args[0])?;
    let mut room = Key::room();
    let key = read_key(run, map, args[1], &mut room)?;
    if map.spec().is_of_maps() {
        // Whether the handle is one is checked where it is used, as with any handle.
        let inner = map.inner(run.space.memory(), key);
        return Ok(inner.map_or(0, map_handle));
    }
    Ok(map
        .lookup_paid(run.cpu, key, run.work)?
        .map_or(0, guest_ptr))
}

/// The map behind `handle`, whose elements a program may change (`check_map_func_compatibility`).
fn changeable<'a, H>(run: &Run<'a, H>, handle: u64) -> Result<&'a Map, Trap> {
    let map = run.space.map_of(handle)?;
    if map.spec().is_of_maps() || map.as_references().is_some() || map.as_stack_trace().is_some() {
        return Err(Trap::BadMap);
    }
    Ok(map)
}

#[inline(always)]
pub(super) fn update_elem<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result<u64, Trap> {
    let [map, key_at, value_at, flags, _] = args;
    let map = changeable(run, map)?;
    let mut room = Key::room();
    let key = read_key(run, map, key_at, &mut room)?;
    let memory = run.space.memory();
    let value = run.slice(value_at, u64::from(map.spec().value_size))?;
    let value = Value::Guest(value);
    told(map.update_paid(memory, run.cpu, key, value, flags, run.work))
}

/// What the program is told of a change.
#[inline]
fn told(result: Result<(), Stop>) -> Result<u64, Trap> {
    result.map_or_else(Stop::r0, |()| Ok(0))
}

pub(super) fn delete_elem<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result<u64, Trap> {
    let map = changeable(run, args[0])?;
    let mut room = Key::room();
    let key = read_key(run, map, args[1], &mut room)?;
    told(map.delete_paid(run.cpu, key, run.work))
}

/// A null pointer for a CPU that is not possible, as the kernel.
pub(super) fn lookup_percpu_elem<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result<u64, Trap> {
    let map = run.space.map_of(args[0])?;
    let mut room = Key::room();
    let key = read_key(run, map, args[1], &mut room)?;
    let cpu = args[2] as u32;
    if !map.spec().is_percpu() {
        return Err(Trap::BadMap);
    }
    if cpu >= run.space.cpus() {
        return Ok(0);
    }
    Ok(map.lookup_paid(cpu, key, run.work)?.map_or(0, guest_ptr))
}

/// The value behind `pointer`, of a map without keys that is about to be changed or asked.
fn value<'a, H>(run: &Run<'a, H>, map: &Map, pointer: u64) -> Result<GuestSlice<'a>, Trap> {
    let size = u64::from(map.spec().value_size);
    let hashed = match map.spec().map_type {
        MapType::BloomFilter => size.div_ceil(8) * price::BLOOM_WORD,
        _ => 0,
    };
    run.work.units(price::UPDATE + hashed)?;
    run.slice(pointer, size)
}

pub(super) fn push_elem<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result<u64, Trap> {
    let map = run.space.map_of(args[0])?;
    let memory = run.space.memory();
    let value = value(run, map, args[1])?;
    Ok(r0(map.push(memory, Value::Guest(value), args[2])))
}

pub(super) fn pop_elem<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result<u64, Trap> {
    take(run, args, true)
}

/// A bloom filter answers whether the value may be in it.
pub(super) fn peek_elem<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result<u64, Trap> {
    let map = run.space.map_of(args[0])?;
    if map.spec().map_type == MapType::BloomFilter {
        let value = value(run, map, args[1])?;
        return Ok(r0(map.peek(Value::Guest(value))));
    }
    take(run, args, false)
}

/// An empty map leaves zeros and gives `-ENOENT`.
fn take<H>(run: &Run<'_, H>, args: [u64; 5], remove: bool) -> Result<u64, Trap> {
    let map = run.space.map_of(args[0])?;
    let memory = run.space.memory();
    let to = value(run, map, args[1])?;
    let result = map.pop(memory, remove, |from| to.copy_from(from));
    if result.is_err() {
        to.clear();
    }
    Ok(r0(result))
}
