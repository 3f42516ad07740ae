//! The benchmark's guest side: nanoseconds of one lseek(2) under each kind of probe, as JSON.
//!
//! `guest-bench EMPTY_KPROBE_KO ROUNDS CALLS`. The kinds take turns within a round, each round in another order, so that
//! whatever else the machine does meets all of them alike. Both counters must be exact, or nothing is printed.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use diff_tests::oracle::{bpftool, native::Native};
use diff_tests::wasm::Wasm;
use diff_tests::{corpus, guest};
use serde_json::json;

const OBJECT: &str = "lseek";
const PROGRAM: &str = "lseek_entry";
const MAP: &str = "counts";

/// Calls before the measured ones.
const WARM: u64 = 500;
/// Calls of one sample: few, so that what interrupts a sample spoils few others.
const SAMPLE: u64 = 1000;

/// What is attached while it is measured.
trait Probe {
    fn name(&self) -> &'static str;
    fn attach(&mut self) -> Result<()>;
    fn detach(&mut self) -> Result<()>;
}

struct Nothing;

impl Probe for Nothing {
    fn name(&self) -> &'static str {
        "no probe"
    }
    fn attach(&mut self) -> Result<()> {
        Ok(())
    }
    fn detach(&mut self) -> Result<()> {
        Ok(())
    }
}

/// A kernel module that has the probe as long as it is loaded.
struct Empty {
    module: String,
}

impl Probe for Empty {
    fn name(&self) -> &'static str {
        "empty C kprobe"
    }
    fn attach(&mut self) -> Result<()> {
        guest::succeed(Command::new("insmod").arg(&self.module)).map(drop)
    }
    fn detach(&mut self) -> Result<()> {
        guest::succeed(Command::new("rmmod").arg("empty_kprobe")).map(drop)
    }
}

impl Probe for Native {
    fn name(&self) -> &'static str {
        "native eBPF kprobe"
    }
    fn attach(&mut self) -> Result<()> {
        self.attach()
    }
    fn detach(&mut self) -> Result<()> {
        self.detach();
        Ok(())
    }
}

impl Probe for Wasm {
    fn name(&self) -> &'static str {
        "wasm kprobe"
    }
    fn attach(&mut self) -> Result<()> {
        self.attach()
    }
    fn detach(&mut self) -> Result<()> {
        self.detach();
        Ok(())
    }
}

fn main() -> Result<()> {
    let usage = "usage: guest-bench EMPTY_KPROBE_KO ROUNDS CALLS";
    let mut arguments = std::env::args().skip(1);
    let module = arguments.next().context(usage)?;
    let rounds: usize = arguments.next().context(usage)?.parse().context(usage)?;
    let calls: u64 = arguments.next().context(usage)?.parse().context(usage)?;
    ensure!(
        calls.is_multiple_of(SAMPLE),
        "CALLS is a multiple of {SAMPLE}"
    );
    guest::check()?;
    guest::insmod()?;
    let object = corpus::object(OBJECT)?;
    let mut native = Native::load(object, OBJECT, &[PROGRAM])?;
    let mut wasm = Wasm::load(&guest::device()?, object, OBJECT, &[PROGRAM])?;
    let samples = {
        let probes: &mut [&mut dyn Probe] =
            &mut [&mut Nothing, &mut Empty { module }, &mut native, &mut wasm];
        measure(probes, rounds, calls)?
    };
    let expected = rounds as u64 * (WARM + calls);
    let counted = [bpftool::map_dump(native.map_id(MAP)?)?, wasm.dump(MAP)?];
    for elements in counted {
        let (_, value) = elements.first().context("the counter has a value")?;
        let count = u64::from_ne_bytes(value.as_slice().try_into()?);
        ensure!(count == expected, "counted {count} of {expected} calls");
    }
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let report =
        json!({ "kernel": kernel.trim(), "rounds": rounds, "calls": calls, "probes": samples });
    println!("{report}");
    Ok(())
}

/// Nanoseconds per call, a row a probe, a column a sample.
fn measure(
    probes: &mut [&mut dyn Probe],
    rounds: usize,
    calls: u64,
) -> Result<Vec<serde_json::Value>> {
    let file = File::open("/proc/self/exe")?;
    let mut samples = vec![Vec::new(); probes.len()];
    for round in 0..rounds {
        for turn in 0..probes.len() {
            let which = (round + turn) % probes.len();
            probes[which].attach()?;
            seek(&file, WARM);
            for _ in 0..calls / SAMPLE {
                let start = Instant::now();
                seek(&file, SAMPLE);
                samples[which].push(start.elapsed().as_nanos() as f64 / SAMPLE as f64);
            }
            probes[which].detach()?;
        }
        eprintln!("round {} of {rounds}", round + 1);
    }
    let row = |(probe, samples): (&&mut dyn Probe, Vec<f64>)| json!({ "name": probe.name(), "ns": samples });
    Ok(probes.iter().zip(samples).map(row).collect())
}

fn seek(file: &File, calls: u64) {
    for _ in 0..calls {
        // SAFETY: takes no pointer; the descriptor is open.
        unsafe { libc::syscall(libc::SYS_lseek, file.as_raw_fd(), 0, libc::SEEK_CUR) };
    }
}
