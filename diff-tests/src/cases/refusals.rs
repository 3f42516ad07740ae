//! What the kernel module takes from the kernel's own structures, and asks the kernel for, is looked at first.

use std::fs::{self, OpenOptions};
use std::io::Write;

use abi::map_types::MapType;
use abi::uapi::AttachPoint;
use anyhow::{Context, Result, bail, ensure};
use loader::device::{LinkSpec, Rate, Sampling};

use super::Case;
use super::plain::{self, Plain};
use crate::guest;

/// The tests of this area.
pub const CASES: &[Case] = &[
    ("refusals::events_that_root_has_made", events),
    ("refusals::more_samples_than_the_kernel_allows", samples),
    ("refusals::places_outside_a_file", places),
    ("refusals::maps_beyond_all_memory", sizes),
];

const TRACING: &str = "/sys/kernel/tracing";

/// An event that root has made by a line in a file of tracefs; dropped, it is gone.
struct Made {
    file: String,
    remove: String,
}

impl Made {
    fn new(file: &str, line: &str, name: &str) -> Result<Self> {
        let file = format!("{TRACING}/{file}");
        append(&file, line).with_context(|| format!("{file}: {line}"))?;
        Ok(Made {
            file,
            remove: format!("-:{name}"),
        })
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        append(&self.file, &self.remove).expect("the event can be removed");
    }
}

fn append(file: &str, line: &str) -> std::io::Result<()> {
    OpenOptions::new()
        .append(true)
        .open(file)?
        .write_all(format!("{line}\n").as_bytes())
}

/// Checks that a link is refused, in words that `expected` are among.
fn refused(plain: &Plain, spec: &LinkSpec, expected: &str) -> Result<()> {
    match plain.module.attach(spec) {
        Ok(_) => bail!("{}: not refused", spec.target),
        Err(error) => {
            let error = error.to_string();
            ensure!(error.contains(expected), "{}: {error}", spec.target);
            Ok(())
        }
    }
}

/// A class's name says nothing of what an event's data is: they name theirs `syscalls` as well.
fn events() -> Result<()> {
    let device = guest::device()?;
    let plain = Plain::new(&device)?;
    let event = |target: &str| plain::at(target, AttachPoint::Tracepoint);
    let expected = "no record that a program could get";
    for system in ["syscalls", "mine"] {
        let kprobe = format!("p:{system}/wprobe_k vfs_read");
        let _kprobe = Made::new("kprobe_events", &kprobe, &format!("{system}/wprobe_k"))?;
        let uprobe = format!("p:{system}/wprobe_u /bin/busybox:0x1000");
        let _uprobe = Made::new("uprobe_events", &uprobe, &format!("{system}/wprobe_u"))?;
        let eprobe = format!("e:{system}/wprobe_e sched/sched_switch pid=$next_pid");
        let _eprobe = Made::new("dynamic_events", &eprobe, &format!("{system}/wprobe_e"))?;
        for name in ["wprobe_k", "wprobe_u", "wprobe_e"] {
            refused(&plain, &event(&format!("{system}/{name}")), expected)?;
        }
    }
    let _synthetic = Made::new(
        "dynamic_events",
        "s:synthetic/wprobe_s pid_t pid",
        "synthetic/wprobe_s",
    )?;
    refused(&plain, &event("synthetic/wprobe_s"), expected)?;
    refused(&plain, &event("syscalls/nosuch"), "no such tracepoint")?;
    // And real ones are taken.
    for real in [
        "syscalls/sys_enter_getppid",
        "syscalls/sys_exit_getppid",
        "sched/sched_switch",
    ] {
        plain.module.attach(&event(real))?;
    }
    Ok(())
}

fn samples() -> Result<()> {
    let device = guest::device()?;
    let plain = Plain::new(&device)?;
    let clock = |rate| LinkSpec {
        sampling: Some(Sampling {
            rate,
            ..Sampling::default()
        }),
        ..plain::at("", AttachPoint::PerfEvent)
    };
    let limit = fs::read_to_string("/proc/sys/kernel/perf_event_max_sample_rate")?;
    let limit: u64 = limit.trim().parse()?;
    let expected = "kernel.perf_event_max_sample_rate";
    for rate in [
        Rate::Frequency(limit + 1),
        Rate::Frequency(u64::MAX),
        Rate::Period(1),
        Rate::Period(1_000_000_000 / limit - 1),
        Rate::Period(1 << 63),
    ] {
        refused(&plain, &clock(rate), expected).with_context(|| format!("{rate:?}"))?;
    }
    plain.module.attach(&clock(Rate::Frequency(99)))?;
    plain.module.attach(&clock(Rate::Period(10_000_000)))?;
    Ok(())
}

fn places() -> Result<()> {
    let device = guest::device()?;
    let plain = Plain::new(&device)?;
    for (offset, semaphore) in [(1 << 40, 0), (1 << 63, 0), (u64::MAX, 0), (0x1000, 1 << 63)] {
        let spec = LinkSpec {
            offset,
            semaphore,
            ..plain::at("/bin/busybox", AttachPoint::Uprobe)
        };
        refused(&plain, &spec, "no instruction can be probed there")?;
    }
    Ok(())
}

/// Sizes that the kernel's allocator complains about in its log, which fails the run.
fn sizes() -> Result<()> {
    let device = guest::device()?;
    let sandbox = device.create_sandbox("sizes", 200 << 20)?;
    const MOST: u32 = 4 << 20;
    for (map_type, sizes) in [
        (MapType::LpmTrie, (4 + 256, 8, MOST - 1)),
        (MapType::Hash, (512, 8, MOST)),
        (MapType::LruHash, (512, 8, MOST)),
    ] {
        match plain::create(&sandbox, map_type, sizes) {
            Ok(_) => bail!("{map_type:?}: not refused"),
            Err(error) => {
                let error = error.to_string();
                ensure!(error.contains("limit max_host: "), "{map_type:?}: {error}");
            }
        }
    }
    Ok(())
}
