//! Native against wasm, case by case, inside a guest: `guest-diff [--json FILE] [CASE…]`.
//!
//! Exit status 1 if anything differs that must not.

use std::fs::File;
use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use diff_tests::guest;
use diff_tests::tool::Case;
use serde_json::json;

/// Differences that are printed for a case.
const SHOWN: usize = 12;

fn main() -> Result<ExitCode> {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let mut json = None;
    if let Some(at) = args.iter().position(|arg| arg == "--json") {
        let path = args.get(at + 1).context("--json FILE")?.clone();
        json = Some(File::create(&path).with_context(|| path.clone())?);
        args.drain(at..at + 2);
    }
    guest::check()?;
    guest::insmod()?;
    let names = if args.is_empty() { Case::all()? } else { args };
    let kernel = std::env::var("WPROBE_GUEST").unwrap_or_default();
    let mut bad = 0;
    for name in &names {
        let case = Case::read(name)?;
        let begin = Instant::now();
        let (result, row) = match case.except.get(&kernel) {
            Some(why) => (true, json!({ "except": why })),
            None => match guest::device().and_then(|device| case.run(&device, name)) {
                Ok(outcome) => (outcome.equal(), json!(outcome)),
                Err(error) => (false, json!({ "error": format!("{error:#}") })),
            },
        };
        guest::check_clean()?;
        bad += usize::from(!result);
        print(name, result, &row, begin.elapsed().as_secs_f64());
        if let Some(file) = &mut json {
            writeln!(
                file,
                "{}",
                json!({ "case": name, "kernel": kernel, "equal": result, "outcome": row })
            )?;
        }
    }
    println!("{} cases, {bad} differ", names.len());
    Ok(ExitCode::from(u8::from(bad > 0)))
}

fn print(name: &str, good: bool, row: &serde_json::Value, seconds: f64) {
    let verdict = if good { "equal" } else { "DIFFERS" };
    if let Some(why) = row["except"].as_str() {
        return println!("{name:<16} not here: {why}");
    }
    if let Some(error) = row["error"].as_str() {
        return println!("{name:<16} FAILS {seconds:.1} s: {error}");
    }
    let count = |key: &str| row[key].as_u64().unwrap_or(0);
    println!(
        "{name:<16} {verdict}  {} programs, {} runs, {} events, {} fields, {} differ as allowed, {seconds:.1} s",
        row["programs"].as_array().map_or(0, Vec::len),
        count("runs"),
        count("events"),
        count("fields"),
        count("allowed"),
    );
    let differences = row["differences"].as_array().map_or(&[][..], Vec::as_slice);
    for d in differences.iter().take(SHOWN) {
        println!(
            "    {}\n        native {}\n        wasm   {}",
            d["place"], d["native"], d["wasm"]
        );
    }
    if differences.len() > SHOWN {
        println!("    and {} more", differences.len() - SHOWN);
    }
}
