//! Clocks and randomness.

use super::Run;
use crate::host::{Host, Result0};

pub(super) fn ktime_get_ns<H: Host>(run: &Run<'_, H>, _: [u64; 5]) -> Result0 {
    Ok(run.host.ktime_ns())
}

pub(super) fn ktime_get_boot_ns<H: Host>(run: &Run<'_, H>, _: [u64; 5]) -> Result0 {
    Ok(run.host.boottime_ns())
}

pub(super) fn ktime_get_tai_ns<H: Host>(run: &Run<'_, H>, _: [u64; 5]) -> Result0 {
    Ok(run.host.tai_ns())
}

pub(super) fn jiffies64<H: Host>(run: &Run<'_, H>, _: [u64; 5]) -> Result0 {
    Ok(run.host.jiffies())
}

/// Finer than the kernel's, which is of the last tick: the coarse clock waits for whoever is just setting it, which in
/// a probe may be what was interrupted.
pub(super) fn ktime_get_coarse_ns<H: Host>(run: &Run<'_, H>, args: [u64; 5]) -> Result0 {
    ktime_get_ns(run, args)
}

pub(super) fn get_prandom_u32<H: Host>(run: &Run<'_, H>, _: [u64; 5]) -> Result0 {
    Ok(u64::from(run.host.random_u32()))
}
