//! The benchmark's guest side: what `cargo xtask bench` measures in a guest, as JSON.
//!
//! `guest-bench wall|instructions|profile EMPTY_KPROBE_KO ROUNDS CALLS [PROGRAM…]`: one lseek(2) under each kind of probe ([`event`]).
//! `guest-bench footprint ROUNDS [TOOL…]`: memory of loaded tools, and how soon they see something ([`footprint`]).
//! `guest-bench scaling|cpus full|quick`: what an event costs as things grow ([`scaling`]).
//! `guest-bench rates ROUNDS CALLS`: events a second on one CPU and on all ([`scaling`]).
//! `guest-bench sharing CALLS`: events on all CPUs, for QEMU to look at ([`sharing`]).

mod event;
mod footprint;
mod runtime;
mod scaling;
mod sharing;

use std::fs;

use anyhow::{Context, Result, bail};
use diff_tests::guest;

use event::Unit;

const USAGE: &str =
    "usage: guest-bench wall|instructions|profile EMPTY_KPROBE_KO ROUNDS CALLS [PROGRAM…]
       guest-bench footprint ROUNDS [TOOL…]
       guest-bench scaling|cpus full|quick
       guest-bench rates ROUNDS CALLS
       guest-bench sharing CALLS";

/// All programs on all runtimes are open at once, which is more files than a guest's limit.
fn more_files() -> Result<()> {
    let limit = libc::rlimit {
        rlim_cur: 16_384,
        rlim_max: 16_384,
    };
    // SAFETY: it reads a structure that lives as long as the call.
    let done = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) };
    anyhow::ensure!(done == 0, std::io::Error::last_os_error());
    Ok(())
}

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    guest::check()?;
    more_files()?;
    guest::insmod()?;
    let mut report = match words.as_slice() {
        ["profile", module, _, _, only @ ..] => return event::profile(module, only),
        [
            unit @ ("wall" | "instructions"),
            module,
            rounds,
            calls,
            only @ ..,
        ] => {
            let unit = match *unit {
                "wall" => Unit::Nanoseconds,
                _ => Unit::Instructions,
            };
            event::run(module, unit, number(rounds)?, number(calls)?, only)?
        }
        ["footprint", rounds, tools @ ..] => footprint::run(number(rounds)?, tools)?,
        [mode @ ("scaling" | "cpus"), amount] => scaling::run(*mode == "cpus", *amount == "quick")?,
        ["rates", rounds, calls] => scaling::rates(number(rounds)? as usize, number(calls)?)?,
        ["sharing", calls] => sharing::run(number(calls)?)?,
        _ => bail!("{USAGE}"),
    };
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    report["kernel"] = kernel.trim().into();
    println!("{report}");
    Ok(())
}

fn number(word: &str) -> Result<u64> {
    word.parse().context(USAGE)
}
