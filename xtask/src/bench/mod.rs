//! `cargo xtask bench`: what one event costs under each kind of probe, side by side in one guest.
//!
//! Under emulation the numbers compare with each other only; the machine's own speed says nothing here. Nanoseconds
//! ([`Mode::Wall`]) are spoilt by whatever else the machine does. [`Mode::Instructions`] is exact: the guest's clock counts what it
//! executes. [`profile`] tells which functions they are in.

mod compute;
mod profile;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::exec::{command, output, root};
use crate::kernels::Kernel;
use crate::progress::{say, step};
use crate::vm::{self, Guest};
use crate::{demo, kmod, setup};

/// What is told of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Its nanoseconds.
    Wall,
    /// Its instructions.
    Instructions,
    /// Its instructions, by function.
    Profile,
    /// Nothing of one: what computing costs, in this process.
    Compute,
}

impl Mode {
    /// What `guest-bench` calls it.
    fn name(self) -> &'static str {
        match self {
            Mode::Wall => "wall",
            Mode::Instructions => "instructions",
            Mode::Profile => "profile",
            Mode::Compute => "compute",
        }
    }

    /// Rounds, and calls of each.
    fn amount(self, quick: bool) -> (u32, u32) {
        match (self, quick) {
            (Mode::Wall, true) => (9, 10_000),
            (Mode::Wall, false) => (41, 50_000),
            // Samples that are alike need not be many.
            (Mode::Instructions, true) => (1, 2_000),
            (Mode::Instructions, false) => (3, 10_000),
            (Mode::Profile | Mode::Compute, _) => (1, 1_000),
        }
    }
}

/// What to measure.
#[derive(Debug)]
pub(crate) struct Plan {
    /// A minute instead of several.
    pub(crate) quick: bool,
    /// The kernel.
    pub(crate) kernel: Kernel,
    /// JSON on stdout instead of a table.
    pub(crate) json: bool,
    pub(crate) mode: Mode,
    /// Names of programs; empty: all.
    pub(crate) programs: Vec<String>,
}

/// One kind of probe, measured.
#[derive(Debug, PartialEq)]
struct Row {
    name: String,
    /// Empty where there is none.
    runtime: String,
    lowest: f64,
    median: f64,
    /// First and third quartile.
    spread: (f64, f64),
    /// Over no probe, of the medians.
    added: f64,
    /// What is added, in parts of what the same program adds under native eBPF.
    ratio: Option<f64>,
}

/// The task itself.
pub(crate) fn run(plan: &Plan) -> Result<ExitCode> {
    if plan.mode == Mode::Compute {
        return compute::run(plan.quick, plan.json);
    }
    setup::ensure(&[plan.kernel])?;
    let module = kmod::build(plan.kernel)?;
    let empty = empty_kprobe(plan.kernel)?;
    let program = demo::build("wprobe-diff-tests", "guest-bench")?;
    let (rounds, calls) = plan.mode.amount(plan.quick);
    let mut words = vm::with_module(&module, &program);
    words.extend([
        plan.mode.name().to_owned(),
        empty.display().to_string(),
        rounds.to_string(),
        calls.to_string(),
    ]);
    words.extend(plan.programs.iter().cloned());
    let mut guest = Guest::new(plan.kernel, words);
    if plan.mode != Mode::Wall {
        (guest.counted, guest.cpus) = (true, 1);
    }
    if plan.mode == Mode::Profile {
        return profile::run(guest);
    }
    say(
        "bench",
        format_args!("{rounds} rounds of {calls} events for each kind of probe"),
    );
    let said = Mutex::new(String::new());
    let outcome = guest.boot(&|line, is_err| {
        if is_err {
            say("guest", line);
        } else {
            said.lock().expect("nothing panics here").push_str(line);
        }
    })?;
    outcome.explain("bench");
    if !outcome.is_good() {
        bail!("nothing was measured");
    }
    let report: Value = serde_json::from_str(&said.into_inner().expect("nothing panics here"))?;
    let rows = rows(&report)?;
    if plan.json {
        let summary: Vec<Value> = rows.iter().map(as_json).collect();
        println!("{}", json!({ "report": report, "summary": summary }));
    } else {
        print!("{}", table(&rows, &report));
    }
    Ok(ExitCode::SUCCESS)
}

/// The module with the kprobe that does nothing.
fn empty_kprobe(kernel: Kernel) -> Result<PathBuf> {
    let source = root().join("xtask/bench");
    let out = root().join("target/bench").join(kernel.name());
    step("bench", "building the empty kprobe", || {
        fs::create_dir_all(&out)?;
        for file in ["Kbuild", "empty_kprobe.c"] {
            fs::copy(source.join(file), out.join(file))?;
        }
        let mut make = command(["make", "-s", "-C"]);
        make.arg(kernel.headers()?)
            .arg(format!("M={}", out.display()))
            .arg("modules");
        output(&mut make)
    })?;
    Ok(out.join("empty_kprobe.ko"))
}

fn rows(report: &Value) -> Result<Vec<Row>> {
    let mut rows: Vec<Row> = Vec::new();
    for probe in report["probes"]
        .as_array()
        .context("the report has probes")?
    {
        let samples = probe["samples"].as_array().context("a probe has samples")?;
        let mut ns: Vec<f64> = samples.iter().filter_map(Value::as_f64).collect();
        ns.sort_by(f64::total_cmp);
        let median = quantile(&ns, 0.5).context("a probe has a sample")?;
        let spread = (
            quantile(&ns, 0.25).unwrap_or(median),
            quantile(&ns, 0.75).unwrap_or(median),
        );
        let base = rows.first().map_or(median, |row| row.median);
        let name = probe["name"]
            .as_str()
            .context("a probe has a name")?
            .to_owned();
        let runtime = probe["runtime"].as_str().unwrap_or_default().to_owned();
        let added = median - base;
        let native = rows
            .iter()
            .find(|row| row.name == name && row.runtime == "native");
        let ratio = native.map(|native| added / native.added);
        rows.push(Row {
            name,
            runtime,
            lowest: ns[0],
            median,
            spread,
            added,
            ratio,
        });
    }
    Ok(rows)
}

/// The sample at that part of the way through `sorted`.
fn quantile(sorted: &[f64], part: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    sorted.get((last as f64 * part).round() as usize).copied()
}

fn table(rows: &[Row], report: &Value) -> String {
    let mut text = format!(
        "{} per lseek(2), Linux {}, QEMU TCG, {} rounds of {} calls\n{:<22}{:<9}{:>8}{:>8}{:>16}{:>8}{:>11}\n",
        report["unit"].as_str().unwrap_or("?"),
        report["kernel"].as_str().unwrap_or("?"),
        report["rounds"],
        report["calls"],
        "program",
        "runtime",
        "lowest",
        "median",
        "quartiles",
        "added",
        "of native"
    );
    for row in rows {
        let spread = format!("{:.0} to {:.0}", row.spread.0, row.spread.1);
        let ratio = row.ratio.map_or(String::new(), |r| format!("{r:.2}"));
        text += &format!(
            "{:<22}{:<9}{:>8.0}{:>8.0}{spread:>16}{:>8.0}{ratio:>11}\n",
            row.name, row.runtime, row.lowest, row.median, row.added
        );
    }
    for runtime in ["wasmi", "aot"] {
        if let Some((median, most)) = ratios(rows, runtime) {
            text += &format!("{runtime}: {median:.2} of native in the median, {most:.2} at most\n");
        }
    }
    text
}

/// The median and the largest of a runtime's ratios.
fn ratios(rows: &[Row], runtime: &str) -> Option<(f64, f64)> {
    let of_runtime = rows.iter().filter(|row| row.runtime == runtime);
    let mut ratios: Vec<f64> = of_runtime.filter_map(|row| row.ratio).collect();
    ratios.sort_by(f64::total_cmp);
    Some((quantile(&ratios, 0.5)?, *ratios.last()?))
}

fn as_json(row: &Row) -> Value {
    json!({ "name": row.name, "runtime": row.runtime, "of_native": row.ratio, "lowest": row.lowest, "median": row.median, "quartiles": [row.spread.0, row.spread.1], "added": row.added })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_what_a_probe_adds() {
        let report = json!({ "probes": [
            { "name": "none", "samples": [3.0, 1.0, 2.0] },
            { "name": "some", "runtime": "native", "samples": [10.0, 12.0, 11.0] },
            { "name": "some", "runtime": "aot", "samples": [8.0, 11.0] },
        ] });
        let rows = rows(&report).expect("a sound report");
        assert_eq!((rows[0].median, rows[0].added), (2.0, 0.0));
        assert_eq!((rows[1].median, rows[1].added), (11.0, 9.0));
        assert_eq!(rows[2].ratio, Some(1.0));
        assert_eq!(ratios(&rows, "aot"), Some((1.0, 1.0)));
        assert!(quantile(&[], 0.5).is_none() && ratios(&rows, "wasmi").is_none());
    }
}
