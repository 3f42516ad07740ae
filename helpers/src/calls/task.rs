//! The current task and CPU, and the run's own attributes.

use super::Run;
use crate::host::{Host, Result0};

pub(super) fn get_smp_processor_id<H: Host>(run: &Run<'_, H>, _: [u64; 5]) -> Result0 {
    Ok(u64::from(run.host.cpu()))
}

pub(super) fn get_current_pid_tgid<H: Host>(run: &Run<'_, H>, _: [u64; 5]) -> Result0 {
    Ok(run.host.pid_tgid())
}

pub(super) fn get_current_uid_gid<H: Host>(run: &Run<'_, H>, _: [u64; 5]) -> Result0 {
    Ok(run.host.uid_gid())
}

pub(super) fn get_current_task<H: Host>(run: &Run<'_, H>, _: [u64; 5]) -> Result0 {
    Ok(run.host.task())
}

pub(super) fn get_attach_cookie<H: Host>(run: &Run<'_, H>, _: [u64; 5]) -> Result0 {
    Ok(run.cookie)
}

/// `strscpy_pad(buf, current->comm, size)`: cut with a NUL, or padded with zeros.
pub(super) fn get_current_comm<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    let buffer = run
        .space
        .memory()
        .slice(args[0], u64::from(args[1] as u32))?;
    let comm = run.host.comm();
    buffer.clear();
    let text = comm
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(comm.len());
    buffer.write(&comm[..text.min(buffer.len().saturating_sub(1))]);
    Ok(0)
}
