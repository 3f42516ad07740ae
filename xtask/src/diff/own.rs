//! An object of one's own instead of cases: `wprobe diff` in a guest on each kernel, whose results are rows as those of cases are.

use std::fs;
use std::path::Path;
use std::sync::Mutex;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::Plan;
use crate::exec::cargo_target;
use crate::kernels::Kernel;
use crate::kmod;
use crate::progress::say;
use crate::vm::Guest;

/// Differences that are shown; the report has all.
const SHOWN: usize = 12;

/// Compares `object` on each kernel; whether all guests were well to their end, and told what came of it.
pub(super) fn compare(
    plan: &Plan,
    object: &Path,
    kernels: &[Kernel],
    results: &Mutex<Vec<Value>>,
) -> Result<bool> {
    let mut healthy = true;
    for &kernel in kernels {
        let told: Mutex<Option<Value>> = Mutex::default();
        let guest = Guest::new(kernel, words(plan, object, kernel)?);
        let outcome = guest.boot(&|line, _| match verdict(line) {
            Some(verdict) => *told.lock().expect("nothing panics here") = Some(verdict),
            None => say(kernel.name(), line),
        })?;
        outcome.explain(kernel.name());
        let told = told.into_inner().expect("nothing panics here");
        // 1: something differs, which the row says.
        healthy &= told.is_some() && matches!(outcome.status, Some(0 | 1));
        healthy &= outcome.defects.is_empty();
        let row = row(object, kernel, told, outcome.status == Some(0));
        differences(&row).for_each(|line| say(kernel.name(), line));
        results.lock().expect("nothing panics here").push(row);
    }
    Ok(healthy)
}

/// What `object` is called in the report.
pub(super) fn name(object: &Path) -> String {
    let name = object.file_name().unwrap_or_default().to_string_lossy();
    name.split('.').next().unwrap_or_default().to_owned()
}

/// What the guest runs.
fn words(plan: &Plan, object: &Path, kernel: Kernel) -> Result<Vec<String>> {
    let insmod = "insmod \"$1\" && shift && exec \"$@\"";
    let wprobe = cargo_target().join("debug/wprobe").display().to_string();
    let mut words: Vec<String> = ["sh", "-c", insmod, "sh"].map(str::to_owned).into();
    words.extend([whole(&kmod::path(kernel))?, wprobe, "diff".to_owned()]);
    words.extend([whole(object)?, "--json".to_owned()]);
    let mut add = |option: &str, value: String| words.extend([option.to_owned(), value]);
    if let Some(workload) = &plan.workload {
        add("--workload", workload.clone());
    }
    for field in &plan.differ {
        add("--differ", field.clone());
    }
    if let Some(event) = &plan.event {
        add("--event", event.clone());
    }
    if let Some(rules) = &plan.rules {
        add("--rules", whole(rules)?);
    }
    if let Some(layout) = &plan.layout {
        add("--layout", whole(layout)?);
    }
    Ok(words)
}

fn whole(path: &Path) -> Result<String> {
    let whole = fs::canonicalize(path).with_context(|| path.display().to_string())?;
    Ok(whole.display().to_string())
}

/// What `wprobe diff --json` prints at the end, if `line` is that.
fn verdict(line: &str) -> Option<Value> {
    let value: Value = serde_json::from_str(line.trim()).ok()?;
    value["compared"].is_object().then_some(value)
}

/// A row of the report.
fn row(object: &Path, kernel: Kernel, told: Option<Value>, good: bool) -> Value {
    let result = match told {
        Some(told) => json!({
            "verdict": told["verdict"],
            "compared": told["compared"],
            "rules": told["rules"],
        }),
        None => json!({ "error": "it was not compared" }),
    };
    json!({
        "case": name(object),
        "own": true,
        "kernel": kernel.name(),
        "good": good,
        "result": result,
    })
}

/// The first differences of a row, a line each.
fn differences(row: &Value) -> impl Iterator<Item = String> {
    let all = row["result"]["compared"]["differences"].as_array();
    all.into_iter().flatten().take(SHOWN).map(|difference| {
        let text = |key: &str| difference[key].as_str().unwrap_or_default();
        let (place, native, wasm) = (text("place"), text("native"), text("wasm"));
        format!("{place}: native {native}, wasm {wasm}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_guest_tells_becomes_a_row() {
        assert_eq!(verdict("attached"), None);
        assert_eq!(verdict("{\"other\": 1}"), None);
        let line = "{\"name\":\"x\",\"compared\":{\"differences\":[{\"place\":\"a.b\",\"native\":\"1\",\"wasm\":\"2\"}]},\"rules\":[]}";
        let told = verdict(line);
        let row = row(Path::new("/t/x.bpf.o"), Kernel::V6_12, told, false);
        assert_eq!((&row["case"], &row["good"]), (&json!("x"), &json!(false)));
        let lines: Vec<_> = differences(&row).collect();
        assert_eq!(lines, ["a.b: native 1, wasm 2"]);
    }
}
