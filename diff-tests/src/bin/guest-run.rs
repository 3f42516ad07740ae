//! `wprobe run` on every tool, inside a guest: `guest-run [--beside] [--runtime NAME] [CASE…]`, by default on both runtimes.
//!
//! Each prints at least one record of its case's workload, unless the case says why there may be none; `--beside`: what Debian's own
//! binary prints at the same time. Exit status 1 if not.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use diff_tests::tool::Case;
use diff_tests::{beside, guest, run};

fn main() -> Result<ExitCode> {
    let mut names: Vec<String> = std::env::args().skip(1).collect();
    let mut runtimes = vec!["kernel-wasm".to_owned(), "native".to_owned()];
    if let Some(at) = names.iter().position(|arg| arg == "--runtime") {
        runtimes = vec![names.get(at + 1).context("--runtime NAME")?.clone()];
        names.drain(at..at + 2);
    }
    let beside = names.iter().position(|arg| arg == "--beside");
    if let Some(at) = beside {
        names.remove(at);
    }
    guest::check()?;
    guest::insmod()?;
    if names.is_empty() {
        names = match beside {
            Some(_) => beside::tools().map(|row| row.name.to_owned()).collect(),
            None => Case::all()?,
        };
    }
    let kernel = std::env::var("WPROBE_GUEST").unwrap_or_default();
    let mut bad = 0;
    for name in &names {
        for runtime in &runtimes {
            let begin = Instant::now();
            let result = match beside {
                Some(_) => both(name, runtime, &kernel),
                None => one(name, runtime, &kernel),
            };
            guest::check_clean()?;
            bad += usize::from(result.is_err());
            let said = result.unwrap_or_else(|error| format!("FAILS: {error:#}"));
            let seconds = begin.elapsed().as_secs_f64();
            println!("{name:<16} {runtime:<12} {seconds:5.1} s  {said}");
        }
    }
    println!("{} tools, {bad} wrong", names.len());
    Ok(ExitCode::from(u8::from(bad > 0)))
}

/// What a tool and Debian's own binary printed alike, or why Debian's does not work here.
fn both(name: &str, runtime: &str, kernel: &str) -> Result<String> {
    let case = Case::read(name)?;
    if let Some(why) = case.except.get(kernel).or(case.absent.get(kernel)) {
        return Ok(format!("not compared: {why}"));
    }
    let row = beside::tools().find(|row| row.name == name);
    beside::compare(
        row.with_context(|| format!("{name} has no row in beside"))?,
        runtime,
    )
}

/// What a tool printed, or why it may not be able to.
fn one(name: &str, runtime: &str, kernel: &str) -> Result<String> {
    let case = Case::read(name)?;
    if let Some(why) = case.absent.get(kernel) {
        return Ok(format!("absent: {why}"));
    }
    let except = case.except.get(kernel).filter(|_| runtime == "native");
    if let Some(why) = except {
        ensure!(run::run(name, runtime).is_err(), "works, although {why}");
        return Ok(format!("refused: {why}"));
    }
    let printed = run::run(name, runtime)?;
    let records = printed.records();
    let may_be_none = case.few.is_some_and(|few| few.least == 0);
    ensure!(records > 0 || may_be_none, "no record: {}", printed.last);
    let kind = match printed.events.first() {
        Some(event) => format!("events, the first {}", event["data"]),
        None => "elements and variables".to_owned(),
    };
    let kind: String = kind.chars().take(200).collect();
    Ok(format!("{records} {kind}"))
}
