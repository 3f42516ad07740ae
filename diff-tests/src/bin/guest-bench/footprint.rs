//! What a tool costs before it has seen much: the kernel's memory while it is loaded and attached, and the time until user space has
//! its first event, phase by phase.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use abi::map_types::MapType;
use abi::uapi::Resource;
use anyhow::{Context, Result, bail, ensure};
use diff_tests::guest;
use diff_tests::workload::{sockets, system};
use loader::attach::{Choice, Plan};
use loader::load::Options;
use loader::open::Input;
use loader::profile::Profile;
use loader::session::{Elements, Session};
use serde_json::{Value, json};

use super::runtime::{Loaded, RUNTIMES, Runtime};

/// Debian's tools that are measured, and what each sees at once, if anything.
const TOOLS: &[(&str, Option<Stir>)] = &[
    ("opensnoop", Some(open)),
    ("statsnoop", Some(stat)),
    ("sigsnoop", Some(signal)),
    ("execsnoop", Some(exec)),
    ("exitsnoop", Some(exec)),
    ("tcpconnect", Some(connect)),
    ("tcpstates", Some(connect)),
    ("vfsstat", Some(read)),
    ("syscount", Some(read)),
    ("runqlat", Some(turn)),
    ("klockstat", Some(turn)),
    ("biolatency", None),
];

type Stir = fn() -> Result<()>;

/// Copies of a tool whose memory is measured together: what comes and goes meanwhile is shared out among them.
const COPIES: usize = 4;
/// What the kernel frees later is free by then.
const SETTLED: Duration = Duration::from_millis(500);
/// How long a first event may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Where compiled code is kept.
const CACHE: &str = "/tmp/bench-cache";

fn open() -> Result<()> {
    // It is not there, and that is an event as well.
    let _ = fs::File::open("/tmp/nothing");
    Ok(())
}

fn stat() -> Result<()> {
    fs::metadata("/tmp")?;
    Ok(())
}

fn signal() -> Result<()> {
    Ok(system::signals(1)?)
}

fn exec() -> Result<()> {
    guest::succeed(&mut Command::new("/bin/true")).map(drop)
}

fn connect() -> Result<()> {
    Ok(sockets::run(1)?)
}

fn read() -> Result<()> {
    fs::read("/proc/version")?;
    Ok(())
}

fn turn() -> Result<()> {
    sleep(Duration::from_millis(1));
    Ok(())
}

/// A tool as its own `main()` would load it.
struct Tool {
    name: &'static str,
    stir: Option<Stir>,
    input: Input,
    object: Vec<u8>,
    choice: Choice,
    options: Options,
    programs: Vec<String>,
}

impl Tool {
    fn read(name: &'static str, stir: Option<Stir>) -> Result<Self> {
        let input = Input::open(&Path::new("/usr/sbin").join(name), None)?;
        let profile = Profile::of(&input);
        let (mut choice, mut options) = (Choice::default(), Options::default());
        profile.complete(&mut choice)?;
        profile.preset(&mut options.settings);
        let plan = Plan::new(&input, &choice)?;
        let attached = |export: &str| {
            let mut decisions = plan.decisions.iter();
            decisions.any(|d| d.attached && d.export == export)
        };
        let manifest = input.manifest.as_ref().context("a manifest")?;
        let programs = manifest.programs.iter().filter(|p| attached(&p.export));
        Ok(Self {
            name,
            stir,
            programs: programs.map(|p| p.name.clone()).collect(),
            object: input.object.clone().context("an object")?,
            input,
            choice,
            options,
        })
    }

    /// Maps that send events, and maps that programs change.
    fn maps(&self) -> (Vec<&str>, Vec<&str>) {
        let (mut streams, mut tables) = (Vec::new(), Vec::new());
        for map in self.input.manifest.iter().flat_map(|m| &m.maps) {
            match MapType::from_id(map.map_type) {
                Some(MapType::PerfEventArray | MapType::Ringbuf) => streams.push(&*map.name),
                Some(MapType::Array | MapType::Hash | MapType::PercpuArray) => {
                    tables.push(&*map.name);
                }
                _ => {}
            }
        }
        (streams, tables)
    }
}

/// Milliseconds of one phase after another.
struct Clock {
    since: Instant,
    phases: BTreeMap<&'static str, f64>,
}

impl Clock {
    fn new() -> Self {
        Self {
            since: Instant::now(),
            phases: BTreeMap::new(),
        }
    }

    /// `phase` ends now.
    fn lap(&mut self, phase: &'static str) {
        self.phases
            .insert(phase, self.since.elapsed().as_secs_f64() * 1e3);
        self.since = Instant::now();
    }
}

/// With `phases`, `plan` is told apart from `load`.
fn load(tool: &Tool, runtime: Runtime, phases: bool, clock: &mut Clock) -> Result<Loaded> {
    let input = match runtime {
        Runtime::Native => tool.input.clone(),
        Runtime::Wasm(_) => {
            let input = Input::from_bytes(&tool.object, tool.name, tool.name.as_ref(), None)?;
            clock.lap("convert");
            input
        }
    };
    let programs: Vec<&str> = tool.programs.iter().map(String::as_str).collect();
    if let (true, Runtime::Wasm(_)) = (phases, runtime) {
        // It is made again by what follows, where nobody could tell its time apart.
        Plan::new(&input, &tool.choice)?;
        clock.lap("plan");
    }
    let loaded = Loaded::load(runtime, input, &programs, &tool.choice, &tool.options)?;
    clock.lap("load");
    let plan = clock.phases.get("plan").copied().unwrap_or_default();
    clock.phases.entry("load").and_modify(|load| *load -= plan);
    Ok(loaded)
}

/// From an object in memory to the first event that user space has: milliseconds of each phase; no `event` of tools that see none.
fn first_event(tool: &Tool, runtime: Runtime, phases: bool) -> Result<BTreeMap<&'static str, f64>> {
    let (streams, tables) = tool.maps();
    let mut clock = Clock::new();
    let mut loaded = load(tool, runtime, phases, &mut clock)?;
    for map in &streams {
        loaded.session().listen(map)?;
    }
    let before = elements(loaded.session(), &tables)?;
    clock.lap("rings");
    loaded.attach()?;
    clock.lap("attach");
    let Some(stir) = tool.stir else {
        return Ok(clock.phases);
    };
    loop {
        stir()?;
        for map in &streams {
            if !loaded.session().sent(map)?.is_empty() {
                clock.lap("event");
                return Ok(clock.phases);
            }
        }
        if streams.is_empty() && elements(loaded.session(), &tables)? != before {
            clock.lap("event");
            return Ok(clock.phases);
        }
        if clock.since.elapsed() > PATIENCE {
            bail!("{} on {}: no event", tool.name, runtime.name());
        }
    }
}

fn elements(session: &mut dyn Session, maps: &[&str]) -> Result<Vec<Elements>> {
    maps.iter().map(|map| session.elements(map)).collect()
}

/// Kilobytes that the kernel uses for itself.
#[derive(Clone, Copy)]
struct Used {
    slab: f64,
    vmalloc: f64,
    percpu: f64,
    /// What the runtimes say themselves.
    accounted: f64,
}

impl Used {
    fn now() -> Result<Self> {
        sleep(SETTLED);
        // Counts that CPUs have for themselves are summed up.
        fs::write("/proc/sys/vm/stat_refresh", "1")?;
        let text = fs::read_to_string("/proc/meminfo")?;
        let row = |name: &str| {
            let row = text.lines().find_map(|line| line.strip_prefix(name));
            let number = row.and_then(|row| row.trim_start_matches(':').split_whitespace().next());
            Ok::<f64, anyhow::Error>(number.with_context(|| name.to_owned())?.parse()?)
        };
        Ok(Self {
            slab: row("SUnreclaim")?,
            vmalloc: row("VmallocUsed")?,
            percpu: row("Percpu")?,
            accounted: (bpftool("map")? + bpftool("prog")? + ours()?) / 1024.0,
        })
    }

    fn since(self, before: Used) -> Value {
        let each = |now: f64, then: f64| (now - then) / COPIES as f64;
        let parts = [
            each(self.slab, before.slab),
            each(self.vmalloc, before.vmalloc),
            each(self.percpu, before.percpu),
        ];
        json!({ "slab": parts[0], "vmalloc": parts[1], "percpu": parts[2], "kib": parts.iter().sum::<f64>(),
            "accounted": each(self.accounted, before.accounted) })
    }
}

/// Bytes that native maps or programs say they have.
fn bpftool(what: &str) -> Result<f64> {
    let output = guest::succeed(Command::new("bpftool").args(["-j", what, "show"]))?;
    let rows: Vec<Value> = serde_json::from_slice(&output.stdout)?;
    let of = |row: &Value, key: &str| row[key].as_f64().unwrap_or_default();
    let bytes = rows
        .iter()
        .map(|row| of(row, "bytes_memlock") + of(row, "bytes_jited"));
    Ok(bytes.sum())
}

/// Bytes that our module has charged.
fn ours() -> Result<f64> {
    let device = guest::device()?;
    device.flush()?;
    let memory = device.limit(Resource::Memory)?.used;
    Ok((memory + device.limit(Resource::Native)?.used) as f64)
}

/// The kernel's memory for one loaded and attached copy.
fn memory(tool: &Tool, runtime: Runtime) -> Result<Value> {
    let before = Used::now()?;
    let mut copies = Vec::new();
    for _ in 0..COPIES {
        let mut loaded = load(tool, runtime, false, &mut Clock::new())?;
        loaded.attach()?;
        copies.push(loaded);
    }
    Ok(Used::now()?.since(before))
}

/// Of one tool on each runtime: a sample a round of each phase, and the memory.
fn measure(tool: &Tool, rounds: u64) -> Result<Vec<Value>> {
    let mut phases = RUNTIMES.map(|_| BTreeMap::<&str, Vec<f64>>::new());
    // The first meets caches that are empty, code that QEMU has not translated, and is left out.
    for round in 0..=rounds {
        for (runtime, phases) in RUNTIMES.into_iter().zip(&mut phases) {
            let taken = taken(tool, runtime).with_context(|| runtime.name())?;
            for (phase, ms) in taken.into_iter().filter(|_| round > 0) {
                phases.entry(phase).or_default().push(ms);
            }
        }
    }
    let rows = RUNTIMES.into_iter().zip(phases).map(|(runtime, phases)| {
        let memory = memory(tool, runtime).with_context(|| runtime.name())?;
        Ok(json!({ "runtime": runtime.name(), "milliseconds": phases, "memory": memory }))
    });
    rows.collect()
}

/// As [`first_event`]; `cold` is all of it with nothing kept from an earlier load: functions' names, native code.
fn taken(tool: &Tool, runtime: Runtime) -> Result<BTreeMap<&'static str, f64>> {
    let mut cold = None;
    if let Runtime::Wasm(_) = runtime {
        forget()?;
        cold = Some(first_event(tool, runtime, false)?.values().sum());
    }
    let mut taken = first_event(tool, runtime, true)?;
    taken.extend(cold.map(|ms| ("cold", ms)));
    Ok(taken)
}

/// Empties the cache.
fn forget() -> Result<()> {
    if Path::new(CACHE).exists() {
        fs::remove_dir_all(CACHE)?;
    }
    Ok(())
}

/// Of these tools, or of all.
pub(crate) fn run(rounds: u64, only: &[&str]) -> Result<Value> {
    for unknown in only {
        let is_known = TOOLS.iter().any(|(name, _)| name == unknown);
        ensure!(is_known, "no tool {unknown} is measured");
    }
    // SAFETY: nothing else runs in this process yet.
    unsafe { std::env::set_var("WPROBE_CACHE", CACHE) };
    let mut tools = Vec::new();
    for &(name, stir) in TOOLS {
        if !only.is_empty() && !only.contains(&name) {
            continue;
        }
        let tool = Tool::read(name, stir).with_context(|| name.to_owned())?;
        let rows = measure(&tool, rounds).with_context(|| name.to_owned())?;
        eprintln!("{name}");
        tools.push(json!({ "name": name, "programs": tool.programs.len(), "runtimes": rows }));
    }
    Ok(json!({ "tools": tools }))
}
