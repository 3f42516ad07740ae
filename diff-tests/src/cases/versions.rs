//! `wprobe run` on newer versions of tools, under the tools' names: what it knows of Debian's versions does not hold for them. Each
//! run ends with the first right row.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Case;
use crate::run::Tool;
use crate::{corpus, guest, tool};

/// The tests of this area.
pub const CASES: &[Case] = &[("versions::newer_tools_print_right_rows", newer)];

/// A newer version of a tool: `corpus/src/NAME_newer.bpf.c`.
struct Newer {
    tool: &'static str,
    /// What it sees; the path is one that may be made.
    work: fn(&Path) -> Result<()>,
    /// Whether an event is what it saw of that.
    is_row: fn(&Value, &Path) -> bool,
}

const NEWER: &[Newer] = &[
    Newer {
        tool: "opensnoop",
        work: |path| {
            let _ = fs::read(path);
            Ok(())
        },
        is_row: |row, path| {
            let opened = row["flags"] == libc::O_CLOEXEC && row["fname"] == text(path);
            opened && is_ours(row) && row["ret"] == -libc::ENOENT && row["uid"] == 0
        },
    },
    Newer {
        tool: "statsnoop",
        work: |path| {
            let _ = fs::metadata(path);
            Ok(())
        },
        is_row: |row, path| {
            let asked = row["pathname"] == text(path) && row["ret"] == -libc::ENOENT;
            asked && is_ours(row) && row["uid"] == 0 && is_some(&row["ts_ns"])
        },
    },
    Newer {
        tool: "filelife",
        work: |path| {
            fs::write(path, "")?;
            Ok(fs::remove_file(path)?)
        },
        is_row: |row, path| {
            let ours = row["tgid"] == std::process::id() && row["task"] == "guest-tests";
            ours && row["file"] == text(path) && is_some(&row["delta_ns"]) && is_some(&row["tid"])
        },
    },
    Newer {
        tool: "exitsnoop",
        work: |_| {
            Command::new("/bin/sh").args(["-c", "exit 7"]).status()?;
            Ok(())
        },
        is_row: |row, _| {
            let ended = row["comm"] == "sh" && row["exit_code"] == 7 && row["sig"] == 0;
            ended && row["exit_time"].as_u64() > row["start_time"].as_u64() && is_some(&row["pid"])
        },
    },
    Newer {
        tool: "execsnoop",
        work: |_| {
            Command::new("/bin/true").status()?;
            Ok(())
        },
        is_row: |row, _| {
            let ran = row["comm"] == "true" && row["args"] == "/bin/true" && row["retval"] == 0;
            ran && row["args_count"] == 1 && row["args_size"] == 10 && is_some(&row["start"])
        },
    },
    Newer {
        tool: "biosnoop",
        work: |_| {
            let mut work = tool::workload("block")?;
            work.start()?;
            while !work.is_done()? {
                thread::sleep(Duration::from_millis(20));
            }
            Ok(())
        },
        is_row: |row, _| {
            let written = row["comm"] == "dd" && row["len"] == 4096 && is_some(&row["pid"]);
            let places = row["sector"].as_u64().is_some_and(|sector| sector % 8 == 0);
            written && places && row["ts"].as_u64() > row["delta"].as_u64()
        },
    },
];

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn is_ours(row: &Value) -> bool {
    row["pid"] == std::process::id() && row["comm"] == "guest-tests"
}

fn is_some(number: &Value) -> bool {
    number.as_u64().is_some_and(|number| number > 0)
}

fn newer() -> Result<()> {
    let folder = guest::scratch("newer")?;
    let made = folder.join("made");
    for newer in NEWER {
        let name = format!("{}_newer", newer.tool);
        // What events are is found out alike for both runtimes, so each has one of the two.
        for (object, source, runtime) in [
            (corpus::object(&name)?, "debug", "native"),
            (corpus::stripped(&name)?, "code", "kernel-wasm"),
        ] {
            let path = folder.join(format!("{}.bpf.o", newer.tool));
            fs::write(&path, object)?;
            let about = || format!("{name} by {source} on {runtime}");
            newer
                .run(&path, &made, source, runtime)
                .with_context(about)?;
        }
    }
    Ok(fs::remove_dir_all(folder)?)
}

impl Newer {
    fn run(&self, object: &Path, made: &Path, source: &str, runtime: &str) -> Result<()> {
        let mut command = Command::new(guest::wprobe()?);
        command.arg("run").arg(object);
        command.args(["--runtime", runtime, "--json"]);
        let tool = Tool::launch(self.tool, command)?;
        let is_right = |row: &Value| (self.is_row)(&row["data"], made);
        let found = guest::wait_until("a right row", || {
            (self.work)(made)?;
            Ok(tool.events()?.iter().any(is_right))
        });
        let printed = tool.end()?;
        let first = printed.events.first().map(Value::to_string);
        found.with_context(|| {
            let (count, first) = (printed.events.len(), first.unwrap_or_default());
            format!("of {count} rows none is right, as {first}")
        })?;
        let types = &printed.last["events"][0];
        ensure!(types["source"] == source, "{types}");
        ensure!(printed.runtime == runtime, "on {}", printed.runtime);
        Ok(())
    }
}
