//! One object under native eBPF and as wasm, on the same events at the same time, and what both saw compared: every
//! map, every global, every event.
//!
//! Both begin as they were loaded and end in one state: at a moment at which nothing happens ([`Pair::quiet`]). What happened in
//! between, both saw.
//!
//! **Invariant:** nothing of one is ever written to the other. What they differ in when they are loaded is a difference, and what a
//! loader writes to attach, such as where usdt arguments lie, stays what it wrote: by the programs' data it is seen to be right.

mod compare;
mod fields;
mod outcome;
mod programs;
mod rules;
mod sources;
mod stacks;
mod verdict;
mod workload;

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use abi::manifest::{DataKind, Map};
use abi::map_types::MapType;
use anyhow::{Context, Result, bail};
use bpf2wasm::btf::Btf;

pub use compare::{Difference, Findings};
pub use outcome::Outcome;
pub use rules::Rule;
pub use stacks::Stack;
pub use verdict::Verdict;
pub use workload::Workload;

use crate::attach::{Choice, Decision};
use crate::device::{Device, Timing};
use crate::event_types::{self, Word};
use crate::layout::Layout;
use crate::load::Options;
use crate::open::Input;
use crate::profile::Profile;
use crate::session::native::{self, Native};
use crate::session::wasm::Wasm;
use crate::session::{Cost, Elements, Sent, Session};
use crate::wait;
use compare::Comparison;
use fields::Shape;
use sources::Sources;
use stacks::Symbols;

/// How long a quiet moment may take to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// Maps that a loader fills when it attaches usdt programs, and programs only read; libbpf knows them by these names, too.
const OF_LOADERS: [&str; 2] = ["__bpf_usdt_specs", "__bpf_usdt_ip_to_spec_id"];

/// What is said of a difference from before anything happened.
const AS_LOADED: &str = " as it was loaded";

/// How long events stay in their rings once there are some: who took each as it comes would be woken for each, and be part of what
/// is compared.
const PAUSE: Duration = Duration::from_millis(20);

/// How to compare.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// What is attached.
    pub choice: Choice,
    /// How it is loaded, on both sides.
    pub options: Options,
    /// What may differ.
    pub rules: Vec<Rule>,
    /// Where kernel stacks are.
    pub stacks: Vec<Stack>,
    /// The types of events, by a person's word.
    pub layout: Option<Layout>,
    /// The struct in the object's BTF that events are, by a person's word.
    pub event: Option<String>,
}

/// An object under both runtimes.
pub struct Pair {
    native: Native,
    wasm: Wasm,
    rules: Vec<Rule>,
    stacks: Vec<Stack>,
    symbols: Option<Symbols>,
    decisions: Vec<Decision>,
    maps: Vec<Compared>,
    streams: Vec<(String, Option<Shape>)>,
    /// What each map of either holds before anything is attached.
    initial: [State; 2],
    /// In what they differ before anything happens.
    from_the_start: Vec<Difference>,
    native_sent: BTreeMap<String, Sent>,
    wasm_sent: BTreeMap<String, Sent>,
    sources: Sources,
    /// Has runs timed.
    _timing: (OwnedFd, Timing),
    /// What either had cost at the beginning.
    spent: [Cost; 2],
}

/// A map whose elements are compared.
struct Compared {
    name: String,
    key: Shape,
    value: Shape,
    /// Whether user space can remove its elements.
    removable: bool,
    /// Whether it has to be as it was loaded when the comparison begins: programs can change it.
    changes: bool,
    /// Whether it is what attaching writes, and thus each loader's own.
    of_loaders: bool,
}

type State = BTreeMap<String, Elements>;

impl Pair {
    /// Loads `input` under both runtimes and attaches the same programs of it; which, the wasm runtime's policy decides.
    pub fn attach(device: &Device, input: &Input, plan: Plan) -> Result<Self> {
        let manifest = input.manifest.as_ref();
        let manifest = manifest.context("a hand-written module has no native form")?;
        let mut wasm = Wasm::open(device, input.clone(), &plan.choice, &plan.options)?;
        let cpus = device.about()?.cpus as usize;
        let btf = input.btf();
        let mut compared = Vec::new();
        for map in &manifest.maps {
            if let Ok(loaded) = wasm.map(&map.name) {
                let size = loaded.info().value_size as usize;
                compared.extend(Compared::of(map, size, btf.as_ref(), cpus));
            }
        }
        let wasm_initial = state(&compared, &wasm)?;
        // Which programs can be attached is known when they are.
        wasm.attach()?;
        let decisions = wasm.decisions().to_vec();
        wasm.detach();
        let settings = &plan.options.settings;
        let from_the_start = programs::differences(input, &plan.choice, settings, &decisions)?;
        let attached = |export: &str| decisions.iter().any(|d| d.attached && d.export == export);
        let programs = manifest.programs.iter().filter(|p| attached(&p.export));
        let programs: Vec<_> = programs.map(|p| p.name.as_str()).collect();
        let native = Native::choose(input, &programs, &plan.choice, &plan.options.settings)?;
        let initial = [state(&compared, &native)?, wasm_initial];
        let mut pair = Pair {
            native,
            wasm,
            rules: plan.rules,
            stacks: plan.stacks,
            symbols: None,
            decisions,
            maps: compared,
            streams: Vec::new(),
            initial,
            from_the_start,
            native_sent: BTreeMap::new(),
            wasm_sent: BTreeMap::new(),
            sources: Sources::of(input, &programs),
            _timing: (native::info::time_runs()?, device.time_runs()?),
            spent: Default::default(),
        };
        let word = Word {
            event: plan.event.as_deref(),
            layout: plan.layout.as_ref(),
        };
        for stream in event_types::streams(input, &Profile::of(input), word)? {
            pair.native.listen(&stream.map)?;
            pair.wasm.listen(&stream.map)?;
            pair.streams
                .push((stream.map.clone(), Shape::of_events(&stream)));
        }
        verdict::check_rules(&pair.rules, &pair.maps, &pair.streams)?;
        let [native, wasm] = &pair.initial;
        for mut difference in pair.compare(native, wasm).differences {
            difference.place += AS_LOADED;
            pair.from_the_start.push(difference);
        }
        pair.native.attach_chosen(&plan.choice)?;
        pair.wasm.attach()?;
        if !pair.stacks.is_empty() {
            pair.symbols = Some(Symbols::read()?);
        }
        Ok(pair)
    }

    /// Compares what both see of `work`.
    pub fn watch(&mut self, work: &mut Workload) -> Result<Outcome> {
        self.begin()?;
        self.accompany(work)?;
        self.end()
    }

    /// As [`Pair::watch`]; then of `more` workloads, until `events` were seen, or one brought none.
    pub fn watch_for(
        &mut self,
        events: u64,
        work: &mut Workload,
        more: impl Fn() -> Result<Workload>,
    ) -> Result<Outcome> {
        self.begin()?;
        self.accompany(work)?;
        let mut seen = self.seen()?;
        while seen < events {
            self.accompany(&mut more()?)?;
            let now = self.seen()?;
            if now == seen {
                break;
            }
            seen = now;
        }
        self.end()
    }

    fn accompany(&mut self, work: &mut Workload) -> Result<()> {
        work.start()?;
        while !work.is_done()? {
            let mut sources = self.native.sources();
            sources.extend(self.wasm.sources());
            sources.push(work.as_fd());
            let about = "waiting for the workload";
            wait::readable(&sources, Some(work.patience())).context(about)?;
            wait::readable(&[work.as_fd()], Some(PAUSE)).context(about)?;
            self.keep()?;
        }
        Ok(())
    }

    /// Events so far, or else runs.
    fn seen(&mut self) -> Result<u64> {
        self.keep()?;
        Ok(match sent(&self.native_sent) {
            0 => self.runs()?,
            events => events,
        })
    }

    /// Runs as wasm since the common beginning.
    fn runs(&self) -> Result<u64> {
        Ok(self.wasm.cost()?.since(self.spent[1]).timed)
    }

    /// Puts either into its own first state, at a moment at which nothing happens.
    pub fn begin(&mut self) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        let mut last = None;
        while Instant::now() < end {
            self.reset()?;
            if let Some((native, wasm)) = self.quiet()? {
                let found = self.compare(&native, &wasm).differences;
                last = found.into_iter().find(|found| !self.was_there(found));
                let mut sent = self.native_sent.values().chain(self.wasm_sent.values());
                if last.is_none() && sent.all(Sent::is_empty) {
                    self.spent = self.costs()?;
                    return Ok(());
                }
            }
            thread::sleep(Duration::from_millis(3));
        }
        match last {
            Some(d) => bail!(
                "no common beginning: {} is {} natively, {} in wasm",
                d.place,
                d.native,
                d.wasm
            ),
            None => bail!("no quiet moment to begin at in {} s", PATIENCE.as_secs()),
        }
    }

    /// Whether they differed there when they were loaded.
    fn was_there(&self, difference: &Difference) -> bool {
        let mut known = self.from_the_start.iter();
        known.any(|known| known.place.strip_suffix(AS_LOADED) == Some(&difference.place[..]))
    }

    /// Keeps what was sent so far, so that rings do not overflow.
    pub fn keep(&mut self) -> Result<usize> {
        let mut events = 0;
        for (name, _) in &self.streams {
            let (native, wasm) = (self.native.sent(name)?, self.wasm.sent(name)?);
            events += native.events.len() + wasm.events.len();
            self.native_sent
                .entry(name.clone())
                .or_default()
                .append(native);
            self.wasm_sent.entry(name.clone()).or_default().append(wasm);
        }
        Ok(events)
    }

    /// Compares what both saw since the beginning, at a moment at which nothing happens, and detaches them.
    pub fn end(&mut self) -> Result<Outcome> {
        let end = Instant::now() + PATIENCE;
        let (native, wasm) = loop {
            if let Some(states) = self.quiet()? {
                break states;
            }
            if Instant::now() > end {
                bail!("no quiet moment to end at in {} s", PATIENCE.as_secs());
            }
            thread::sleep(Duration::from_millis(3));
        };
        self.native.detach();
        self.wasm.detach();
        let mut findings = self.compare(&native, &wasm);
        let first = self.from_the_start.iter().cloned();
        findings.differences.splice(0..0, first);
        for difference in &mut findings.differences {
            difference.sources = self.sources.at(&difference.place);
        }
        let named = |difference: &Difference| {
            let symbols = self.symbols.as_ref();
            symbols.map_or_else(Vec::new, |symbols| symbols.named_in(&difference.place))
        };
        let stacks = findings.differences.iter().flat_map(named).collect();
        let programs = self.decisions.iter().filter(|d| d.attached);
        let [native, wasm] = self.costs()?;
        let [native, wasm] = [native.since(self.spent[0]), wasm.since(self.spent[1])];
        Ok(Outcome {
            stacks,
            native,
            wasm,
            traps: self.wasm.programs()?.iter().map(|p| p.traps).sum(),
            programs: programs.map(|d| d.program.clone()).collect(),
            runs: self.runs()?,
            events: sent(&self.native_sent),
            stacks_lost: self.symbols.as_ref().is_some_and(Symbols::take_collided),
            findings,
        })
    }

    /// Both states at one moment: native's did not change while wasm's was read, and nothing was sent.
    fn quiet(&mut self) -> Result<Option<(State, State)>> {
        self.keep()?;
        let before = state(&self.maps, &self.native)?;
        let wasm = state(&self.maps, &self.wasm)?;
        let after = state(&self.maps, &self.native)?;
        Ok((self.keep()? == 0 && before == after).then_some((before, wasm)))
    }

    fn costs(&self) -> Result<[Cost; 2]> {
        Ok([self.native.cost()?, self.wasm.cost()?])
    }

    fn reset(&mut self) -> Result<()> {
        for map in self.maps.iter().filter(|map| map.changes) {
            let sessions = [&self.native as &dyn Session, &self.wasm];
            for (session, initial) in sessions.into_iter().zip(&self.initial) {
                let initial = &initial[&map.name];
                let now = if map.removable {
                    session.elements(&map.name)?
                } else {
                    Vec::new()
                };
                for (key, _) in now {
                    session.delete(&map.name, &key)?;
                }
                for (key, value) in initial {
                    session.update(&map.name, key, value)?;
                }
            }
        }
        self.keep()?;
        self.native_sent.clear();
        self.wasm_sent.clear();
        Ok(())
    }

    /// The elements of `map`, with stacks as what they stand for.
    fn resolved(&self, map: &Compared, state: &State) -> Elements {
        let elements = &state[&map.name];
        match &self.symbols {
            Some(symbols) => {
                let shapes = (map.name.as_str(), &map.key, &map.value);
                symbols.resolved(&self.stacks, shapes, elements, state)
            }
            None => elements.clone(),
        }
    }

    fn compare(&self, native: &State, wasm: &State) -> Findings {
        let mut comparison = Comparison::new(&self.rules);
        for map in self.maps.iter().filter(|map| !map.of_loaders) {
            let is_it = |stack: &Stack| stack.map.as_ref() == Some(&map.name);
            // What refers to its stacks is compared.
            if !self.stacks.iter().any(is_it) {
                let [native, wasm] = [native, wasm].map(|state| self.resolved(map, state));
                comparison.maps(&map.name, &map.key, &map.value, &native, &wasm);
            }
        }
        let nothing = Sent::default();
        for (name, shape) in &self.streams {
            let native = self.native_sent.get(name).unwrap_or(&nothing);
            let wasm = self.wasm_sent.get(name).unwrap_or(&nothing);
            comparison.sent(name, shape.as_ref(), native, wasm);
        }
        comparison.findings
    }
}

impl Compared {
    /// `None` for maps without elements that user space can read, and those in which programs only refer to things.
    fn of(map: &Map, size: usize, btf: Option<&Btf>, cpus: usize) -> Option<Self> {
        use MapType::{
            Array, Hash, LpmTrie, LruHash, LruPercpuHash, PercpuArray, PercpuHash, StackTrace,
        };
        let map_type = MapType::from_id(map.map_type)?;
        let (removable, per_cpu) = match map_type {
            Hash | LruHash | LpmTrie | StackTrace => (true, false),
            PercpuHash | LruPercpuHash => (true, true),
            Array => (false, false),
            PercpuArray => (false, true),
            _ => return None,
        };
        let of_loaders = OF_LOADERS.contains(&&map.name[..]);
        let value = match &map.data {
            Some(_) => Shape::of_section(btf, map),
            None => Shape::of(btf, map.value_type, size),
        };
        Some(Compared {
            name: map.name.clone(),
            key: Shape::of(btf, map.key_type, map.key_size as usize),
            value: match per_cpu {
                true => value.per_cpu(size, cpus),
                false => value,
            },
            removable,
            changes: !of_loaders
                && map
                    .data
                    .as_ref()
                    .is_none_or(|data| matches!(data.kind, DataKind::Data | DataKind::Bss)),
            of_loaders,
        })
    }
}

/// Every element of `maps` under a runtime.
fn state(maps: &[Compared], session: &dyn Session) -> Result<State> {
    let maps = maps.iter();
    maps.map(|map| Ok((map.name.clone(), session.elements(&map.name)?)))
        .collect()
}

/// How many events.
fn sent(streams: &BTreeMap<String, Sent>) -> u64 {
    streams.values().map(|s| s.events.len() as u64).sum()
}
