//! Turns in which all CPUs make events under a probe, for QEMU's plugin `xtask/bench/sharing` to look at.

use std::ptr;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::runtime::RUNTIMES;
use super::scaling::{Subject, on_all};

/// Where a store begins a turn, and where one ends it.
const BEGIN: usize = 0x5ca1_ab1e_0000;
const END: usize = 0x5ca1_ab1e_0100;

/// Tells the plugin.
struct Signal;

impl Signal {
    fn new() -> Result<Self> {
        let (protection, flags) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE,
        );
        // SAFETY: a new mapping; it replaces nothing.
        let at = unsafe { libc::mmap(BEGIN as *mut _, 4096, protection, flags, -1, 0) };
        ensure!(at as usize == BEGIN, "no memory at {BEGIN:#x}");
        Ok(Self)
    }

    fn store(&self, to: usize) {
        // SAFETY: within the page that was mapped.
        unsafe { ptr::write_volatile(to as *mut u8, 1) };
    }
}

/// `calls` on each CPU, without a probe and under each.
pub(crate) fn run(calls: u64) -> Result<Value> {
    let signal = Signal::new()?;
    let turn = |what: &str, runtime: &str| {
        on_all(calls / 10)?;
        signal.store(BEGIN);
        on_all(calls)?;
        signal.store(END);
        eprintln!("{what} {runtime}");
        anyhow::Ok(json!({ "what": what, "runtime": runtime }))
    };
    let mut turns = vec![turn("", "")?];
    for (what, subject) in Subject::shared() {
        for runtime in RUNTIMES {
            let loaded = subject.start(runtime)?;
            turns.push(turn(what, runtime.name())?);
            drop(loaded);
        }
    }
    std::fs::copy("/proc/kallsyms", "/tmp/out/bench/symbols-shared")?;
    Ok(json!({ "turns": turns }))
}
