//! `cargo xtask bench --compute`: what computing costs on each engine, as `diff-tests/examples/compute.rs` has measured it on this
//! machine, in parts of what it costs in the kernel. What a run costs in which nothing is computed is taken off.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::Value;

use super::{Measured, quantile, release};
use crate::exec::{command, output};
use crate::progress::step;

/// The program that computes nothing.
const NOTHING: &str = "nothing";

/// Samples of each program on each engine.
const SAMPLES: u32 = 60;
const QUICK: u32 = 12;

/// Measures, and takes apart what was said.
pub(super) fn run(quick: bool) -> Result<Measured> {
    let samples = if quick { QUICK } else { SAMPLES };
    let example = release("examples/compute")?;
    let said = step("bench", "computing", || {
        output(command([&example]).arg(samples.to_string()))
    })?;
    let report: Value = serde_json::from_str(&said)?;
    let report = Report::new(&report)?;
    Ok(Measured {
        text: report.text(),
        json: serde_json::to_value(&report)?,
    })
}

/// The lowest sample: what the program takes where nothing comes between.
fn lowest(runtime: &Value) -> Option<f64> {
    let mut samples: Vec<f64> = runtime["samples"]
        .as_array()?
        .iter()
        .filter_map(Value::as_f64)
        .collect();
    samples.sort_by(f64::total_cmp);
    quantile(&samples, 0.0)
}

/// Of each engine, nanoseconds of a program; the kernel comes first.
fn times(program: &Value) -> Result<Vec<(String, f64)>> {
    let runtimes = program["runtimes"].as_array().context("runtimes")?;
    let row = |runtime: &Value| {
        let name = runtime["runtime"].as_str().context("a name")?;
        Ok((name.to_owned(), lowest(runtime).context("samples")?))
    };
    runtimes.iter().map(row).collect()
}

/// A program's nanoseconds on each engine, without those of a run in which nothing is computed.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    kernel: f64,
    /// Of the others, in parts of the kernel's.
    others: Vec<(String, f64)>,
}

#[derive(Debug, Serialize)]
struct Report {
    rows: Vec<Row>,
    /// A run of nothing, in nanoseconds.
    nothing: Vec<(String, f64)>,
    /// Geometric means.
    means: BTreeMap<String, f64>,
    /// Million instructions a second.
    translation: f64,
    /// Bytes of wasm for one of an object.
    size: f64,
}

impl Report {
    fn new(report: &Value) -> Result<Self> {
        let programs = report["programs"].as_array().context("programs")?;
        let (nothing, programs): (Vec<&Value>, Vec<&Value>) = programs
            .iter()
            .partition(|program| program["name"] == NOTHING);
        let nothing = times(nothing.first().context("an empty program")?)?;
        let rows = programs.into_iter().map(|program| row(program, &nothing));
        let rows: Vec<Row> = rows.collect::<Result<_>>()?;
        let translation = &report["translation"];
        let number = |key: &str| translation[key].as_f64().unwrap_or_default();
        Ok(Self {
            means: means(&rows),
            rows,
            nothing,
            translation: number("instructions") / number("seconds") / 1e6,
            size: number("wasm") / number("object"),
        })
    }

    fn text(&self) -> String {
        let mut text = String::from("program         ns in the kernel, and in parts of that\n");
        for row in &self.rows {
            text += &format!("{:<12}{:>8.0}", row.name, row.kernel);
            for (name, part) in &row.others {
                text += &format!("  {name} {part:.2}");
            }
            text.push('\n');
        }
        text += "a run of nothing, in ns:";
        for (name, took) in &self.nothing {
            text += &format!("  {name} {took:.0}");
        }
        text.push('\n');
        for (name, mean) in &self.means {
            text += &format!("{name}: {mean:.2} of the kernel in the geometric mean\n");
        }
        let Self {
            translation, size, ..
        } = self;
        text += &format!(
            "translation: {translation:.2} million instructions a second; {size:.2} bytes of wasm for one of an object\n"
        );
        text
    }
}

fn row(program: &Value, nothing: &[(String, f64)]) -> Result<Row> {
    let net = |(name, took): (String, f64)| {
        let entry = nothing.iter().find(|(other, _)| *other == name);
        let entry = entry.map_or(0.0, |(_, took)| *took);
        (name, took - entry)
    };
    let mut runtimes = times(program)?.into_iter().map(net);
    let (_, kernel) = runtimes.next().context("the kernel's time")?;
    Ok(Row {
        name: program["name"].as_str().context("a name")?.to_owned(),
        kernel,
        others: runtimes.map(|(name, took)| (name, took / kernel)).collect(),
    })
}

fn means(rows: &[Row]) -> BTreeMap<String, f64> {
    let mut logarithms: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for (name, part) in rows.iter().flat_map(|row| &row.others) {
        logarithms.entry(name.clone()).or_default().push(part.ln());
    }
    let mean = |all: Vec<f64>| (all.iter().sum::<f64>() / all.len() as f64).exp();
    let means = logarithms.into_iter().map(|(name, all)| (name, mean(all)));
    means.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_run_of_nothing_costs_is_taken_off() {
        let program = |name: &str, kernel: f64, jit: f64| {
            json!({ "name": name, "runtimes": [
                { "runtime": "kernel", "samples": [kernel + 1.0, kernel] },
                { "runtime": "jit", "samples": [jit] },
            ] })
        };
        let report = json!({
            "programs": [program("nothing", 10.0, 40.0), program("a", 110.0, 240.0), program("b", 110.0, 90.0)],
            "translation": { "instructions": 1, "seconds": 1.0, "wasm": 1, "object": 2 },
        });
        let text = Report::new(&report).expect("a sound report").text();
        assert!(
            text.contains("jit 2.00") && text.contains("jit 0.50"),
            "{text}"
        );
        assert!(text.contains("jit: 1.00 of the kernel"), "{text}");
    }
}
