//! `probe_read*`: fault-safe reads from kernel, user and guest memory (`kernel/trace/bpf_trace.c`).
//!
//! A tagged address is the guest's own memory, which native programs may hand to the kernel flavours
//! (their stack and maps are kernel memory there). A failed read leaves zeros and gives `-EFAULT`.

use abi::layout;
use abi::traps::Trap;

use super::Run;
use crate::guest::GuestSlice;
use crate::host::{Errno, Host, Result0};
use crate::work::price;

/// Whether an address that may be either is a user's (`bpf_probe_read_compat`).
pub(super) fn is_user<H: Host>(run: &Run<'_, H>, address: u64) -> bool {
    address < run.host.user_end()
}

/// What an access to memory at `address` costs that is a user's, or the kernel's.
fn price(user: bool) -> u64 {
    match user {
        true => price::USER,
        false => price::LOAD,
    }
}

/// The aligned word of memory that `address` is in, from that byte on, and how many bytes that are: user memory, or kernel memory
/// and the guest's own. Aligned words never straddle a page, so nothing else is touched that could fault.
pub(super) fn word<H: Host>(
    run: &Run<'_, H>,
    user: bool,
    address: u64,
) -> Result<Option<(u64, usize)>, Trap> {
    let skipped = address % 8;
    let at = address - skipped;
    run.work.units(price(user))?;
    let word = match (user, layout::guest_offset(at)) {
        (true, _) => run.work.may_fault(|| run.host.load_user(8, at))?,
        (false, Some(offset)) => {
            let word = run.space.memory().at(offset, 8);
            word.map(|word| word.word_at(0)).ok_or(Errno::EFAULT)
        }
        (false, None) => run.work.may_fault(|| run.host.load_kernel(8, at))?,
    };
    let rest = |word: u64| (word >> (8 * skipped), (8 - skipped) as usize);
    Ok(word.ok().map(rest))
}

/// The destination `(r1, r2)`.
fn destination<'a, H>(
    run: &Run<'a, H>,
    user: bool,
    args: [u64; 5],
) -> Result<GuestSlice<'a>, Trap> {
    run.work.units(price(user))?;
    run.slice(args[0], u64::from(args[1] as u32))
}

/// What a read gives, if it is paid for.
type Outcome<T> = Result<Result<T, Errno>, Trap>;

fn finish(to: GuestSlice<'_>, result: Result<usize, Errno>) -> Result0 {
    Ok(match result {
        Ok(length) => length as u64,
        Err(errno) => {
            to.clear();
            errno.as_r0()
        }
    })
}

fn kernel<H: Host>(run: &Run<'_, H>, to: GuestSlice<'_>, address: u64) -> Outcome<()> {
    let Some(offset) = layout::guest_offset(address) else {
        return run.work.may_fault(|| run.host.read_kernel(to, address));
    };
    let from = match to.is_empty() {
        true => Some(to),
        false => run.space.memory().at(offset, to.len() as u64),
    };
    Ok(from.map(|from| to.copy_from(from)).ok_or(Errno::EFAULT))
}

fn kernel_str<H: Host>(run: &Run<'_, H>, to: GuestSlice<'_>, address: u64) -> Outcome<usize> {
    match layout::guest_offset(address) {
        None => run.work.may_fault(|| run.host.read_kernel_str(to, address)),
        Some(offset) => Ok(guest_str(run, to, offset)),
    }
}

fn guest_str<H>(run: &Run<'_, H>, to: GuestSlice<'_>, offset: u32) -> Result<usize, Errno> {
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
    let to = destination(run, false, args)?;
    finish(to, kernel(run, to, args[2])?.map(|()| 0))
}

#[inline(always)]
pub(super) fn read_user<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    let to = destination(run, true, args)?;
    let read = run.work.may_fault(|| run.host.read_user(to, args[2]))?;
    finish(to, read.map(|()| 0))
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
    let to = destination(run, false, args)?;
    // Its end is looked for first.
    run.work.bytes(to.len() as u64)?;
    finish(to, kernel_str(run, to, args[2])?)
}

#[inline(always)]
pub(super) fn read_user_str<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    let to = destination(run, true, args)?;
    let read = run.work.may_fault(|| run.host.read_user_str(to, args[2]))?;
    finish(to, read)
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
///
/// # Errors
///
/// [`Trap::Budget`].
pub fn probe_load<H: Host>(run: &Run<'_, H>, width: u32, address: u64) -> Result0 {
    run.work.units(price::LOAD)?;
    let loaded = run
        .work
        .may_fault(|| run.host.load_kernel(width, address))?;
    Ok(loaded.unwrap_or(0))
}
