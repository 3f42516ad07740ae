//! A real tool's object, native against wasm: `diff-tests/cases/NAME.toml` says how it is attached and what may differ,
//! `diff-tests/workloads/NAME.sh` what happens meanwhile.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use loader::attach::Choice;
use loader::device::{Device, Rate, Sampling};
use loader::diff::{Outcome, Pair, Plan, Rule, Stack, Workload};
use loader::load::Options;
use loader::open::Input;
use loader::profile::Profile;
use loader::session::wasm::Wasm;
use loader::settings::Settings;
use serde::Deserialize;

/// Events that a comparison must see, unless its case says why fewer.
pub const EVENTS: u64 = 100;
/// How often a case is run whose stacks are lost, or of which a runtime left runs out.
const TRIES: usize = 3;

/// A case file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Where the object is, from the repository's root; by default Debian's tool of the case's name.
    #[serde(default)]
    pub file: Option<PathBuf>,
    /// What happens meanwhile.
    pub workload: String,
    /// Programs to attach; none meaning those that the tool does (`loader/tools.toml`).
    #[serde(default)]
    pub programs: Vec<String>,
    /// Sections for programs, where the tool's own places are not meant: the first whose function this kernel has.
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
    /// Kernels on which native eBPF cannot do this, and why. The wasm runtime must be able to.
    #[serde(default)]
    pub except: BTreeMap<String, String>,
    /// Kernels that have none of the places, and why.
    #[serde(default)]
    pub absent: BTreeMap<String, String>,
}

/// What became of a case.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Both runtimes ran; what they saw.
    Compared(Outcome),
    /// Native eBPF cannot run this here, as expected, and why; the wasm runtime loads and attaches it.
    Except(String),
    /// This kernel has none of the places, as expected, and why.
    Absent(String),
    /// Both runtimes loaded and attached it, and nothing came by, as expected, and why.
    Idle(String),
}

impl Verdict {
    /// Whether nothing is wrong.
    pub fn is_good(&self) -> bool {
        match self {
            Verdict::Compared(outcome) => outcome.equal(),
            Verdict::Except(_) | Verdict::Absent(_) | Verdict::Idle(_) => true,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Except(why) => write!(f, "native cannot: {why}"),
            Verdict::Absent(why) => write!(f, "absent: {why}"),
            Verdict::Idle(why) => write!(f, "not exercised: {why}"),
            Verdict::Compared(outcome) => outcome.fmt(f),
        }
    }
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

    /// Runs it on a kernel of this name, and compares what both runtimes saw: of its workload, and of more until there
    /// were `events`.
    pub fn run(&self, device: &Device, name: &str, kernel: &str, events: u64) -> Result<Verdict> {
        if let Some(why) = self.absent.get(kernel) {
            ensure!(
                self.plan(name, 0).is_err(),
                "the kernel has the places: {why}"
            );
            return Ok(Verdict::Absent(why.clone()));
        }
        let Some(why) = self.except.get(kernel) else {
            let outcome = self.compare(device, name, events)?;
            let few = self.few.as_ref().filter(|few| few.least == 0);
            return Ok(match (outcome.verdict(), few) {
                (loader::diff::Verdict::NotExercised, Some(few)) => {
                    Verdict::Idle(few.reason.clone())
                }
                _ => Verdict::Compared(outcome),
            });
        };
        self.alone(device, name)?;
        ensure!(
            self.once(device, name, events).is_err(),
            "expected not to be possible here, and it is: {why}"
        );
        Ok(Verdict::Except(why.clone()))
    }

    /// Compares native eBPF with the wasm runtime, where that knows the kernel's types by a file of values only.
    pub fn run_by(&self, device: &Device, name: &str, values: &Path) -> Result<Outcome> {
        let input = self.input(name)?;
        let mut work = workload(&self.workload)?;
        let mut plan = self.plan(name, work.pid())?;
        plan.options.values = Some(values.to_owned());
        let mut pair = Pair::attach(device, &input, plan)?;
        pair.watch_for(0, &mut work, || workload(&self.workload))
    }

    /// Loads and attaches it as wasm only.
    fn alone(&self, device: &Device, name: &str) -> Result<()> {
        let plan = self.plan(name, std::process::id())?;
        let mut wasm = Wasm::open(device, self.input(name)?, &plan.choice, &plan.options)?;
        wasm.attach()
    }

    /// Compares; again, if it differs and stacks were lost or a runtime left runs out.
    fn compare(&self, device: &Device, name: &str, events: u64) -> Result<Outcome> {
        for _ in 1..TRIES {
            let outcome = self.once(device, name, events)?;
            let excused = outcome.stacks_lost || outcome.misses() > 0 || outcome.uneven() > 0;
            if outcome.equal() || !excused {
                return Ok(outcome);
            }
            println!("{name}, to be repeated: {outcome}");
        }
        self.once(device, name, events)
    }

    fn file(&self, name: &str) -> PathBuf {
        match &self.file {
            Some(file) => folder("..").join(file),
            None => Path::new("/usr/sbin").join(name),
        }
    }

    /// SHA-256 of its object.
    pub fn digest(&self, name: &str) -> Result<String> {
        Ok(self.input(name)?.digest())
    }

    fn input(&self, name: &str) -> Result<Input> {
        Ok(Input::open(&self.file(name), None)?)
    }

    fn once(&self, device: &Device, name: &str, events: u64) -> Result<Outcome> {
        let input = self.input(name)?;
        let mut work = workload(&self.workload)?;
        let mut pair = Pair::attach(device, &input, self.plan(name, work.pid())?)?;
        let outcome = pair.watch_for(events, &mut work, || workload(&self.workload))?;
        let least = self.few.as_ref().map_or(EVENTS, |few| few.least);
        let seen = outcome.seen();
        ensure!(
            !outcome.equal() || seen >= least,
            "only {seen} events, where {least} are expected"
        );
        Ok(outcome)
    }

    fn plan(&self, name: &str, pid: u32) -> Result<Plan> {
        let mut tool = Profile::of(&self.input(name)?);
        let mut choice = self.choice()?;
        let mut settings = self.settings(pid);
        tool.consider(&settings);
        tool.complete(&mut choice)?;
        tool.preset(&mut settings);
        Ok(Plan {
            choice,
            options: Options {
                settings,
                ..Options::default()
            },
            rules: self.differ.clone(),
            stacks: self.stacks.clone(),
            ..Plan::default()
        })
    }

    /// What it attaches that its tool does not by itself.
    pub fn choice(&self) -> Result<Choice> {
        let mut choice = Choice {
            programs: self.programs.clone(),
            ..Choice::default()
        };
        if let Some(event) = self.software_event {
            choice.sampling = Some(Sampling {
                event_type: 1,
                event,
                rate: Rate::Period(1),
            });
        }
        let own = Profile {
            places: self.places.clone(),
            ..Profile::default()
        };
        own.complete(&mut choice)?;
        Ok(choice)
    }

    /// What it sets that its tool does not by itself; `pid` is the workload's.
    pub fn settings(&self, pid: u32) -> Settings {
        let value = |(name, value): (&String, &String)| {
            let value = if value == "$PID" {
                pid.to_string()
            } else {
                value.clone()
            };
            (name.clone(), value)
        };
        Settings {
            globals: self.set.iter().map(value).collect(),
            entries: self.entries.clone().into_iter().collect(),
        }
    }
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The process of `diff-tests/workloads/NAME.sh`, in a directory of its own.
pub fn workload(name: &str) -> Result<Workload> {
    let script = folder("workloads").join(format!("{name}.sh"));
    ensure!(script.exists(), "no workload {}", script.display());
    let prepare = format!(
        "set -eu\ndir=$(mktemp -d)\ncd \"$dir\"\nPATH=$1:$PATH\n. {}\nprepare >&2\necho ready\nread go\nwork\n",
        script.display()
    );
    let here = std::env::current_exe()?;
    let mut shell = Command::new("/bin/sh");
    shell
        .args(["-c", &prepare, "work"])
        .arg(here.parent().context("a program is in a directory")?);
    Workload::prepare(name, shell)
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
            // What need not see anything says why; its verdict is "not exercised", never "equal".
            let few = case.few.filter(|few| few.least == 0);
            assert!(few.is_none_or(|few| !few.reason.is_empty()), "{name}");
        }
        assert!(names.len() >= 52, "{} cases", names.len());
    }
}
