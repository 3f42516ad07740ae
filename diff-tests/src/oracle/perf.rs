//! Perf events for native programs, by perf_event_open(2).

use std::io;

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

/// `PERF_TYPE_SOFTWARE`; its event 0 is `PERF_COUNT_SW_CPU_CLOCK`.
const SOFTWARE: u32 = 1;

/// Opens the clock of `cpu`, sampled every `period` nanoseconds; whoever attaches a program to the descriptor owns it.
pub fn open_cpu_clock(cpu: usize, period: u64) -> io::Result<i32> {
    let attr = Attr {
        event_type: SOFTWARE,
        size: size_of::<Attr>() as u32,
        sample_period: period,
        ..Attr::default()
    };
    // SAFETY: the attributes live through the call, and say their own size.
    let fd = unsafe { libc::syscall(libc::SYS_perf_event_open, &attr, -1, cpu, -1, 0) };
    match fd {
        0.. => Ok(fd as i32),
        _ => Err(io::Error::last_os_error()),
    }
}
