//! Native against wasm, case by case, inside a guest: `guest-diff [--json FILE] [--events N] [CASE…]`.
//!
//! With `--events` workloads are repeated until their tool has seen so many. Exit status 1 if anything differs that must not, or was not compared.
//! The file gets a line for each case, also for one that cannot be read.

use std::fs::File;
use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use diff_tests::guest;
use diff_tests::tool::{Case, Verdict};
use serde_json::{Value, json};

fn main() -> Result<ExitCode> {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let path = option(&mut args, "--json")?;
    let mut json = match &path {
        Some(path) => Some(File::create(path).with_context(|| path.clone())?),
        None => None,
    };
    let events = option(&mut args, "--events")?.map_or(Ok(0), |number| number.parse())?;
    guest::check()?;
    guest::insmod()?;
    let names = if args.is_empty() { Case::all()? } else { args };
    let kernel = std::env::var("WPROBE_GUEST").unwrap_or_default();
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mut bad = 0;
    for name in &names {
        let begin = Instant::now();
        let case = Case::read(name);
        let verdict = match &case {
            Ok(case) => guest::device().and_then(|device| {
                let verdict = case.run(&device, name, &kernel, events)?;
                guest::check_clean()?;
                Ok(verdict)
            }),
            Err(error) => Err(anyhow!("{error:#}")),
        };
        let good = verdict.as_ref().is_ok_and(Verdict::is_good);
        bad += usize::from(!good);
        let said = match &verdict {
            Ok(verdict) => verdict.to_string(),
            Err(error) => format!("FAILS: {error:#}"),
        };
        println!("{name:<16} {:5.1} s  {said}", begin.elapsed().as_secs_f64());
        if let Some(file) = &mut json {
            let digest = case.as_ref().ok().and_then(|case| case.digest(name).ok());
            let row = json!({
                "case": name,
                "kernel": kernel,
                "release": release.trim(),
                "digest": digest,
                "good": good,
                "result": row(case.as_ref().ok(), &verdict),
            });
            writeln!(file, "{row}")?;
        }
    }
    println!("{} cases, {bad} wrong", names.len());
    Ok(ExitCode::from(u8::from(bad > 0)))
}

/// Takes `name` and its value out of `args`.
fn option(args: &mut Vec<String>, name: &str) -> Result<Option<String>> {
    let Some(at) = args.iter().position(|arg| arg == name) else {
        return Ok(None);
    };
    let value = args.get(at + 1).with_context(|| format!("{name} VALUE"))?;
    let value = value.clone();
    args.drain(at..at + 2);
    Ok(Some(value))
}

fn row(case: Option<&Case>, verdict: &Result<Verdict>) -> Value {
    match verdict {
        Ok(Verdict::Compared(outcome)) => json!({
            "compared": outcome,
            "verdict": outcome.verdict().to_string(),
            "rules": case.map(|case| &case.differ),
        }),
        Ok(Verdict::Except(why)) => json!({ "except": why }),
        Ok(Verdict::Absent(why)) => json!({ "absent": why }),
        Ok(Verdict::Idle(why)) => json!({ "idle": why }),
        Err(error) => json!({ "error": format!("{error:#}") }),
    }
}
