//! Values that belong to tasks.

use abi::layout::guest_ptr;
use abi::traps::Trap;

use super::{Run, r0};
use crate::host::{Errno, Host, Result0};
use crate::maps::{TaskStorage, Value};
use crate::work::price;

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
    // Which task it is is asked twice.
    run.work
        .units(price::LOOKUP + 2 * (price::ASK + price::KEY_WORD))?;
    if flags & !CREATE != 0 {
        return Ok(0);
    }
    let memory = run.space.memory();
    let found = || storage.get(run.host, task).ok_or(Errno::ENOENT);
    // Of what is no task, its number is looked for all the same.
    if let Ok(value) = run.work.may_fault(found)? {
        return Ok(guest_ptr(value));
    }
    if flags & CREATE == 0 {
        return Ok(0);
    }
    run.work.units(price::UPDATE)?;
    let value = match initial {
        0 => {
            run.work.bytes(storage.value_size().into())?;
            Value::Zero
        }
        _ => Value::Guest(run.slice(initial, u64::from(storage.value_size()))?),
    };
    let made = storage.create(run.host, memory, task, value, run.work);
    made.map(|made| made.map_or(0, guest_ptr))
}

pub(super) fn task_storage_delete<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    let [map, task, ..] = args;
    let storage = storage(run, map)?;
    run.work
        .units(price::LOOKUP + price::UPDATE + price::ASK + price::KEY_WORD)?;
    if task == 0 {
        return Ok(Errno::EINVAL.as_r0());
    }
    let deleted = run.work.may_fault(|| storage.delete(run.host, task))?;
    Ok(r0(deleted))
}
