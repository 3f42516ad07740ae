//! Modules made to do harm: refused, or trapped and counted; and the next module works.

use anyhow::{Context, Result, bail, ensure};
use loader::device::text;
use loader::resident::trap;

use super::Case;
use crate::wasm::Wasm;
use crate::workload::syscalls;
use crate::{corpus, guest};

/// The tests of this area.
pub const CASES: &[Case] = &[
    ("hostile::endless_loop_runs_out_of_budget", || {
        traps("endless_loop", "budget")
    }),
    ("hostile::access_out_of_bounds_traps", || {
        traps("out_of_bounds", "out of bounds")
    }),
    ("hostile::endless_recursion_traps", || {
        traps("recursion", "call stack")
    }),
    ("hostile::unreachable_traps", || {
        traps("unreachable", "unreachable")
    }),
    ("hostile::two_gigabytes_are_refused", || {
        refused("huge_memory")
    }),
    ("hostile::floating_point_is_refused", || refused("float")),
    ("hostile::endless_start_function_is_refused", || {
        refused("start_loop")
    }),
    ("hostile::unknown_import_is_refused", || {
        refused("unknown_import")
    }),
    ("hostile::missing_memory_is_refused", || {
        refused("no_memory")
    }),
    ("hostile::unknown_symbol_is_refused", || {
        refused("wrong_symbol")
    }),
    ("hostile::memory_growth_is_refused", growth),
];

/// Runs of a module that traps.
const RUNS: u64 = 20;

/// Every run of module `name` ends in the trap that says `why`, and the probed path never notices.
fn traps(name: &str, why: &str) -> Result<()> {
    let device = guest::device()?;
    let mut wasm = Wasm::load(&device, corpus::module(name)?, name, &[])?;
    wasm.attach()?;
    syscalls::getpgrp(RUNS);
    let programs = wasm.programs()?;
    let program = programs
        .iter()
        .find(|p| text(&p.name).starts_with("kprobe:"));
    let program = program.context("its program")?;
    let (runs, traps) = (program.runs, program.traps);
    ensure!(
        runs == RUNS && traps == RUNS,
        "{RUNS} calls, {runs} runs, {traps} traps"
    );
    let said = trap(None, program.last_trap, program.last_site);
    ensure!(
        said.contains(why),
        "trapped with {said:?} instead of {why:?}"
    );
    drop(wasm);
    works()
}

/// Module `name` is not loaded, or not attached, with a reason; nothing stays behind.
fn refused(name: &str) -> Result<()> {
    let device = guest::device()?;
    let result =
        Wasm::load(&device, corpus::module(name)?, name, &[]).and_then(|mut wasm| wasm.attach());
    match result {
        Ok(()) => bail!("{name} was accepted"),
        Err(error) => println!("{name}: {error:#}"),
    }
    works()
}

/// Growing memory at a hit fails inside the module (`memory.grow` is -1) or traps; memory never grows.
fn growth() -> Result<()> {
    let device = guest::device()?;
    let mut wasm = Wasm::load(&device, corpus::module("memory_grow")?, "memory_grow", &[])?;
    wasm.attach()?;
    syscalls::getpgrp(RUNS);
    let runs: u64 = wasm.programs()?.iter().map(|p| p.runs).sum();
    ensure!(runs == RUNS, "{RUNS} calls, {runs} runs");
    drop(wasm);
    works()
}

/// A harmless module loads and counts.
fn works() -> Result<()> {
    let device = guest::device()?;
    let mut wasm = Wasm::load(&device, corpus::module("fork")?, "fork", &[])?;
    wasm.attach()?;
    syscalls::fork(3)?;
    let report = wasm.report()?;
    ensure!(
        report == "3",
        "the next module reports {report:?} after 3 forks"
    );
    Ok(())
}
