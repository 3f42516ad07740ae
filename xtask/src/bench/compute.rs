//! `cargo xtask bench --compute`: what computing costs on each engine, as `diff-tests/examples/compute.rs` has measured it on this
//! machine, in parts of what it costs in the kernel. What a run costs in which nothing is computed is taken off.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Context, Result};
use serde_json::Value;

use super::quantile;
use crate::exec::{command, output, root};
use crate::progress::step;

/// The program that computes nothing.
const NOTHING: &str = "nothing";

/// Samples of each program on each engine.
const SAMPLES: u32 = 60;
const QUICK: u32 = 12;

/// Measures and prints.
pub(super) fn run(quick: bool, json: bool) -> Result<ExitCode> {
    let samples = if quick { QUICK } else { SAMPLES };
    let said = step("bench", "computing", || {
        let mut example = command(["cargo", "run", "--release", "--quiet", "--locked"]);
        example
            .args(["--package", "wprobe-diff-tests", "--example", "compute"])
            .args(["--", &samples.to_string()]);
        output(example.current_dir(root()))
    })?;
    if json {
        println!("{}", said.trim());
    } else {
        let report: Value = serde_json::from_str(&said)?;
        print!("{}", table(&report)?);
    }
    Ok(ExitCode::SUCCESS)
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

/// Of each engine, nanoseconds of a program.
fn times(program: &Value) -> Result<Vec<(String, f64)>> {
    let runtimes = program["runtimes"].as_array().context("runtimes")?;
    let row = |runtime: &Value| {
        let name = runtime["runtime"].as_str().context("a name")?;
        Ok((name.to_owned(), lowest(runtime).context("samples")?))
    };
    runtimes.iter().map(row).collect()
}

fn table(report: &Value) -> Result<String> {
    let programs = report["programs"].as_array().context("programs")?;
    let (nothing, programs): (Vec<&Value>, Vec<&Value>) = programs
        .iter()
        .partition(|program| program["name"] == NOTHING);
    let entries: BTreeMap<String, f64> = times(nothing.first().context("an empty program")?)?
        .into_iter()
        .collect();
    let mut text = String::from("program         ns in the kernel, and in parts of that\n");
    let mut logarithms: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for program in programs {
        let net = |(name, took): (String, f64)| {
            let net = took - entries.get(&name).copied().unwrap_or_default();
            (name, net)
        };
        let mut runtimes = times(program)?.into_iter().map(net);
        let (_, kernel) = runtimes.next().context("the kernel's time")?;
        text += &format!(
            "{:<12}{kernel:>8.0}",
            program["name"].as_str().unwrap_or("?")
        );
        for (name, took) in runtimes {
            text += &format!("  {name} {:.2}", took / kernel);
            let all = logarithms.entry(name).or_default();
            all.push((took / kernel).ln());
        }
        text.push('\n');
    }
    text += "a run of nothing, in ns:";
    for (name, took) in &entries {
        text += &format!("  {name} {took:.0}");
    }
    text.push('\n');
    for (name, all) in logarithms {
        let mean = (all.iter().sum::<f64>() / all.len() as f64).exp();
        text += &format!("{name}: {mean:.2} of the kernel in the geometric mean\n");
    }
    let translation = &report["translation"];
    let number = |key: &str| translation[key].as_f64().unwrap_or_default();
    text += &format!(
        "translation: {:.2} million instructions a second; {:.2} bytes of wasm for one of an object\n",
        number("instructions") / number("seconds") / 1e6,
        number("wasm") / number("object")
    );
    Ok(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_run_of_nothing_costs_is_taken_off() {
        let program = |name: &str, kernel: f64, aot: f64| {
            json!({ "name": name, "runtimes": [
                { "runtime": "kernel", "samples": [kernel + 1.0, kernel] },
                { "runtime": "aot", "samples": [aot] },
            ] })
        };
        let report = json!({
            "programs": [program("nothing", 10.0, 40.0), program("a", 110.0, 240.0), program("b", 110.0, 90.0)],
            "translation": { "instructions": 1, "seconds": 1.0, "wasm": 1, "object": 2 },
        });
        let text = table(&report).expect("a sound report");
        assert!(
            text.contains("aot 2.00") && text.contains("aot 0.50"),
            "{text}"
        );
        assert!(text.contains("aot: 1.00 of the kernel"), "{text}");
    }
}
