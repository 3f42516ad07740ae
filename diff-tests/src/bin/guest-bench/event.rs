//! One lseek(2) under each kind of probe: nanoseconds, or instructions.
//!
//! Instructions are what the time stamp counter counts where QEMU runs with `-icount shift=0`. The kinds take turns within a round,
//! each round in another order, so that whatever else the machine does meets all of them alike. All counters must be exact, or nothing
//! is printed.

use std::ffi::{CStr, c_char};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use diff_tests::{corpus, guest};
use loader::attach::Choice;
use loader::load::Options;
use loader::open::Input;
use serde_json::{Value, json};

use super::runtime::{Loaded, RUNTIMES, Runtime};

const OBJECT: &str = "lseek";
const COUNTS: &str = "counts";
const EVENTS: &str = "events";

/// On what its programs are, which is how their names begin.
const KINDS: [&str; 4] = ["kprobe", "tracepoint", "raw_tp", "fentry"];
/// What they do, which is how their names end, and what it is called.
const BODIES: [(&str, &str); 6] = [
    ("counter", "counter"),
    ("hash", "hash update"),
    ("histogram", "histogram"),
    ("snoop", "opensnoop"),
    ("strings", "strings"),
    ("stack", "stack"),
];
/// One more, of which the kind does not matter.
const LOOP: (&str, &str) = ("kprobe_loop", "kprobe, 1000 turns");

/// Its programs, and what they are called.
fn programs() -> Vec<(String, String)> {
    let on_each =
        |(body, title)| KINDS.map(|kind| (format!("{kind}_{body}"), format!("{kind}, {title}")));
    let mut programs: Vec<_> = BODIES.into_iter().flat_map(on_each).collect();
    programs.push((LOOP.0.to_owned(), LOOP.1.to_owned()));
    programs
}

/// What they read of this process.
const TEXT: &CStr = c"/usr/share/locale/locale.alias";

/// Calls before the measured ones.
const WARM: u64 = 500;
/// Calls of one sample: few, so that what interrupts a sample spoils few others.
const SAMPLE: u64 = 1000;

/// What is counted while calls are made.
#[derive(Clone, Copy)]
pub(crate) enum Unit {
    Nanoseconds,
    Instructions,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Unit::Nanoseconds => "nanoseconds",
            Unit::Instructions => "instructions",
        }
    }

    /// What a sample's calls took, for each.
    fn sample(self, calls: impl FnOnce()) -> f64 {
        let took = match self {
            Unit::Nanoseconds => {
                let start = Instant::now();
                calls();
                start.elapsed().as_nanos() as f64
            }
            Unit::Instructions => {
                let start = instructions();
                calls();
                (instructions() - start) as f64
            }
        };
        took / SAMPLE as f64
    }
}

pub(crate) fn instructions() -> u64 {
    // SAFETY: every x86-64 processor has it, and Linux lets programs use it.
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// What is attached while it is measured.
trait Probe {
    /// The program, and the runtime.
    fn name(&self) -> (&str, &'static str);
    fn attach(&mut self) -> Result<()>;
    fn detach(&mut self) -> Result<()>;
    /// Takes what it has sent, so that there is room.
    fn drain(&mut self) -> Result<()> {
        Ok(())
    }
    /// What it has counted, where it counts.
    fn count(&mut self) -> Result<Option<u64>> {
        Ok(None)
    }
}

struct Nothing;

impl Probe for Nothing {
    fn name(&self) -> (&str, &'static str) {
        ("no probe", "")
    }
    fn attach(&mut self) -> Result<()> {
        Ok(())
    }
    fn detach(&mut self) -> Result<()> {
        Ok(())
    }
}

/// A kernel module that has the probe as long as it is loaded.
struct Empty {
    module: String,
}

impl Probe for Empty {
    fn name(&self) -> (&str, &'static str) {
        ("empty C kprobe", "")
    }
    fn attach(&mut self) -> Result<()> {
        guest::succeed(Command::new("insmod").arg(&self.module)).map(drop)
    }
    fn detach(&mut self) -> Result<()> {
        guest::succeed(Command::new("rmmod").arg("empty_kprobe")).map(drop)
    }
}

/// A program on one of the runtimes.
struct Program {
    title: String,
    runtime: Runtime,
    loaded: Loaded,
    sends: bool,
}

impl Program {
    fn load(program: &str, title: &str, runtime: Runtime) -> Result<Self> {
        static TEXTS: [Text; 3] = [Text(TEXT.as_ptr()); 3];
        let choice = Choice {
            programs: vec![program.to_owned()],
            ..Choice::default()
        };
        let mut options = Options::default();
        options.settings.globals = vec![
            ("text".to_owned(), TEXT.as_ptr().addr().to_string()),
            ("texts".to_owned(), TEXTS.as_ptr().addr().to_string()),
        ];
        let input = Input::from_bytes(corpus::object(OBJECT)?, OBJECT, OBJECT.as_ref(), None)?;
        let mut loaded = Loaded::load(runtime, input, &[program], &choice, &options)?;
        let sends = program.ends_with("_snoop");
        if sends {
            loaded.session().listen(EVENTS)?;
        }
        Ok(Self {
            title: title.to_owned(),
            runtime,
            loaded,
            sends,
        })
    }
}

/// Where a string is.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Text(*const c_char);

// SAFETY: nobody writes what it points to.
unsafe impl Sync for Text {}

impl Probe for Program {
    fn name(&self) -> (&str, &'static str) {
        (&self.title, self.runtime.name())
    }
    fn attach(&mut self) -> Result<()> {
        self.loaded.attach()
    }
    fn detach(&mut self) -> Result<()> {
        self.loaded.session().detach();
        Ok(())
    }
    fn drain(&mut self) -> Result<()> {
        if self.sends {
            let sent = self.loaded.session().sent(EVENTS)?;
            ensure!(!sent.is_empty(), "{}: sent nothing", self.title);
        }
        Ok(())
    }
    fn count(&mut self) -> Result<Option<u64>> {
        let elements = self.loaded.session().elements(COUNTS)?;
        let (_, value) = elements.first().context("the counter has a value")?;
        Ok(Some(u64::from_ne_bytes(value.as_slice().try_into()?)))
    }
}

/// How long a call takes in `unit`, in `rounds` of `calls`; of these programs, or of all.
pub(crate) fn run(
    module: &str,
    unit: Unit,
    rounds: u64,
    calls: u64,
    only: &[&str],
) -> Result<Value> {
    ensure!(
        calls.is_multiple_of(SAMPLE),
        "CALLS is a multiple of {SAMPLE}"
    );
    let mut probes = probes(module, only)?;
    let samples = measure(&mut probes, unit, rounds, calls)?;
    let expected = rounds * (WARM + calls);
    for probe in &mut probes {
        let counted = probe.count()?.unwrap_or(expected);
        let name = probe.name();
        ensure!(
            counted == expected,
            "{name:?}: counted {counted} of {expected} calls"
        );
    }
    Ok(json!({ "unit": unit.name(), "rounds": rounds, "calls": calls, "probes": samples }))
}

fn probes(module: &str, only: &[&str]) -> Result<Vec<Box<dyn Probe>>> {
    let module = module.to_owned();
    let mut probes: Vec<Box<dyn Probe>> = vec![Box::new(Nothing), Box::new(Empty { module })];
    let programs = programs();
    for unknown in only {
        let is_one = programs.iter().any(|(program, _)| program == unknown);
        ensure!(is_one, "no program {unknown} in {OBJECT}");
    }
    for (program, title) in &programs {
        if only.is_empty() || only.contains(&&**program) {
            for runtime in RUNTIMES {
                probes.push(Box::new(Program::load(program, title, runtime)?));
            }
        }
    }
    Ok(probes)
}

/// Calls under each probe, for as long as the host looks at what is executed: until a file says that it has.
pub(crate) fn profile(module: &str, only: &[&str]) -> Result<()> {
    let mut probes = probes(module, only)?;
    let file = File::open("/proc/self/exe")?;
    for (turn, probe) in probes.iter_mut().enumerate() {
        probe.attach()?;
        seek(&file, WARM);
        std::fs::copy("/proc/kallsyms", format!("/tmp/out/bench/symbols-{turn}"))?;
        let (name, runtime) = probe.name();
        println!(
            "{}",
            json!({ "name": name, "runtime": runtime, "turn": turn })
        );
        let seen = format!("/tmp/out/bench/seen-{turn}");
        while !std::fs::exists(&seen)? {
            seek(&file, SAMPLE);
        }
        probe.detach()?;
    }
    Ok(())
}

/// What a call takes, a row a probe, a column a sample.
fn measure(
    probes: &mut [Box<dyn Probe>],
    unit: Unit,
    rounds: u64,
    calls: u64,
) -> Result<Vec<Value>> {
    let file = File::open("/proc/self/exe")?;
    let mut samples = vec![Vec::new(); probes.len()];
    for round in 0..rounds {
        for turn in 0..probes.len() {
            let which = (round as usize + turn) % probes.len();
            probes[which].attach()?;
            seek(&file, WARM);
            for _ in 0..calls / SAMPLE {
                samples[which].push(unit.sample(|| seek(&file, SAMPLE)));
                probes[which].drain()?;
            }
            probes[which].detach()?;
        }
        eprintln!("round {} of {rounds}", round + 1);
    }
    let rows = probes.iter().zip(samples).map(|(probe, samples)| {
        let (name, runtime) = probe.name();
        json!({ "name": name, "runtime": runtime, "samples": samples })
    });
    Ok(rows.collect())
}

pub(crate) fn seek(file: &File, calls: u64) {
    for _ in 0..calls {
        // SAFETY: takes no pointer; the descriptor is open.
        unsafe { libc::syscall(libc::SYS_lseek, file.as_raw_fd(), 0, libc::SEEK_CUR) };
    }
}
