//! An opensnoop of our own, on native eBPF where that works and else as wasm: `opensnoop [RUNTIME] [SECONDS]`.
//!
//! The object is that of Debian's tool; what is printed is what that tool prints.

use std::env;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use loader::probe::Probe;
use loader::runtime::Runtime;

fn main() -> Result<()> {
    let wanted = env::args().nth(1).unwrap_or_else(|| "auto".to_owned());
    let runtime = Runtime::NAMES.iter().find(|(name, _)| *name == wanted);
    let (_, runtime) = runtime.context("usage: opensnoop [auto|kernel-wasm|native] [SECONDS]")?;
    let seconds = env::args().nth(2).map(|text| text.parse()).transpose()?;

    let probe = Probe::open("opensnoop")?.runtime(*runtime);
    let mut running = probe.start()?;
    let end = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    eprintln!("{}: {}", running.runtime(), running.why());

    println!("{:<7} {:<16} {:>3} {:>3} PATH", "PID", "COMM", "FD", "ERR");
    while end.is_none_or(|end| Instant::now() < end) {
        for event in running.wait(Duration::from_secs(1))? {
            let record = &event.record;
            let ret = record.number("ret").context("ret")?;
            // The kernel's convention: a descriptor, or an error below zero.
            let (fd, error) = if ret < 0 { (-1, -ret) } else { (ret, 0) };
            println!(
                "{:<7} {:<16} {fd:>3} {error:>3} {}",
                record.number("pid").context("pid")?,
                record.text("comm").context("comm")?,
                record.text("fname").context("fname")?,
            );
        }
    }
    Ok(())
}
