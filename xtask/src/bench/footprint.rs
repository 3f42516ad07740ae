//! `cargo xtask bench --footprint`: memory of loaded tools, and the time until user space has the first event, as
//! `guest-bench footprint` measures them. Times are medians, in milliseconds of an emulated machine: they compare with each other.

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::Value;

use super::{Measured, Plan, guest_bench, measured, quantile, release};

/// Times that each tool is loaded on each runtime.
const ROUNDS: u32 = 7;
const QUICK: u32 = 3;

/// In the order in which they pass. `plan` finds out where programs go, and is none of libbpf's; `cold` is all of them with nothing
/// kept from an earlier load, and instead of them.
const PHASES: [&str; 7] = [
    "convert", "plan", "load", "rings", "attach", "event", "cold",
];

/// A tool on a runtime.
#[derive(Debug, Serialize)]
struct Row {
    tool: String,
    programs: u64,
    runtime: String,
    /// Memory of the kernel while one copy is attached.
    kib: f64,
    /// As much of it as the runtime says itself.
    accounted: f64,
    /// Median of each of [`PHASES`] that there is.
    phases: Vec<(&'static str, f64)>,
    /// From the object to the first event; to the attachment, where no event is waited for.
    total: f64,
    /// In parts of native eBPF's.
    of_native: f64,
}

/// Measures in a guest.
pub(super) fn run(plan: &Plan) -> Result<Measured> {
    let rounds = if plan.quick { QUICK } else { ROUNDS };
    let mut words = vec!["footprint".to_owned(), rounds.to_string()];
    words.extend(plan.names.iter().cloned());
    let report = measured(&guest_bench(plan, &release("guest-bench")?, words)?)?;
    let rows = rows(&report)?;
    Ok(Measured {
        text: table(&rows),
        json: serde_json::json!({ "kernel": report["kernel"], "rows": rows }),
    })
}

fn rows(report: &Value) -> Result<Vec<Row>> {
    let mut rows: Vec<Row> = Vec::new();
    for tool in report["tools"].as_array().context("tools")? {
        let mut native = None;
        for runtime in tool["runtimes"].as_array().context("runtimes")? {
            let mut row = row(tool, runtime)?;
            row.of_native = row.total / *native.get_or_insert(row.total);
            rows.push(row);
        }
    }
    Ok(rows)
}

fn row(tool: &Value, runtime: &Value) -> Result<Row> {
    let text = |value: &Value| Ok::<_, anyhow::Error>(value.as_str().context("a name")?.to_owned());
    let phase = |name: &&'static str| {
        let samples = runtime["milliseconds"][name].as_array()?;
        let mut samples: Vec<f64> = samples.iter().filter_map(Value::as_f64).collect();
        samples.sort_by(f64::total_cmp);
        Some((*name, quantile(&samples, 0.5)?))
    };
    let phases: Vec<_> = PHASES.iter().filter_map(phase).collect();
    let passed = phases.iter().filter(|(name, _)| *name != "cold");
    let memory = &runtime["memory"];
    Ok(Row {
        tool: text(&tool["name"])?,
        programs: tool["programs"].as_u64().context("programs")?,
        runtime: text(&runtime["runtime"])?,
        kib: memory["kib"].as_f64().context("memory")?,
        accounted: memory["accounted"].as_f64().context("memory")?,
        total: passed.map(|(_, ms)| ms).sum(),
        phases,
        of_native: 1.0,
    })
}

fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "{:<12}{:>4} {:<8}{:>9}{:>11} ",
        "tool", "", "runtime", "KiB", "accounted"
    );
    for phase in PHASES {
        text += &format!("{phase:>9}");
    }
    text += &format!("{:>9}{:>11}\n", "total", "of native");
    for row in rows {
        text += &format!(
            "{:<12}{:>4} {:<8}{:>9.0}{:>11.0} ",
            row.tool, row.programs, row.runtime, row.kib, row.accounted
        );
        for phase in PHASES {
            let found = row.phases.iter().find(|(name, _)| *name == phase);
            text += &found.map_or(" ".repeat(9), |(_, ms)| format!("{ms:>9.1}"));
        }
        text += &format!("{:>9.1}{:>11.2}\n", row.total, row.of_native);
    }
    for runtime in ["jit", "wasmi"] {
        let of_runtime = rows.iter().filter(|row| row.runtime == runtime);
        let mut ratios: Vec<f64> = of_runtime.map(|row| row.of_native).collect();
        ratios.sort_by(f64::total_cmp);
        if let (Some(median), Some(most)) = (quantile(&ratios, 0.5), ratios.last()) {
            text += &format!(
                "{runtime}: {median:.2} of native's time in the median, {most:.2} at most\n"
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_total_is_of_the_phases_that_pass() {
        let runtime = |name: &str, load: f64| {
            json!({ "runtime": name, "memory": { "kib": 1.0, "accounted": 1.0 },
                "milliseconds": { "load": [load, load + 2.0, load + 1.0], "attach": [1.0], "cold": [99.0] } })
        };
        let report = json!({ "tools": [{ "name": "t", "programs": 2,
            "runtimes": [runtime("native", 1.0), runtime("jit", 4.0)] }] });
        let rows = rows(&report).expect("a sound report");
        assert_eq!((rows[0].total, rows[1].total), (3.0, 6.0));
        assert_eq!((rows[0].of_native, rows[1].of_native), (1.0, 2.0));
        assert!(table(&rows).contains("jit: 2.00 of native's time"));
    }
}
