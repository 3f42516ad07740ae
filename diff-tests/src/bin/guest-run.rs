//! `wprobe run` on every tool, inside a guest: `guest-run [--beside] [--runtime NAME] [--json FILE] [CASE…]`, by default on both
//! runtimes.
//!
//! Each prints at least one record of its case's workload, unless the case says why there may be none; `--beside`: what Debian's own
//! binary prints at the same time. Exit status 1 if not.

use std::fs::OpenOptions;
use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use diff_tests::tool::Case;
use diff_tests::{beside, guest, run};
use serde_json::json;

/// What is asked for.
struct Request {
    beside: bool,
    runtimes: Vec<String>,
    json: Option<String>,
    names: Vec<String>,
}

impl Request {
    fn parse(mut words: Vec<String>) -> Result<Self> {
        let beside = words.iter().position(|word| word == "--beside");
        if let Some(at) = beside {
            words.remove(at);
        }
        let runtime = option(&mut words, "--runtime")?;
        let json = option(&mut words, "--json")?;
        if words.is_empty() {
            words = match beside {
                Some(_) => beside::tools().map(|row| row.name.to_owned()).collect(),
                None => Case::all()?,
            };
        }
        let both = || vec!["kernel-wasm".to_owned(), "native".to_owned()];
        Ok(Request {
            beside: beside.is_some(),
            runtimes: runtime.map_or_else(both, |runtime| vec![runtime]),
            json,
            names: words,
        })
    }
}

/// The value behind `name`; both are taken out.
fn option(words: &mut Vec<String>, name: &str) -> Result<Option<String>> {
    let Some(at) = words.iter().position(|word| word == name) else {
        return Ok(None);
    };
    let value = words.get(at + 1).with_context(|| format!("{name} what?"))?;
    let value = value.clone();
    words.drain(at..at + 2);
    Ok(Some(value))
}

/// What a tool came to.
struct Said {
    /// In a few words.
    short: String,
    /// What else there is to say.
    more: String,
}

fn main() -> Result<ExitCode> {
    let request = Request::parse(std::env::args().skip(1).collect())?;
    guest::check()?;
    guest::insmod()?;
    let kernel = std::env::var("WPROBE_GUEST").unwrap_or_default();
    let mut bad = 0;
    for name in &request.names {
        for runtime in &request.runtimes {
            let begin = Instant::now();
            let result = match request.beside {
                true => both(name, runtime, &kernel),
                false => one(name, runtime, &kernel),
            };
            guest::check_clean()?;
            let good = result.is_ok();
            bad += usize::from(!good);
            let said = result.unwrap_or_else(|error| Said {
                short: "FAILS".to_owned(),
                more: format!(": {error:#}"),
            });
            let seconds = begin.elapsed().as_secs_f64();
            println!(
                "{name:<16} {runtime:<12} {seconds:5.1} s  {}{}",
                said.short, said.more
            );
            if let Some(path) = &request.json {
                let row = json!({
                    "tool": name, "runtime": runtime, "beside": request.beside, "good": good,
                    "short": said.short, "more": said.more,
                });
                let mut file = OpenOptions::new().append(true).create(true).open(path)?;
                writeln!(file, "{row}")?;
            }
        }
    }
    println!("{} tools, {bad} wrong", request.names.len());
    Ok(ExitCode::from(u8::from(bad > 0)))
}

/// What a tool and Debian's own binary printed alike, or why Debian's does not work here.
fn both(name: &str, runtime: &str, kernel: &str) -> Result<Said> {
    let case = Case::read(name)?;
    if let Some(why) = case.except.get(kernel).or(case.absent.get(kernel)) {
        return Ok(Said {
            short: "not compared".to_owned(),
            more: format!(": {why}"),
        });
    }
    let row = beside::tools().find(|row| row.name == name);
    let row = row.with_context(|| format!("{name} has no row in beside"))?;
    let said = beside::compare(row, runtime)?;
    let (short, example) = said.split_at(said.find(", such as").unwrap_or(said.len()));
    Ok(Said {
        short: short.to_owned(),
        more: example.to_owned(),
    })
}

/// What a tool printed, or why it may not be able to.
fn one(name: &str, runtime: &str, kernel: &str) -> Result<Said> {
    let case = Case::read(name)?;
    if let Some(why) = case.absent.get(kernel) {
        return Ok(Said {
            short: "no such place".to_owned(),
            more: format!(": {why}"),
        });
    }
    let except = case.except.get(kernel).filter(|_| runtime == "native");
    if let Some(why) = except {
        ensure!(run::run(name, runtime).is_err(), "works, although {why}");
        return Ok(Said {
            short: "native cannot".to_owned(),
            more: format!(": {why}"),
        });
    }
    let printed = run::run(name, runtime)?;
    let programs = printed.last["programs"].as_array().into_iter().flatten();
    let traps: u64 = programs.filter_map(|p| p["traps"].as_u64()).sum();
    if traps > 0 {
        let why = case.except.get(kernel).context("programs trap")?;
        return Ok(Said {
            short: format!("{traps} traps"),
            more: format!(": {why}"),
        });
    }
    let records = printed.records();
    let may_be_none = case.few.is_some_and(|few| few.least == 0);
    ensure!(records > 0 || may_be_none, "no record: {}", printed.last);
    Ok(match printed.events.first() {
        Some(event) => Said {
            short: format!("{records} events"),
            more: format!(", the first {}", event["data"])
                .chars()
                .take(200)
                .collect(),
        },
        None => Said {
            short: format!("{records} values"),
            more: String::new(),
        },
    })
}
