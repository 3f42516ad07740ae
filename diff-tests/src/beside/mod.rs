//! Debian's own tool beside `wprobe run` of the same tool: what both print of one workload, row by row.
//!
//! A tool prints what its `main()` makes of the events. [`TOOLS`] says for each which of its columns are which of the fields that
//! `wprobe run --json` prints; times and latencies are left out, for the two run at other moments.

mod counts;

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::guest;
use crate::run::{Printed, Tool};
use crate::tool::{Case, workload};
use counts::Counts;

/// How long Debian's tool may take until it is attached, and until it has ended.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long it prints nothing that has nothing more to print.
const SETTLE: Duration = Duration::from_millis(300);
/// Rows that are shown of those that only one of the two printed.
const SHOWN: usize = 5;

/// What is compared of a tool.
pub struct Row {
    /// The tool.
    pub name: &'static str,
    /// Its arguments. `$PID` is the workload's process.
    args: &'static [&'static str],
    /// The same for `wprobe run`: values of variables.
    set: &'static [(&'static str, &'static str)],
    /// The workload, if not the one of the tool's case.
    workload: Option<&'static str>,
    /// What is compared.
    what: What,
}

enum What {
    /// Rows of text, of the columns that are named, by their numbers; the last may have spaces in it.
    Rows {
        columns: &'static [usize],
        /// Which of the columns says whose row it is, so that the tools' own are left out.
        comm: usize,
        ours: fn(&Value) -> Option<Vec<String>>,
    },
    /// How many events all histograms have.
    Histograms,
    /// Numbers by name.
    Counts {
        theirs: fn(&str) -> Counts,
        ours: fn(&Printed) -> Counts,
        /// Whether Debian's are at least as large; else they are equal.
        is_contained: bool,
    },
}

macro_rules! tools {
    ($($name:ident $args:expr, $columns:expr, $comm:literal, |$data:ident| $ours:expr;)*) => {
        &[$(Row {
            name: stringify!($name),
            args: &$args,
            set: &[],
            workload: None,
            what: What::Rows {
                columns: &$columns,
                comm: $comm,
                ours: |$data| Some($ours.to_vec()),
            },
        }),*]
    };
}

/// Tools that print a row an event.
const ROWS: &[Row] = tools! {
    opensnoop [], [0, 1, 2, 3, 4], 1, |e| [n(e, "pid")?, s(e, "comm")?, fd(e)?, errno(e)?, s(e, "fname")?];
    execsnoop [], [0, 1, 2, 3, 4], 0, |e| [s(e, "comm")?, n(e, "pid")?, n(e, "ppid")?, n(e, "retval")?, s(e, "args")?];
    exitsnoop [], [0, 1, 2, 3, 5], 0, |e| [s(e, "comm")?, n(e, "pid")?, n(e, "ppid")?, n(e, "tid")?, n(e, "exit_code")?];
    filelife [], [1, 2, 4], 1, |e| [n(e, "tgid")?, s(e, "task")?, s(e, "file")?];
    sigsnoop [], [1, 2, 3, 4, 5], 1, |e| [n(e, "pid")?, s(e, "comm")?, n(e, "sig")?, n(e, "tpid")?, n(e, "ret")?];
    mountsnoop [], [0, 1, 2, 3], 0, |e| [s(e, "comm")?, n(e, "pid")?, n(e, "tid")?, n(e, "mnt_ns")?];
    bindsnoop [], [0, 1, 2, 5, 6, 7], 1, |e| [n(e, "pid")?, s(e, "task")?, n(e, "ret")?, n(e, "bound_dev_if")?, n(e, "port")?, s(e, "addr")?];
    solisten [], [0, 1, 2, 3, 5, 6], 1, |e| [n(e, "pid")?, s(e, "task")?, n(e, "ret")?, n(e, "backlog")?, n(e, "port")?, s(e, "addr")?];
    tcpconnect [], [0, 1, 2, 3, 4, 5], 1, |e| [n(e, "pid")?, s(e, "task")?, ip(e, "af")?, s(e, "saddr")?, s(e, "daddr")?, n(e, "dport")?];
    tcpconnlat [], [0, 1, 2, 3, 4, 5], 1, |e| [n(e, "tgid")?, s(e, "comm")?, ip(e, "af")?, s(e, "saddr")?, s(e, "daddr")?, n(e, "dport")?];
    tcplife [], [0, 1, 2, 3, 4, 5], 1, |e| [n(e, "pid")?, s(e, "comm")?, s(e, "saddr")?, n(e, "sport")?, s(e, "daddr")?, n(e, "dport")?];
    tcptracer [], [1, 2, 3, 4, 5, 6, 7], 1, |e| [n(e, "pid")?, s(e, "task")?, ip(e, "af")?, s(e, "saddr")?, s(e, "daddr")?, n(e, "sport")?, n(e, "dport")?];
    tcpstates [], [1, 2, 3, 4, 5, 6], 1, |e| [n(e, "pid")?, s(e, "task")?, s(e, "saddr")?, n(e, "sport")?, s(e, "daddr")?, n(e, "dport")?];
    gethostlatency [], [1, 2, 4], 1, |e| [n(e, "pid")?, s(e, "comm")?, s(e, "host")?];
    bashreadline [], [1, 2], 0, |e| [n(e, "pid")?, s(e, "str")?];
};

/// One that prints a row an event, of the workload's process.
const SLOWER: &[Row] = &[Row {
    name: "runqslower",
    args: &["-p", "$PID", "1"],
    set: &[("min_us", "1"), ("targ_tgid", "$PID")],
    workload: None,
    what: What::Rows {
        columns: &[1, 2],
        comm: 0,
        ours: |e| Some(vec![s(e, "task")?, n(e, "pid")?]),
    },
}];

/// Tools that draw histograms. A process's waits and turns are the same for both, all processes' would not be.
const HISTOGRAMS: &[Row] = &[
    histogram("biolatency", &[], &[], None),
    histogram("bitesize", &[], &[], None),
    histogram("runqlat", &["-p", "$PID"], OF_TURNS, Some("turns")),
    histogram("cpudist", &["-p", "$PID"], OF_TURNS, Some("turns")),
];

const OF_TURNS: &[(&str, &str)] = &[("targ_tgid", "$PID")];

const fn histogram(
    name: &'static str,
    args: &'static [&'static str],
    set: &'static [(&'static str, &'static str)],
    workload: Option<&'static str>,
) -> Row {
    Row {
        name,
        args,
        set,
        workload,
        what: What::Histograms,
    }
}

/// Every tool whose output is compared.
pub fn tools() -> impl Iterator<Item = &'static Row> {
    ROWS.iter()
        .chain(SLOWER)
        .chain(HISTOGRAMS)
        .chain(counts::TOOLS)
}

fn s(event: &Value, field: &str) -> Option<String> {
    event[field].as_str().map(|text| text.trim_end().to_owned())
}

fn n(event: &Value, field: &str) -> Option<String> {
    event[field].as_i64().map(|n| n.to_string())
}

/// A result as tools print it: -1 for any error.
fn fd(event: &Value) -> Option<String> {
    event["ret"].as_i64().map(|ret| ret.max(-1).to_string())
}

/// The error of a result; 0 if it is none.
fn errno(event: &Value) -> Option<String> {
    event["ret"].as_i64().map(|ret| (-ret).max(0).to_string())
}

/// The version of IP of a family.
fn ip(event: &Value, field: &str) -> Option<String> {
    let version = if event[field].as_i64()? == 2 {
        "4"
    } else {
        "6"
    };
    Some(version.to_owned())
}

/// Debian's tool, attached.
struct Theirs {
    child: Child,
    printed: PathBuf,
}

impl Theirs {
    fn start(row: &Row, pid: u32) -> Result<Self> {
        let pid = pid.to_string();
        let of_workload = |&arg: &&'static str| {
            if arg == "$PID" {
                pid.clone()
            } else {
                arg.to_owned()
            }
        };
        let printed = guest::scratch("run-theirs")?.join("printed");
        let out = File::create(&printed)?;
        let child = Command::new("stdbuf")
            .arg("-oL")
            .arg(format!("/usr/sbin/{}", row.name))
            .args(row.args.iter().map(of_workload))
            .stdout(out.try_clone()?)
            .stderr(out)
            .stdin(Stdio::null())
            .spawn()?;
        let mut theirs = Theirs { child, printed };
        let end = Instant::now() + PATIENCE;
        while !theirs.is_attached()? {
            if let Some(status) = theirs.child.try_wait()? {
                bail!("{}: {status}", row.name);
            }
            ensure!(Instant::now() < end, "{} does not begin", row.name);
            thread::sleep(Duration::from_millis(10));
        }
        Ok(theirs)
    }

    /// Its titles are printed when it is attached; one that has none is attached by a link.
    fn is_attached(&self) -> Result<bool> {
        if fs::metadata(&self.printed)?.len() > 0 {
            return Ok(true);
        }
        for fd in fs::read_dir(format!("/proc/{}/fd", self.child.id()))? {
            // One that is closed meanwhile is none.
            let what = fs::read_link(fd?.path()).unwrap_or_default();
            if what.to_string_lossy().contains("bpf_link") {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Waits until it prints no more: at its end it leaves out what it has not read yet.
    fn settle(&self) -> Result<()> {
        let mut printed = None;
        loop {
            let len = fs::metadata(&self.printed)?.len();
            if printed == Some(len) {
                return Ok(());
            }
            printed = Some(len);
            thread::sleep(SETTLE);
        }
    }

    fn end(mut self) -> Result<String> {
        let pid = self.child.id() as libc::pid_t;
        // SAFETY: a signal to a child that nobody has waited for.
        ensure!(unsafe { libc::kill(pid, libc::SIGINT) } == 0, "kill");
        let end = Instant::now() + PATIENCE;
        while self.child.try_wait()?.is_none() {
            ensure!(Instant::now() < end, "Debian's tool does not end");
            thread::sleep(Duration::from_millis(10));
        }
        Ok(fs::read_to_string(&self.printed)?)
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Compares what both print of the workload of `row`'s case; what was compared.
pub fn compare(row: &Row, runtime: &str) -> Result<String> {
    let case = Case::read(row.name)?;
    // As Debian's tool runs when nobody sets anything else.
    let set = row.set.iter();
    let plain = Case {
        set: set
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect(),
        workload: row.workload.map_or(case.workload.clone(), str::to_owned),
        ..case
    };
    let mut work = workload(&plain.workload)?;
    let theirs = Theirs::start(row, work.pid())?;
    let ours = Tool::start(row.name, &plain, work.pid(), runtime)?;
    work.start()?;
    while !work.is_done()? {
        thread::sleep(Duration::from_millis(20));
    }
    let ours = ours.settle()?;
    match row.what {
        What::Rows { .. } => theirs.settle()?,
        What::Counts { .. } => thread::sleep(counts::INTERVAL),
        What::Histograms => {}
    }
    let theirs = theirs.end()?;
    match &row.what {
        What::Rows {
            columns,
            comm,
            ours: ours_of,
        } => {
            let own = [
                "wprobe",
                "stdbuf",
                row.name,
                "guest-run",
                "guest-tests",
                "sh",
                "COMM",
                "PCOMM",
            ];
            let keep = |cells: &Vec<String>| !own.contains(&cells[*comm].as_str());
            let theirs = theirs.lines().skip(1);
            let theirs = theirs.filter_map(|line| cells(line, columns)).filter(keep);
            let ours = rows(&ours, *ours_of).context("an event without a field")?;
            same_rows(theirs.collect(), ours.into_iter().filter(keep).collect())
        }
        What::Histograms => {
            let (theirs, ours) = (drawn(&theirs), counted(&ours));
            ensure!(theirs > 0, "Debian's tool counted nothing");
            ensure!(
                theirs == ours,
                "Debian's tool counted {theirs} events, wprobe {ours}"
            );
            Ok(format!("{ours} events in histograms"))
        }
        What::Counts {
            theirs: theirs_of,
            ours: ours_of,
            is_contained,
        } => counts::same(&theirs_of(&theirs), &ours_of(&ours), *is_contained)
            .with_context(|| format!("Debian's tool printed\n{theirs}")),
    }
}

fn rows(printed: &Printed, row: fn(&Value) -> Option<Vec<String>>) -> Option<Vec<Vec<String>>> {
    let events = printed.events.iter();
    events.map(|event| row(&event["data"])).collect()
}

/// The columns of a line; the last to its end.
fn cells(line: &str, columns: &[usize]) -> Option<Vec<String>> {
    let last = *columns.last()?;
    let mut rest = line;
    let mut cells = Vec::new();
    for at in 0..=last {
        rest = rest.trim_start();
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let end = if at == last { rest.len() } else { end };
        if columns.contains(&at) {
            cells.push(rest[..end].trim_end().to_owned());
        }
        rest = &rest[end..];
    }
    // What follows the last column of numbers is not compared.
    let is_number = |cell: &str| cell.starts_with(|c: char| c.is_ascii_digit() || c == '-');
    if let Some(cell) = cells.last_mut().filter(|cell| is_number(cell)) {
        cell.truncate(cell.find(char::is_whitespace).unwrap_or(cell.len()));
    }
    Some(cells)
}

fn same_rows(mut theirs: Vec<Vec<String>>, mut ours: Vec<Vec<String>>) -> Result<String> {
    theirs.sort();
    ours.sort();
    ensure!(
        !theirs.is_empty(),
        "Debian's tool printed no row of the workload"
    );
    if theirs == ours {
        return Ok(format!(
            "{} rows, such as {}",
            ours.len(),
            ours[0].join(" ")
        ));
    }
    let only = |of: &[Vec<String>], other: &[Vec<String>]| {
        let mut other = other.to_vec();
        let mut only = Vec::new();
        for row in of {
            match other.iter().position(|o| o == row) {
                Some(at) => drop(other.swap_remove(at)),
                None => only.push(row.join(" ")),
            }
        }
        let shown: Vec<_> = only
            .iter()
            .take(SHOWN)
            .map(|row| format!("\n    {row}"))
            .collect();
        format!("{}{}", only.len(), shown.concat())
    };
    bail!(
        "of Debian's {} rows and wprobe's {}\n  only Debian's: {}\n  only wprobe's: {}",
        theirs.len(),
        ours.len(),
        only(&theirs, &ours),
        only(&ours, &theirs)
    )
}

/// Events in the histograms of a text.
fn drawn(text: &str) -> u64 {
    let count = |line: &str| {
        let (_, rest) = line.split_once("->")?.1.split_once(':')?;
        rest.split('|').next()?.trim().parse::<u64>().ok()
    };
    text.lines().filter_map(count).sum()
}

/// Events in the histograms of `wprobe run --json`.
fn counted(printed: &Printed) -> u64 {
    fn sum(value: &Value) -> u64 {
        match value {
            Value::Object(fields) => {
                let slots = fields.iter().filter(|(name, _)| name.ends_with("slots"));
                let slots = slots.filter_map(|(_, slots)| slots.as_array()).flatten();
                let own: u64 = slots.filter_map(Value::as_u64).sum();
                own + fields.values().map(sum).sum::<u64>()
            }
            Value::Array(values) => values.iter().map(sum).sum(),
            _ => 0,
        }
    }
    sum(&printed.last["maps"]) + sum(&printed.last["globals"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_cut_out_of_lines() {
        assert_eq!(
            cells("12 cat  3 /a b ", &[0, 1, 3]).unwrap(),
            ["12", "cat", "/a b"]
        );
        assert_eq!(cells("12 cat 80 1.5", &[0, 2]).unwrap(), ["12", "80"]);
    }

    #[test]
    fn rows_that_only_one_has_are_an_error() {
        let row = |text: &str| vec![text.to_owned()];
        assert!(same_rows(vec![row("a"), row("b")], vec![row("b"), row("a")]).is_ok());
        let error = same_rows(vec![row("a"), row("a")], vec![row("a"), row("c")]).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("only Debian's: 1\n    a") && text.contains("only wprobe's: 1\n    c"),
            "{text}"
        );
        assert!(same_rows(vec![], vec![]).is_err());
    }

    #[test]
    fn histograms_are_summed() {
        let text = "     usecs : count\n  0 -> 1  : 3   |**|\n  2 -> 3  : 4   |***|\n";
        assert_eq!(drawn(text), 7);
    }
}
