//! Stacks: `get_stackid`, `get_stack`, `get_task_stack` (`kernel/bpf/stackmap.c`).
//!
//! Build ids are not to be had in a probe here; who asks for them gets `-EOPNOTSUPP`.

use abi::traps::Trap;

use super::Run;
use crate::host::{Errno, From, Host, Result0, Walk};
use crate::maps::stack_trace::{
    FAST_STACK_CMP, MAX_DEPTH, REUSE_STACKID, SKIP, USER_BUILD_ID, USER_STACK,
};
use crate::work::price;

/// The walk that `flags` ask for.
fn walk(from: From, flags: u64) -> Walk {
    Walk {
        from,
        user: flags & USER_STACK != 0,
        skip: (flags & SKIP) as u32,
    }
}

#[inline(always)]
pub(super) fn get_stackid<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    let [_, map, flags, ..] = args;
    let stacks = run.space.map_of(map)?.as_stack_trace();
    let stacks = stacks.ok_or(Trap::BadMap)?;
    if flags & !(SKIP | USER_STACK | FAST_STACK_CMP | REUSE_STACKID) != 0 {
        return Ok(Errno::EINVAL.as_r0());
    }
    let walk = walk(From::Context(run.context), flags);
    pay(run, walk, stacks.depth().into())?;
    let host = run.host;
    let id = stacks.id(run.space.memory(), run.cpu, flags, |to| {
        host.stack(walk, to)
    });
    Ok(id.map_or_else(Errno::as_r0, u64::from))
}

/// Pays for a walk that stores `depth` addresses at most. Those that are skipped are walked, too.
fn pay<H>(run: &Run<'_, H>, walk: Walk, depth: u64) -> Result<(), Trap> {
    let frames = (u64::from(walk.skip) + depth).min(MAX_DEPTH.into());
    let frame = match walk.user {
        true => price::USER,
        false => price::FRAME,
    };
    run.work
        .units((frames + price::WALK) * frame + price::FAULT)
}

/// Fills the guest's buffer `(to, size)`; what is not filled becomes zero. Gives the bytes that were.
fn fill<H: Host>(run: &Run<'_, H>, from: From, to: u64, size: u64, flags: u64) -> Result0 {
    let to = run.slice(to, u64::from(size as u32))?;
    let build_id = flags & USER_BUILD_ID != 0;
    let unit = if build_id { 32 } else { 8 };
    let known = flags & !(SKIP | USER_STACK | USER_BUILD_ID) == 0;
    let kernel_build_id = build_id && flags & USER_STACK == 0;
    let result = if !known || kernel_build_id || !to.len().is_multiple_of(unit) {
        Err(Errno::EINVAL)
    } else if build_id {
        Err(Errno::EOPNOTSUPP)
    } else {
        let walk = walk(from, flags);
        pay(run, walk, to.len() as u64 / 8)?;
        run.host.stack(walk, to).map(|stored| stored * 8)
    };
    to.from(result.unwrap_or(0)).clear();
    Ok(result.map_or_else(Errno::as_r0, |bytes| bytes as u64))
}

pub(super) fn get_stack<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    let [_, to, size, flags, _] = args;
    fill(run, From::Context(run.context), to, size, flags)
}

/// The current task's own kernel stack is the one above the probe: of the engine's frames nobody knows.
pub(super) fn get_task_stack<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    let [task, to, size, flags, _] = args;
    let from = match task == run.host.task() {
        true => From::Context(run.context),
        false => From::Task(task),
    };
    fill(run, from, to, size, flags)
}
