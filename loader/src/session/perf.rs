//! Perf events for native programs, by perf_event_open(2).

use std::io;

use crate::device::{Rate, Sampling};

/// The start of the kernel's `struct perf_event_attr` (`PERF_ATTR_SIZE_VER0`).
#[derive(Default)]
#[repr(C)]
struct Attr {
    event_type: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    bp_type: u32,
    config1: u64,
}

/// `freq`: `sample_period` is a frequency.
const FREQUENCY: u64 = 1 << 10;

/// Opens an event of `cpu`, whichever process runs; whoever attaches a program to the descriptor owns it.
pub fn open(cpu: usize, sampling: Sampling) -> io::Result<i32> {
    let (sample_period, flags) = match sampling.rate {
        Rate::Frequency(rate) => (rate, FREQUENCY),
        Rate::Period(period) => (period, 0),
    };
    let attr = Attr {
        event_type: sampling.event_type,
        size: size_of::<Attr>() as u32,
        config: sampling.event,
        sample_period,
        flags,
        ..Attr::default()
    };
    // SAFETY: the attributes live through the call, and say their own size.
    let fd = unsafe { libc::syscall(libc::SYS_perf_event_open, &attr, -1, cpu, -1, 0) };
    match fd {
        0.. => Ok(fd as i32),
        _ => Err(io::Error::last_os_error()),
    }
}
