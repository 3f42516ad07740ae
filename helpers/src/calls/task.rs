//! The current task and CPU, and the run's own attributes.

use super::{Run, r0};
use crate::host::{Errno, Host, Result0};
use crate::work::price;

pub(super) fn get_smp_processor_id<H: Host>(run: &Run<'_, H>, _: [u64; 5]) -> Result0 {
    Ok(u64::from(run.cpu))
}

pub(super) fn get_current_pid_tgid<H: Host>(host: &H) -> u64 {
    host.pid_tgid()
}

pub(super) fn get_current_uid_gid<H: Host>(host: &H) -> u64 {
    host.uid_gid()
}

pub(super) fn get_current_task<H: Host>(host: &H) -> u64 {
    host.task()
}

pub(super) fn get_numa_node_id<H: Host>(host: &H) -> u64 {
    host.numa_node().into()
}

/// 0 for a CPU that is not possible.
pub(super) fn per_cpu_ptr<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    let cpu = args[1] as u32;
    if cpu >= run.space.cpus() {
        return Ok(0);
    }
    Ok(run.host.per_cpu(args[0], cpu))
}

pub(super) fn this_cpu_ptr<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    Ok(run.host.per_cpu(args[0], run.cpu))
}

pub(super) fn task_pt_regs<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    run.work.units(price::ASK)?;
    let registers = || match run.host.task_registers(args[0]) {
        0 => Err(Errno::EFAULT),
        registers => Ok(registers),
    };
    Ok(run.work.may_fault(registers)?.unwrap_or(0))
}

pub(super) fn send_signal<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    run.work.units(price::ASK)?;
    Ok(r0(run.host.send_signal(args[0] as u32, true)))
}

pub(super) fn send_signal_thread<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    run.work.units(price::ASK)?;
    Ok(r0(run.host.send_signal(args[0] as u32, false)))
}

/// Bytes of `struct bpf_pidns_info`.
const PIDNS_INFO: usize = 8;

/// An error leaves zeros.
pub(super) fn get_ns_current_pid_tgid<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    let [device, inode, to, size, _] = args;
    run.work.units(price::ASK)?;
    let to = run.slice(to, u64::from(size as u32))?;
    let device = u32::try_from(device).map_err(|_| Errno::EINVAL);
    let ids = match to.len() {
        PIDNS_INFO => device.and_then(|device| run.host.namespace_ids(device, inode)),
        _ => Err(Errno::EINVAL),
    };
    to.clear();
    Ok(r0(ids.map(|(pid, tgid)| {
        to.write(&(u64::from(tgid) << 32 | u64::from(pid)).to_le_bytes());
    })))
}

pub(super) fn get_attach_cookie<H: Host>(run: &Run<'_, H>, _: [u64; 5]) -> Result0 {
    Ok(run.host.cookie(run.context))
}

/// `strscpy_pad(buf, current->comm, size)`: cut with a NUL, or padded with zeros.
#[inline(always)]
pub(super) fn get_current_comm<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    let buffer = run.slice(args[0], u64::from(args[1] as u32))?;
    let comm = run.host.comm();
    // Padded with zeros, and ended by one: as it is, if there is room.
    if comm[comm.len() - 1] == 0 && buffer.len() >= comm.len() {
        buffer.write(&comm);
        buffer.from(comm.len()).clear();
        return Ok(0);
    }
    buffer.clear();
    let text = comm
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(comm.len());
    buffer.write(&comm[..text.min(buffer.len().saturating_sub(1))]);
    Ok(0)
}
