//! Values that belong to tasks.

use abi::layout::guest_ptr;
use abi::traps::Trap;

use super::{Run, r0};
use crate::host::{Errno, Host, Result0};
use crate::maps::{TaskStorage, Value};

/// `BPF_LOCAL_STORAGE_GET_F_CREATE`.
const CREATE: u64 = 1;

fn storage<'a, H>(run: &Run<'a, H>, handle: u64) -> Result<&'a TaskStorage, Trap> {
    let storage = run.space.map_of(handle)?.as_task_storage();
    storage.ok_or(Trap::BadMap)
}

/// A value that is made begins as the one given, or as zeros.
pub(super) fn task_storage_get<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    let [map, task, initial, flags, _] = args;
    let storage = storage(run, map)?;
    if flags & !CREATE != 0 {
        return Ok(0);
    }
    let memory = run.space.memory();
    if let Some(value) = storage.get(run.host, task) {
        return Ok(guest_ptr(value));
    }
    if flags & CREATE == 0 {
        return Ok(0);
    }
    let value = match initial {
        0 => Value::Zero,
        _ => Value::Guest(run.slice(initial, u64::from(storage.value_size()))?),
    };
    let made = storage.create(run.host, memory, task, value);
    Ok(made.map_or(0, guest_ptr))
}

pub(super) fn task_storage_delete<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    let [map, task, ..] = args;
    let storage = storage(run, map)?;
    if task == 0 {
        return Ok(Errno::EINVAL.as_r0());
    }
    Ok(r0(storage.delete(run.host, task)))
}
