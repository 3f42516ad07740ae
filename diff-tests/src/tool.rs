//! A real tool's object, native against wasm: `diff-tests/cases/NAME.toml` says how it is attached and what may differ,
//! `diff-tests/workloads/NAME.sh` what happens meanwhile.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use loader::attach::Choice;
use loader::device::{Device, Rate, Sampling};
use loader::diff::{Outcome, Pair, Plan, Rule, Stack};
use loader::layout::Layout;
use loader::load::Options;
use loader::open::Input;
use loader::settings::Settings;
use serde::Deserialize;

/// Events that a comparison must see, unless its case says why fewer.
pub const EVENTS: u64 = 100;
/// How often a case is run whose stacks are lost.
const TRIES: usize = 3;
/// How long a workload may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// A case file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Where the object is; by default Debian's tool of that name.
    #[serde(default)]
    pub file: Option<PathBuf>,
    /// What happens meanwhile.
    pub workload: String,
    /// Programs to attach; none meaning those that are by default.
    #[serde(default)]
    pub programs: Vec<String>,
    /// Sections for programs whose own names no place: the first whose function this kernel has.
    #[serde(default)]
    pub places: BTreeMap<String, Vec<String>>,
    /// Values of globals. `$PID` is the workload's process.
    #[serde(default)]
    pub set: BTreeMap<String, String>,
    /// Sizes of maps.
    #[serde(default)]
    pub entries: BTreeMap<String, u32>,
    /// For perf_event programs, a software event (`PERF_COUNT_SW_*`) of which each is a sample: both runtimes see
    /// the same ones, where clocks would tick apart.
    #[serde(default)]
    pub software_event: Option<u64>,
    /// Why there are fewer than [`EVENTS`], and how many there are at least.
    #[serde(default)]
    pub few: Option<Few>,
    /// Where kernel stacks are.
    #[serde(default)]
    pub stacks: Vec<Stack>,
    /// What may differ.
    #[serde(default)]
    pub differ: Vec<Rule>,
    /// Kernels on which this cannot be, and why.
    #[serde(default)]
    pub except: BTreeMap<String, String>,
}

/// Why there are few events.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Few {
    /// How many there are at least.
    pub least: u64,
    /// Why not more.
    pub reason: String,
}

impl Case {
    /// Reads the case `name`.
    pub fn read(name: &str) -> Result<Self> {
        let path = folder("cases").join(format!("{name}.toml"));
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        toml::from_str(&text).with_context(|| path.display().to_string())
    }

    /// The names of all cases.
    pub fn all() -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(folder("cases"))? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            names.extend(name.strip_suffix(".toml").map(str::to_owned));
        }
        names.sort();
        Ok(names)
    }

    /// Runs it, and compares what both runtimes saw; again, if stacks were lost.
    pub fn run(&self, device: &Device, name: &str) -> Result<Outcome> {
        for _ in 1..TRIES {
            let outcome = self.once(device, name)?;
            if outcome.equal() || !outcome.stacks_lost {
                return Ok(outcome);
            }
        }
        self.once(device, name)
    }

    fn once(&self, device: &Device, name: &str) -> Result<Outcome> {
        let tool = Path::new("/usr/sbin").join(name);
        let input = Input::open(self.file.as_deref().unwrap_or(&tool), None)?;
        let mut work = Work::prepare(&self.workload)?;
        let mut pair = Pair::attach(device, &input, self.plan(name, work.pid())?)?;
        pair.begin()?;
        work.start()?;
        while !work.is_done()? {
            pair.keep()?;
            thread::sleep(Duration::from_millis(20));
        }
        let outcome = pair.end()?;
        let least = self.few.as_ref().map_or(EVENTS, |few| few.least);
        let seen = if outcome.events > 0 {
            outcome.events
        } else {
            outcome.runs
        };
        ensure!(
            !outcome.equal() || seen >= least,
            "only {seen} events, where {least} are expected"
        );
        Ok(outcome)
    }

    fn plan(&self, name: &str, pid: u32) -> Result<Plan> {
        let mut choice = Choice {
            programs: self.programs.clone(),
            ..Choice::default()
        };
        if let Some(event) = self.software_event {
            choice.sampling = Sampling {
                event_type: 1,
                event,
                rate: Rate::Period(1),
            };
        }
        let symbols = fs::read_to_string("/proc/kallsyms")?;
        for (program, sections) in &self.places {
            let here = |section: &&String| has_place(section, &symbols);
            let section = sections.iter().find(here);
            let section = section.with_context(|| {
                format!("{program}: this kernel has none of {}", sections.join(", "))
            })?;
            choice.sections.push((program.clone(), section.clone()));
        }
        let value = |(name, value): (&String, &String)| {
            let value = if value == "$PID" {
                pid.to_string()
            } else {
                value.clone()
            };
            (name.clone(), value)
        };
        let settings = Settings {
            globals: self.set.iter().map(value).collect(),
            entries: self.entries.clone().into_iter().collect(),
        };
        Ok(Plan {
            choice,
            options: Options {
                settings,
                ..Options::default()
            },
            rules: self.differ.clone(),
            stacks: self.stacks.clone(),
            layout: Layout::shipped(name),
        })
    }
}

/// Whether the function that `section` names is in the kernel; places in files are looked for when attached.
fn has_place(section: &str, symbols: &str) -> bool {
    match section.split_once('/') {
        Some(("kprobe" | "kretprobe" | "fentry" | "fexit", function)) => symbols
            .lines()
            .filter_map(|line| line.split_whitespace().nth(2))
            .any(|symbol| symbol == function),
        _ => true,
    }
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// A workload's process, which waits until it is told to go on.
struct Work {
    child: Child,
    name: String,
    since: Instant,
}

impl Work {
    fn prepare(name: &str) -> Result<Self> {
        let script = folder("workloads").join(format!("{name}.sh"));
        ensure!(script.exists(), "no workload {}", script.display());
        let prepare = format!(
            "set -eu\ndir=$(mktemp -d)\ncd \"$dir\"\nPATH=$1:$PATH\n. {}\nprepare >&2\necho ready\nread go\nwork\n",
            script.display()
        );
        let here = std::env::current_exe()?;
        let mut child = Command::new("/bin/sh")
            .args(["-c", &prepare, "work"])
            .arg(here.parent().context("a program is in a directory")?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut ready = [0; 6];
        let stdout = child.stdout.as_mut().context("its output is a pipe")?;
        std::io::Read::read_exact(stdout, &mut ready)
            .with_context(|| format!("workload {name}: its preparation failed"))?;
        Ok(Work {
            child,
            name: name.to_owned(),
            since: Instant::now(),
        })
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    fn start(&mut self) -> Result<()> {
        self.since = Instant::now();
        let stdin = self.child.stdin.as_mut().context("its input is a pipe")?;
        Ok(stdin.write_all(b"go\n")?)
    }

    fn is_done(&mut self) -> Result<bool> {
        match self.child.try_wait()? {
            Some(status) if status.success() => Ok(true),
            Some(status) => bail!("workload {}: {status}", self.name),
            None if self.since.elapsed() > PATIENCE => bail!("workload {} does not end", self.name),
            None => Ok(false),
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_can_be_read_and_has_its_workload() {
        let names = Case::all().unwrap();
        for name in &names {
            let case = Case::read(name).unwrap();
            let script = folder("workloads").join(format!("{}.sh", case.workload));
            assert!(script.exists(), "{name}: {}", script.display());
        }
        assert!(names.len() >= 52, "{} cases", names.len());
    }
}
