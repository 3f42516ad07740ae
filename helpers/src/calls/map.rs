//! Helpers on maps.

use core::mem::MaybeUninit;

use abi::layout::{guest_ptr, map_handle};
use abi::map_types::MapType;
use abi::traps::Trap;

use super::{Run, r0};
use crate::host::Host;
use crate::maps::{Key, Map, Value};

/// Reads the key behind `pointer` into `room`. A map's key size is at most [`crate::maps::MAX_KEY`], so it fits.
#[inline]
fn read_key<'r, H>(
    run: &Run<'_, H>,
    map: &Map,
    pointer: u64,
    room: &'r mut MaybeUninit<Key>,
) -> Result<&'r Key, Trap> {
    let bytes = run.slice(pointer, u64::from(map.spec().key_size))?;
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
    Ok(map.lookup(run.cpu, key).map_or(0, guest_ptr))
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
    Ok(r0(map.update(
        memory,
        run.cpu,
        key,
        Value::Guest(value),
        flags,
    )))
}

pub(super) fn delete_elem<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result<u64, Trap> {
    let map = changeable(run, args[0])?;
    let mut room = Key::room();
    let key = read_key(run, map, args[1], &mut room)?;
    Ok(r0(map.delete(run.cpu, key)))
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
    Ok(map.lookup(cpu, key).map_or(0, guest_ptr))
}

pub(super) fn push_elem<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result<u64, Trap> {
    let map = run.space.map_of(args[0])?;
    let memory = run.space.memory();
    let value = run.slice(args[1], u64::from(map.spec().value_size))?;
    Ok(r0(map.push(memory, Value::Guest(value), args[2])))
}

pub(super) fn pop_elem<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result<u64, Trap> {
    take(run, args, true)
}

/// A bloom filter answers whether the value may be in it.
pub(super) fn peek_elem<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result<u64, Trap> {
    let map = run.space.map_of(args[0])?;
    if map.spec().map_type == MapType::BloomFilter {
        let value = run.slice(args[1], u64::from(map.spec().value_size))?;
        return Ok(r0(map.peek(Value::Guest(value))));
    }
    take(run, args, false)
}

/// An empty map leaves zeros and gives `-ENOENT`.
fn take<H>(run: &Run<'_, H>, args: [u64; 5], remove: bool) -> Result<u64, Trap> {
    let map = run.space.map_of(args[0])?;
    let memory = run.space.memory();
    let to = run.slice(args[1], u64::from(map.spec().value_size))?;
    let result = map.pop(memory, remove, |from| to.copy_from(from));
    if result.is_err() {
        to.clear();
    }
    Ok(r0(result))
}
