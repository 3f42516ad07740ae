//! Clocks and randomness.

use super::Run;
use crate::host::{Host, Result0};

pub(super) fn ktime_get_ns<H: Host>(run: &Run<'_, H>, _: [u64; 5]) -> Result0 {
    Ok(run.host.ktime_ns())
}

pub(super) fn ktime_get_boot_ns<H: Host>(run: &Run<'_, H>, _: [u64; 5]) -> Result0 {
    Ok(run.host.boottime_ns())
}

pub(super) fn get_prandom_u32<H: Host>(run: &Run<'_, H>, _: [u64; 5]) -> Result0 {
    Ok(u64::from(run.host.random_u32()))
}
