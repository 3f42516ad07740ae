//! Control groups of the current task.

use abi::map_types::MapType;
use abi::traps::Trap;

use super::Run;
use crate::host::{Errno, Host, Result0};
use crate::work::price;

pub(super) fn get_current_cgroup_id<H: Host>(host: &H) -> u64 {
    host.cgroup_id(None)
}

pub(super) fn get_current_ancestor_cgroup_id<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    run.work.units(price::ASK)?;
    Ok(run.host.cgroup_id(Some(args[0] as i32)))
}

pub(super) fn current_task_under_cgroup<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    run.work.units(price::ASK)?;
    let map = run.space.map_of(args[0])?;
    let groups = map.as_references();
    let groups = groups.filter(|_| map.spec().map_type == MapType::CgroupArray);
    let groups = groups.ok_or(Trap::BadMap)?;
    let index = args[1] as u32;
    if index >= groups.len() {
        return Ok(Errno::E2BIG.as_r0());
    }
    Ok(match groups.get(index) {
        Some(group) => run.host.is_under_cgroup(group).into(),
        None => Errno::EAGAIN.as_r0(),
    })
}
