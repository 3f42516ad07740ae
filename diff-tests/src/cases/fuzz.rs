//! The device under requests that nobody means ([`crate::workload::fuzz`]), from processes that are killed in the midst of them.
//!
//! `FUZZ_SECONDS=N` and `FUZZ_SEED=S` choose how long, and which.

use std::env;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use abi::uapi::{self, Kind};
use anyhow::{Context, Result, ensure};
use loader::device::Device;

use super::Case;
use super::limits::Parameter;
use super::plain::{self, Plain};
use crate::guest;
use crate::random::Random;
use crate::settings::number;
use crate::workload::syscalls;

/// The tests of this area.
pub const CASES: &[Case] = &[("fuzz::requests_that_nobody_means", fuzz)];

/// Processes at the same time.
const PROCESSES: usize = 2;

/// A process that makes requests; dropped, it is killed.
struct Fuzzer(Child);

impl Drop for Fuzzer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        self.0.wait().expect("a killed process ends");
    }
}

fn fuzz() -> Result<()> {
    let seconds = number("FUZZ_SECONDS", 20)?;
    let mut random = Random(number("FUZZ_SEED", 1)?);
    // The guest's memory is for more than this.
    let _limits = [
        Parameter::set("total_memory", 256 << 20)?,
        Parameter::set("total_host", 256 << 20)?,
        Parameter::set("max_fuel", 1 << 16)?,
        Parameter::set("default_fuel", 1 << 14)?,
    ];
    let device = guest::device()?;
    let work = env::current_exe()?.with_file_name("guest-work");
    let mut start = || {
        let seed = random.word() >> 1;
        let child = Command::new(&work)
            .args(["fuzz", &seed.to_string()])
            .stdout(Stdio::null())
            .spawn();
        let life = Duration::from_millis(200 + random.below(2000) as u64);
        Ok::<_, anyhow::Error>((Fuzzer(child.context("guest-work")?), Instant::now() + life))
    };
    let mut fuzzers = (0..PROCESSES)
        .map(|_| start())
        .collect::<Result<Vec<_>>>()?;
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut killed = 0;
    while Instant::now() < end {
        thread::sleep(Duration::from_millis(20));
        for fuzzer in &mut fuzzers {
            ensure!(
                fuzzer.0.0.try_wait()?.is_none(),
                "a fuzzer has ended by itself"
            );
            if Instant::now() > fuzzer.1 {
                *fuzzer = start()?;
                killed += 1;
            }
        }
    }
    drop(fuzzers);
    let about = device.about()?;
    println!(
        "{killed} processes killed, {} allocations",
        about.allocations
    );
    ensure!(about.allocations > 1000, "they have done nothing");
    unpin(&device)?;
    // And the device works.
    let plain = Plain::new(&device)?;
    syscalls::getpgrp(5);
    ensure!(plain.runs()? == 5);
    Ok(())
}

/// Takes every pin back.
fn unpin(device: &Device) -> Result<()> {
    for kind in [
        Kind::Sandbox,
        Kind::Map,
        Kind::Module,
        Kind::Link,
        Kind::Ring,
        Kind::Timing,
    ] {
        for id in device.ids(kind)? {
            plain::unpin(device, kind, id);
        }
    }
    ensure!(plain::request(device, uapi::FLUSH, 0) == 0);
    Ok(())
}
