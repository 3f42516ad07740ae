//! What one event costs under each kind of probe, side by side in one guest.
//!
//! Under emulation the numbers compare with each other only; the machine's own speed says nothing here. Nanoseconds are spoilt by
//! whatever else the machine does. Instructions are exact: the guest's clock counts what it executes.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{Measured, Mode, Plan, guest_bench, measured, profile, quantile, release, unoptimised};
use crate::buildroot;
use crate::exec::{command, output, root};
use crate::kernels::Kernel;
use crate::progress::{say, step};

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

/// Rounds, and calls of each.
fn amount(mode: Mode, quick: bool) -> (u32, u32) {
    match (mode, quick) {
        (Mode::Wall, true) => (9, 10_000),
        (Mode::Wall, false) => (41, 50_000),
        // Samples that are alike need not be many.
        (Mode::Instructions, true) => (1, 2_000),
        (Mode::Instructions, false) => (3, 10_000),
        _ => (1, 1_000),
    }
}

/// Measures in `mode`, which is one that measures events; of a profile, nothing is left to tell.
pub(super) fn run(plan: &Plan, mode: Mode) -> Result<Option<Measured>> {
    let empty = empty_kprobe(plan.kernel)?;
    let program = match mode {
        Mode::Wall => release("guest-bench")?,
        _ => unoptimised("guest-bench")?,
    };
    let (rounds, calls) = amount(mode, plan.quick);
    let mut words = vec![
        mode.name().to_owned(),
        empty.display().to_string(),
        rounds.to_string(),
        calls.to_string(),
    ];
    words.extend(plan.names.iter().cloned());
    let mut guest = guest_bench(plan, &program, words)?;
    if mode != Mode::Wall {
        (guest.counted, guest.cpus) = (true, 1);
    }
    if mode == Mode::Profile {
        profile::run(guest)?;
        return Ok(None);
    }
    say(
        "bench",
        format_args!("{rounds} rounds of {calls} events for each kind of probe"),
    );
    let report = measured(&guest)?;
    let rows = rows(&report)?;
    let json: Vec<Value> = rows.iter().map(as_json).collect();
    Ok(Some(Measured {
        text: table(&rows, &report),
        json: json!({ "kernel": report["kernel"], "unit": report["unit"], "rows": json }),
    }))
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
        let mut make = command([buildroot::make(kernel)?]);
        make.args(["-s", "-C"])
            .arg(kernel.headers()?)
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
    for runtime in ["jit", "wasmi"] {
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
            { "name": "some", "runtime": "jit", "samples": [8.0, 11.0] },
        ] });
        let rows = rows(&report).expect("a sound report");
        assert_eq!((rows[0].median, rows[0].added), (2.0, 0.0));
        assert_eq!((rows[1].median, rows[1].added), (11.0, 9.0));
        assert_eq!(rows[2].ratio, Some(1.0));
        assert_eq!(ratios(&rows, "jit"), Some((1.0, 1.0)));
        assert!(quantile(&[], 0.5).is_none() && ratios(&rows, "wasmi").is_none());
    }
}
