//! `wprobe top`: what programs did while it looked, and the timing of runs that it asks for.

use std::fs;
use std::process::{Child, Command, Stdio};

use abi::uapi::Kind;
use anyhow::{Context, Result, ensure};
use loader::device::{Device, Object, Program};
use serde_json::Value;

use super::Case;
use crate::wasm::Wasm;
use crate::workload::syscalls;
use crate::{corpus, guest};

/// The tests of this area.
pub const CASES: &[Case] = &[
    ("top::counts_and_times_while_it_runs", counts),
    ("top::the_most_expensive_is_first", order),
    ("top::a_pinned_timing_stays", pinned),
];

/// Starts it for one interval of `seconds`, and waits until it has begun.
fn start(device: &Device, seconds: u32, args: &[&str]) -> Result<Child> {
    let child = Command::new(guest::wprobe()?)
        .args(["top", "--once", "--interval", &seconds.to_string()])
        .args(args)
        .stdout(Stdio::piped())
        .spawn()?;
    guest::wait_until("`wprobe top` times", || {
        Ok(!device.ids(Kind::Timing)?.is_empty())
    })?;
    // It takes its first sample right after that, and sleeps for the rest of the interval.
    let mut sleeps = 0;
    guest::wait_until("`wprobe top` sleeps", || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", child.id()))?;
        let is_asleep = stat.rsplit(") ").next().is_some_and(|s| s.starts_with('S'));
        sleeps = if is_asleep { sleeps + 1 } else { 0 };
        Ok(sleeps == 10)
    })?;
    Ok(child)
}

fn shown(child: Child) -> Result<String> {
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

fn one(wasm: &Wasm) -> Result<Program> {
    let programs = wasm.programs()?;
    programs.first().copied().context("a program")
}

/// Runs before, during and after it: all are counted, those during it are timed, and those are what it shows.
fn counts() -> Result<()> {
    let [before, during, after] = [3, 40, 5];
    let device = guest::device()?;
    let mut wasm = Wasm::load(&device, corpus::object("rings")?, "rings", &[])?;
    wasm.attach()?;
    syscalls::getpgrp(before);
    let program = one(&wasm)?;
    ensure!(program.runs == before && program.timed == 0 && program.nanoseconds == 0);
    let mut trapping = Wasm::load(
        &device,
        corpus::hostile_module("endless_loop")?,
        "loop",
        &[],
    )?;
    let child = start(&device, 5, &["--json"])?;
    trapping.attach()?;
    syscalls::getpgrp(1);
    trapping.detach();
    syscalls::getpgrp(during - 1);
    let shown: Value = serde_json::from_str(&shown(child)?)?;
    syscalls::getpgrp(after);
    let program = one(&wasm)?;
    ensure!(
        program.runs == before + during + after,
        "{} runs",
        program.runs
    );
    ensure!(program.timed == during, "{} were timed", program.timed);
    let rows = shown["programs"].as_array().context("programs")?;
    let row = |name| {
        rows.iter()
            .find(|row| row["module"] == name)
            .context("a row")
    };
    let (row, trapped) = (row("rings")?, row("loop")?);
    ensure!(
        row["runs"] == during && row["timed"] == during && row["traps"] == 0 && row["misses"] == 0,
        "{shown}"
    );
    ensure!(
        row["nanoseconds"] == program.nanoseconds && program.nanoseconds > during * 100,
        "{shown}"
    );
    ensure!(trapped["runs"] == 1 && trapped["traps"] == 1, "{shown}");
    ensure!(device.ids(Kind::Timing)?.is_empty(), "it is still timed");
    Ok(())
}

fn order() -> Result<()> {
    let device = guest::device()?;
    let mut cheap = Wasm::load(&device, corpus::module("getpgrp")?, "cheap", &[])?;
    let mut idle = Wasm::load(&device, corpus::module("mkdir")?, "idle", &[])?;
    let mut expensive = Wasm::load(
        &device,
        corpus::hostile_module("endless_loop")?,
        "loop",
        &[],
    )?;
    for wasm in [&mut cheap, &mut idle, &mut expensive] {
        wasm.attach()?;
    }
    syscalls::mkdir(&guest::scratch("top")?, 1, 0o700)?;
    let child = start(&device, 4, &[])?;
    syscalls::getpgrp(10);
    let text = shown(child)?;
    let names = text.lines().map(|line| line.split_whitespace().nth(1));
    let names: Vec<_> = names.flatten().collect();
    ensure!(names == ["module", "loop", "cheap", "idle"], "{text}");
    let runs = text
        .lines()
        .nth(1)
        .and_then(|row| row.split_whitespace().nth(2));
    ensure!(runs.is_some_and(|runs| runs != "0"), "{text}");
    Ok(())
}

fn pinned() -> Result<()> {
    let device = guest::device()?;
    let mut wasm = Wasm::load(&device, corpus::module("getpgrp")?, "getpgrp", &[])?;
    wasm.attach()?;
    let [held, pinned] = [device.time_runs()?, device.time_runs()?];
    pinned.pin()?;
    drop(held);
    syscalls::getpgrp(4);
    pinned.unpin()?;
    drop(pinned);
    syscalls::getpgrp(2);
    let program = one(&wasm)?;
    ensure!(
        program.runs == 6 && program.timed == 4,
        "{} timed",
        program.timed
    );
    Ok(())
}
