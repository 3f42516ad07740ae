//! `bpf_spin_lock`: a word in a map value. It is the guest's to spoil, so nobody waits for it for ever: each try
//! but the first is paid for.

use core::sync::atomic::Ordering;

use abi::traps::Trap;

use super::Run;
use crate::host::{Host, Result0};
use crate::work::price;

/// Ends the run with [`Trap::Budget`] if the lock does not become free: its holder has trapped, or it is no lock.
pub(super) fn spin_lock<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    let word = run.slice(args[0], 4)?.as_atomic32();
    let word = word.ok_or(Trap::Misaligned)?;
    loop {
        let taken = word.compare_exchange_weak(0, 1, Ordering::Acquire, Ordering::Relaxed);
        if taken.is_ok() {
            return Ok(0);
        }
        run.work.units(price::TRY)?;
        core::hint::spin_loop();
    }
}

pub(super) fn spin_unlock<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    let word = run.slice(args[0], 4)?.as_atomic32();
    word.ok_or(Trap::Misaligned)?.store(0, Ordering::Release);
    Ok(0)
}
