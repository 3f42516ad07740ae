//! Which cache lines CPUs share in the data path, and write: what a plugin of QEMU (`xtask/bench/sharing`) has seen of every
//! access to memory while two CPUs were busy under a probe.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use serde_json::Value;

use super::profile::Symbols;
use super::{Plan, guest_bench, measured};
use crate::exec::{command, output, root};
use crate::progress::step;
use crate::vm;

/// Events that each CPU makes, and how often a line is used that is used by events.
const CALLS: u64 = 2000;
const LEAST: u64 = CALLS * 9 / 10;

/// What a probe adds to the lines that both CPUs use, and that are written.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Shared {
    what: String,
    runtime: String,
    lines: usize,
    /// The functions that write them.
    writers: BTreeSet<String>,
}

/// Looks at a guest with two CPUs.
pub(super) fn run(plan: &Plan, program: &Path) -> Result<Vec<Shared>> {
    let dir = vm::out_dir().join("bench");
    fs::create_dir_all(&dir)?;
    let seen = dir.join("shared");
    let words = vec!["sharing".to_owned(), CALLS.to_string()];
    let mut guest = guest_bench(plan, program, words)?;
    // So that timers tick as often as they would, however slow this is.
    guest.counted = true;
    let plugin = plugin()?;
    guest.plugin = Some(format!(
        "{},out={},least={LEAST}",
        plugin.display(),
        seen.display()
    ));
    let report = measured(&guest)?;
    let symbols = Symbols::read(&dir.join("symbols-shared"))?;
    shared(&report, &fs::read_to_string(&seen)?, &symbols)
}

fn plugin() -> Result<PathBuf> {
    let out = root().join("target/bench");
    fs::create_dir_all(&out)?;
    let out = out.join("libsharing.so");
    step("bench", "building a plugin for QEMU", || {
        let mut rustc = command(["rustc", "-O", "--edition", "2024", "--crate-type", "cdylib"]);
        rustc.arg(root().join("xtask/bench/sharing/src/lib.rs"));
        output(rustc.arg("-o").arg(&out))
    })?;
    Ok(out)
}

/// What each turn but the first, which has no probe, has beyond that one.
fn shared(report: &Value, seen: &str, symbols: &Symbols) -> Result<Vec<Shared>> {
    let turns = report["turns"].as_array().context("turns")?;
    let seen: Vec<Vec<(u64, u64)>> = seen
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    ensure!(turns.len() == seen.len(), "a turn was not seen");
    let bare: BTreeSet<u64> = seen
        .iter()
        .take(1)
        .flatten()
        .map(|(line, _)| *line)
        .collect();
    let rows = turns.iter().zip(seen).skip(1).map(|(turn, lines)| {
        let text = |key: &str| turn[key].as_str().unwrap_or_default().to_owned();
        let added = lines.iter().filter(|(line, _)| !bare.contains(line));
        Shared {
            what: text("what"),
            runtime: text("runtime"),
            lines: added.clone().count(),
            writers: added
                .map(|(_, writer)| symbols.at(*writer).0.to_owned())
                .collect(),
        }
    });
    Ok(rows.collect())
}

pub(super) fn table(rows: &[Shared]) -> String {
    let mut text =
        String::from("cache lines that two CPUs use at each event, and that are written\n");
    for row in rows {
        let writers: Vec<&str> = row.writers.iter().map(String::as_str).collect();
        text += &format!(
            "    {:<16}{:<8}{:>4}  {}\n",
            row.what,
            row.runtime,
            row.lines,
            writers.join(", ")
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_there_is_without_a_probe_is_left_out() {
        let turn = |runtime: &str| json!({ "what": "t", "runtime": runtime });
        let report = json!({ "turns": [turn(""), turn("native")] });
        let symbols = Symbols::parse("ffffffff80000000 T f\n");
        let (line, writer) = (u64::MAX << 6, 0xffff_ffff_8000_0004_u64);
        let seen = format!("[[64,1]]\n[[64,1],[{line},{writer}]]\n");
        let rows = shared(&report, &seen, &symbols).expect("sound");
        assert_eq!(
            (rows[0].lines, rows[0].writers.first().unwrap().as_str()),
            (1, "f")
        );
        assert!(shared(&report, "[]\n", &symbols).is_err());
    }
}
