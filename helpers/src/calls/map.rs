//! `map_lookup_elem`, `map_update_elem`, `map_delete_elem`.

use abi::layout::guest_ptr;
use abi::traps::Trap;

use super::Run;
use crate::host::{Errno, Host};
use crate::maps::{Key, Map, Value};

/// The key behind `pointer`. A map's key size is at most [`crate::maps::MAX_KEY`], so it fits.
fn key<H>(run: &Run<'_, H>, map: &Map, pointer: u64) -> Result<Key, Trap> {
    let bytes = run
        .space
        .memory()
        .slice(pointer, u64::from(map.spec().key_size))?;
    Key::from_guest(bytes).map_err(|_| Trap::BadMap)
}

fn r0(result: Result<(), Errno>) -> u64 {
    match result {
        Ok(()) => 0,
        Err(errno) => errno.as_r0(),
    }
}

pub(super) fn lookup_elem<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result<u64, Trap> {
    let map = run.space.map_of(args[0])?;
    let key = key(run, map, args[1])?;
    Ok(map.lookup(&key).map_or(0, guest_ptr))
}

pub(super) fn update_elem<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result<u64, Trap> {
    let [map, key_at, value_at, flags, _] = args;
    let map = run.space.map_of(map)?;
    let key = key(run, map, key_at)?;
    let memory = run.space.memory();
    let value = memory.slice(value_at, u64::from(map.spec().value_size))?;
    Ok(r0(map.update(
        memory,
        run.host.cpu(),
        &key,
        Value::Guest(value),
        flags,
    )))
}

pub(super) fn delete_elem<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result<u64, Trap> {
    let map = run.space.map_of(args[0])?;
    let key = key(run, map, args[1])?;
    Ok(r0(map.delete(run.host.cpu(), &key)))
}
