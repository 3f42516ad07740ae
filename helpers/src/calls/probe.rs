//! `probe_read*`: fault-safe reads from kernel, user and guest memory (`kernel/trace/bpf_trace.c`).
//!
//! A tagged address is the guest's own memory, which native programs may hand to the kernel flavours
//! (their stack and maps are kernel memory there). A failed read leaves zeros and gives `-EFAULT`.

use abi::layout;

use super::Run;
use crate::guest::GuestSlice;
use crate::host::{Errno, Host, Result0};

/// Whether an address that may be either is a user's (`bpf_probe_read_compat`).
pub(super) fn is_user<H: Host>(run: &Run<'_, H>, address: u64) -> bool {
    address < run.host.user_end()
}

/// One byte of user memory, or of kernel memory and the guest's own.
pub(super) fn byte<H: Host>(run: &Run<'_, H>, user: bool, address: u64) -> Option<u8> {
    let byte = match (user, layout::guest_offset(address)) {
        (true, _) => run.host.load_user(1, address).ok()?,
        (false, Some(_)) => run.slice(address, 1).ok()?.word_at(0),
        (false, None) => run.host.load_kernel(1, address).ok()?,
    };
    Some(byte as u8)
}

/// The destination `(r1, r2)`.
fn destination<'a, H>(
    run: &Run<'a, H>,
    args: [u64; 5],
) -> Result<GuestSlice<'a>, abi::traps::Trap> {
    run.slice(args[0], u64::from(args[1] as u32))
}

fn finish(to: GuestSlice<'_>, result: Result<usize, Errno>) -> Result0 {
    Ok(match result {
        Ok(length) => length as u64,
        Err(errno) => {
            to.clear();
            errno.as_r0()
        }
    })
}

fn kernel<H: Host>(run: &Run<'_, H>, to: GuestSlice<'_>, address: u64) -> Result<(), Errno> {
    if layout::guest_offset(address).is_none() {
        return run.host.read_kernel(to, address);
    }
    let from = run.slice(address, to.len() as u64);
    to.copy_from(from.map_err(|_| Errno::EFAULT)?);
    Ok(())
}

fn kernel_str<H: Host>(run: &Run<'_, H>, to: GuestSlice<'_>, address: u64) -> Result<usize, Errno> {
    let Some(offset) = layout::guest_offset(address) else {
        return run.host.read_kernel_str(to, address);
    };
    if to.is_empty() {
        return Ok(0);
    }
    let memory = run.space.memory();
    let room = u64::from(memory.size().saturating_sub(offset)).min(to.len() as u64);
    let from = memory.at(offset, room).ok_or(Errno::EFAULT)?;
    let text = match from.find_nul() {
        Some(text) => text,
        None if from.len() == to.len() => to.len() - 1,
        None => return Err(Errno::EFAULT),
    };
    to.copy_from(from.first(text));
    to.set(text, 0);
    Ok(text + 1)
}

#[inline(always)]
pub(super) fn read_kernel<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    let to = destination(run, args)?;
    finish(to, kernel(run, to, args[2]).map(|()| 0))
}

#[inline(always)]
pub(super) fn read_user<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    let to = destination(run, args)?;
    finish(to, run.host.read_user(to, args[2]).map(|()| 0))
}

/// Of no bytes none fail, wherever they are.
pub(super) fn copy_from_user<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    if args[1] as u32 == 0 {
        return Ok(0);
    }
    read_user(run, args)
}

#[inline(always)]
pub(super) fn read_kernel_str<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    let to = destination(run, args)?;
    finish(to, kernel_str(run, to, args[2]))
}

#[inline(always)]
pub(super) fn read_user_str<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    let to = destination(run, args)?;
    finish(to, run.host.read_user_str(to, args[2]))
}

/// `probe_read`: user or kernel memory, by address (`bpf_probe_read_compat`).
pub(super) fn read<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    if is_user(run, args[2]) {
        read_user(run, args)
    } else {
        read_kernel(run, args)
    }
}

/// `probe_read_str`: user or kernel memory, by address.
pub(super) fn read_str<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    if is_user(run, args[2]) {
        read_user_str(run, args)
    } else {
        read_kernel_str(run, args)
    }
}

/// `bpf.probe_load*`: `width` bytes of kernel memory, zero-extended; 0 on a fault, as `BPF_PROBE_MEM`.
pub fn probe_load<H: Host>(run: &Run<'_, H>, width: u32, address: u64) -> u64 {
    run.host.load_kernel(width, address).unwrap_or(0)
}
