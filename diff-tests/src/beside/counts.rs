//! Tools that print numbers by name.
//!
//! Of one process both count the same. What counts for all of the system counts what the tools themselves do, too: Debian's is attached
//! before `wprobe run` and until after it, so that each of its numbers is at least as large.
//!
//! Not compared, of tools that matter: statsnoop (Debian's attaches nothing on any kernel: it looks for tracepoints `syscalls/statfs`,
//! which are called `sys_enter_statfs`), biosnoop (native eBPF refuses it).

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use loader::profile::Profile;
use serde_json::Value;

use super::{Row, What};
use crate::run::Printed;

/// Numbers by name.
pub(super) type Counts = BTreeMap<String, u64>;

/// How often the tools print that print again and again, and a little more.
pub(super) const INTERVAL: Duration = Duration::from_millis(1200);
/// Of Debian's numbers, the least part that is the workload's.
const PART: f64 = 0.1;

/// The tools.
pub(super) const TOOLS: &[Row] = &[
    Row {
        name: "syscount",
        args: &["-p", "$PID", "-T", "100"],
        set: &[("filter_pid", "$PID")],
        workload: None,
        what: What::Counts {
            theirs: named,
            ours: syscalls,
            is_contained: false,
        },
    },
    Row {
        name: "vfsstat",
        args: &["1"],
        set: &[],
        workload: None,
        what: What::Counts {
            theirs: |text| {
                let rows = columns(text, 6);
                sum(rows.flat_map(|row| {
                    VFS.iter()
                        .enumerate()
                        .map(move |(n, name)| ((*name).to_owned(), row[n + 1].parse().unwrap_or(0)))
                }))
            },
            ours: |printed| {
                let tables = printed
                    .tables
                    .iter()
                    .filter_map(|table| table["globals"]["stats"].as_array());
                sum(tables.flat_map(|stats| {
                    VFS.iter()
                        .zip(stats)
                        .map(|(name, n)| ((*name).to_owned(), n.as_u64().unwrap_or(0)))
                }))
            },
            is_contained: true,
        },
    },
    Row {
        name: "hardirqs",
        args: &["-C"],
        set: &[("do_count", "true")],
        workload: None,
        what: What::Counts {
            theirs: named,
            ours: |printed| {
                let rows = elements(printed, "infos");
                sum(rows.map(|e| {
                    (
                        text(&e["key"]["name"]),
                        e["value"]["count"].as_u64().unwrap_or(0),
                    )
                }))
            },
            is_contained: true,
        },
    },
    Row {
        name: "softirqs",
        args: &["-d"],
        set: &[("targ_dist", "true")],
        workload: None,
        what: What::Counts {
            theirs: distributions,
            ours: |printed| {
                let hists = printed.last["globals"].as_object().into_iter().flatten();
                sum(hists.map(|(path, slots)| (vector(path), total(slots))))
            },
            is_contained: true,
        },
    },
    Row {
        name: "offcputime",
        args: &["-p", "$PID"],
        set: &[("targ_tgid", "$PID")],
        workload: None,
        what: What::Counts {
            theirs: stacks,
            ours: |printed| {
                // Debian's tool leaves out who was only about to sleep.
                let slept = |e: &&Value| e["value"]["delta"] != 0;
                let rows = elements(printed, "info").filter(slept);
                let owner = |e: &Value| {
                    let comm = text(&e["value"]["comm"]);
                    format!("{comm} ({})", e["key"]["pid"])
                };
                sum(rows.map(|e| (owner(e), 1)))
            },
            is_contained: false,
        },
    },
];

/// vfsstat's columns, and the elements of its array.
const VFS: [&str; 5] = ["READ", "WRITE", "FSYNC", "OPEN", "CREATE"];

/// Compares them; what was compared. They are equal, or none of ours is above Debian's.
pub(super) fn same(theirs: &Counts, ours: &Counts, is_contained: bool) -> Result<String> {
    let all: u64 = ours.values().sum();
    ensure!(all > 0, "wprobe counted nothing");
    if !is_contained {
        ensure!(
            theirs == ours,
            "Debian's tool counted {theirs:?}, wprobe {ours:?}"
        );
        return Ok(format!("{} numbers, in all {all}", ours.len()));
    }
    for (name, count) in ours {
        let of_theirs = theirs.get(name).copied().unwrap_or(0);
        ensure!(
            *count <= of_theirs,
            "{name}: Debian's tool counted {of_theirs}, wprobe {count}"
        );
    }
    let of_theirs: u64 = theirs.values().sum();
    ensure!(
        all as f64 >= of_theirs as f64 * PART,
        "Debian's tool counted {of_theirs}, wprobe {all}"
    );
    Ok(format!(
        "{all} of the {of_theirs} that Debian's tool counted, which began earlier"
    ))
}

/// Lines of a name and a number.
fn named(text: &str) -> Counts {
    sum(columns(text, 2).map(|row| (row[0].clone(), row[1].parse().unwrap_or(0))))
}

/// Lines of `columns` columns whose last is a number.
fn columns(text: &str, columns: usize) -> impl Iterator<Item = Vec<String>> {
    let rows = text.lines().map(|line| {
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    });
    rows.filter(move |row| row.len() == columns && row[columns - 1].parse::<u64>().is_ok())
}

/// The name of the soft interrupt whose histogram is the variable `hists[N].slots`.
fn vector(path: &str) -> String {
    let number = path.split(['[', ']']).nth(1);
    let number = number.and_then(|number| number.parse::<usize>().ok());
    let profile = Profile::named("softirqs").unwrap_or_default();
    let names = profile.labels.get("hists");
    let name = names.and_then(|names| names.get(number?));
    name.map_or_else(|| path.to_owned(), String::clone)
}

fn total(slots: &Value) -> u64 {
    let slots = slots.as_array().into_iter().flatten();
    slots.filter_map(Value::as_u64).sum()
}

/// Histograms under `softirq = NAME`, by their names: how many events each has.
fn distributions(text: &str) -> Counts {
    let mut name = "";
    let rows = text.lines().filter_map(|line| {
        if let Some((_, title)) = line.split_once("softirq = ") {
            name = title.trim();
            return None;
        }
        let (_, numbers) = line.split_once("->")?;
        let count = numbers.split(':').nth(1)?.split_whitespace().next()?;
        Some((name.to_owned(), count.parse().ok()?))
    });
    sum(rows.collect::<Vec<_>>().into_iter())
}

/// Stacks, of which each ends in `- COMM (PID)`: how many a thread has.
fn stacks(text: &str) -> Counts {
    let owners = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- "));
    sum(owners.map(|owner| (owner.trim().to_owned(), 1)))
}

/// syscount's elements, by the names that Debian's tool has for the calls.
fn syscalls(printed: &Printed) -> Counts {
    let listed = Command::new("/usr/sbin/syscount").arg("--list").output();
    let listed = listed.map(|listed| String::from_utf8_lossy(&listed.stdout).into_owned());
    let listed = listed.unwrap_or_default();
    let name = |number: u64| {
        let names = listed.lines().filter_map(|line| line.split_once(':'));
        let mut names = names.map(|(n, name)| (n.trim().parse::<u64>().ok(), name.trim()));
        let found = names.find(|(n, _)| *n == Some(number));
        found.map_or_else(|| number.to_string(), |(_, name)| name.to_owned())
    };
    let rows = elements(printed, "data");
    sum(rows.map(|e| {
        (
            name(e["key"].as_u64().unwrap_or(u64::MAX)),
            e["value"]["count"].as_u64().unwrap_or(0),
        )
    }))
}

fn elements<'a>(printed: &'a Printed, map: &str) -> impl Iterator<Item = &'a Value> {
    printed.last["maps"][map].as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().trim().to_owned()
}

fn sum(numbers: impl Iterator<Item = (String, u64)>) -> Counts {
    let mut counts = Counts::new();
    for (name, number) in numbers.filter(|(_, number)| *number > 0) {
        *counts.entry(name).or_default() += number;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_debians_tool_counted_is_an_error() {
        let of = |n| Counts::from([("read".to_owned(), n)]);
        assert!(same(&of(10), &of(9), true).is_ok());
        assert!(same(&of(10), &of(9), false).is_err());
        assert!(same(&of(10), &of(11), true).is_err());
        assert!(same(&of(10), &of(0), true).is_err());
        assert!(same(&of(0), &of(0), false).is_err());
    }
}
