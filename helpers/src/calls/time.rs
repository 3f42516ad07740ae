//! Clocks and randomness.

use crate::host::Host;

pub(super) fn ktime_get_ns<H: Host>(host: &H) -> u64 {
    host.ktime_ns()
}

pub(super) fn ktime_get_boot_ns<H: Host>(host: &H) -> u64 {
    host.boottime_ns()
}

pub(super) fn ktime_get_tai_ns<H: Host>(host: &H) -> u64 {
    host.tai_ns()
}

pub(super) fn jiffies64<H: Host>(host: &H) -> u64 {
    host.jiffies()
}

/// Finer than the kernel's, which is of the last tick: the coarse clock waits for whoever is just setting it, which in
/// a probe may be what was interrupted.
pub(super) fn ktime_get_coarse_ns<H: Host>(host: &H) -> u64 {
    ktime_get_ns(host)
}

pub(super) fn get_prandom_u32<H: Host>(host: &H) -> u64 {
    host.random_u32().into()
}
