//! Kernel functions that programs may call by name.
//!
//! A kernel object is an address here, whose every load is fault-safe; so nothing is held and nothing to be released.

use super::{Run, Take, dynptr, iter};
use crate::host::{Host, Result0};
use crate::work::price;

/// Has the implementation of the kernel function `name` taken; `None` if this crate has none.
pub fn kfunc<H: Host, T: Take<H>>(name: &str, take: T) -> Option<T::Taken> {
    Some(match name {
        "bpf_task_from_pid" => take.call(task_from_pid),
        "bpf_task_acquire" | "bpf_cast_to_kern_ctx" | "bpf_rdonly_cast" => take.call(same),
        "bpf_task_release" | "bpf_rcu_read_lock" | "bpf_rcu_read_unlock" => take.call(nothing),
        "bpf_iter_num_new" => take.call(iter::num_new),
        "bpf_iter_num_next" => take.call(iter::num_next),
        "bpf_iter_num_destroy" => take.call(iter::num_destroy),
        "bpf_dynptr_adjust" => take.call(dynptr::adjust),
        "bpf_dynptr_is_null" => take.call(dynptr::is_null),
        "bpf_dynptr_is_rdonly" => take.call(dynptr::is_read_only),
        "bpf_dynptr_size" => take.call(dynptr::size),
        "bpf_dynptr_clone" => take.call(dynptr::clone),
        "bpf_dynptr_slice" => take.call(dynptr::slice),
        _ => return None,
    })
}

fn task_from_pid<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    run.work.units(price::ASK)?;
    Ok(run.host.task_by_pid(args[0] as u32).unwrap_or(0))
}

fn same<H: Host>(_: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    Ok(args[0])
}

fn nothing<H: Host>(_: &Run<'_, H>, _: [u64; 5]) -> Result0 {
    Ok(0)
}
