//! One lseek(2) under each kind of probe: nanoseconds, or instructions.
//!
//! Instructions are what the time stamp counter counts where QEMU runs with `-icount shift=0`. The kinds take turns within a round,
//! each round in another order, so that whatever else the machine does meets all of them alike. All counters must be exact, or nothing
//! is printed.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use diff_tests::oracle::{bpftool, native::Native};
use diff_tests::wasm::Wasm;
use diff_tests::{corpus, guest};
use loader::attach::Choice;
use loader::load::{Engine, Options};
use loader::open::Input;
use loader::session::Elements;
use serde_json::{Value, json};

const OBJECT: &str = "lseek";
const MAP: &str = "counts";

/// Its programs, and what they are called.
const PROGRAMS: &[(&str, &str)] = &[
    ("lseek_entry", "kprobe, counter"),
    ("lseek_hash", "kprobe, hash update"),
    ("lseek_histogram", "kprobe, histogram"),
    ("lseek_strings", "kprobe, strings"),
    ("lseek_stack", "kprobe, stack"),
    ("lseek_loop", "kprobe, 1000 turns"),
    ("lseek_tracepoint", "tracepoint, counter"),
    ("lseek_raw", "raw_tp, counter"),
    ("lseek_fentry", "fentry, counter"),
];

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
    fn name(&self) -> (&'static str, &'static str);
    fn attach(&mut self) -> Result<()>;
    fn detach(&mut self) -> Result<()>;
    /// What it has counted, where it counts.
    fn count(&self) -> Result<Option<u64>> {
        Ok(None)
    }
}

struct Nothing;

impl Probe for Nothing {
    fn name(&self) -> (&'static str, &'static str) {
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
    fn name(&self) -> (&'static str, &'static str) {
        ("empty C kprobe", "")
    }
    fn attach(&mut self) -> Result<()> {
        guest::succeed(Command::new("insmod").arg(&self.module)).map(drop)
    }
    fn detach(&mut self) -> Result<()> {
        guest::succeed(Command::new("rmmod").arg("empty_kprobe")).map(drop)
    }
}

/// A program under native eBPF.
struct Ebpf(&'static str, Native);

impl Probe for Ebpf {
    fn name(&self) -> (&'static str, &'static str) {
        (self.0, "native")
    }
    fn attach(&mut self) -> Result<()> {
        self.1.attach()
    }
    fn detach(&mut self) -> Result<()> {
        self.1.detach();
        Ok(())
    }
    fn count(&self) -> Result<Option<u64>> {
        counted(&bpftool::map_dump(self.1.map_id(MAP)?)?)
    }
}

/// A program on one of our engines.
struct Ours(&'static str, Engine, Wasm);

impl Ours {
    fn load(program: &str, title: &'static str, engine: Engine) -> Result<Self> {
        let choice = Choice {
            programs: vec![program.to_owned()],
            ..Choice::default()
        };
        let options = Options {
            engine: Some(engine),
            ..Options::default()
        };
        let input = Input::from_bytes(corpus::object(OBJECT)?, OBJECT, OBJECT.as_ref(), None)?;
        let wasm = Wasm::open(&guest::device()?, input, &choice, &options)?;
        Ok(Self(title, engine, wasm))
    }
}

impl Probe for Ours {
    fn name(&self) -> (&'static str, &'static str) {
        let engine = match self.1 {
            Engine::Wasmi => "wasmi",
            Engine::Aot => "aot",
        };
        (self.0, engine)
    }
    fn attach(&mut self) -> Result<()> {
        self.2.attach()
    }
    fn detach(&mut self) -> Result<()> {
        self.2.detach();
        Ok(())
    }
    fn count(&self) -> Result<Option<u64>> {
        counted(&self.2.dump(MAP)?)
    }
}

fn counted(elements: &Elements) -> Result<Option<u64>> {
    let (_, value) = elements.first().context("the counter has a value")?;
    Ok(Some(u64::from_ne_bytes(value.as_slice().try_into()?)))
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
    for probe in &probes {
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
    for &(program, title) in PROGRAMS {
        if only.is_empty() || only.contains(&program) {
            let native = Native::load(corpus::object(OBJECT)?, OBJECT, &[program])?;
            probes.push(Box::new(Ebpf(title, native)));
            for engine in [Engine::Wasmi, Engine::Aot] {
                probes.push(Box::new(Ours::load(program, title, engine)?));
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
