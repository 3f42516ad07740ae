//! One object under native eBPF and as wasm, on the same events at the same time, and what both saw compared: every
//! map, every global, every event.
//!
//! Both begin from one state and end in one: at a moment at which nothing happens ([`Pair::quiet`]). What happened in between, both saw.

mod compare;
mod fields;
mod rules;
mod sources;
mod stacks;
mod verdict;
mod workload;

use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant};

use abi::manifest::{DataKind, Map};
use abi::map_types::MapType;
use anyhow::{Context, Result, bail};
use bpf2wasm::btf::Btf;
use serde::Serialize;

pub use compare::{Difference, Findings};
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
use compare::Comparison;
use fields::Shape;
use sources::Sources;
use stacks::Symbols;

/// How long a quiet moment may take to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often events are taken from their rings.
const GLANCE: Duration = Duration::from_millis(20);

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
    /// What each map holds before anything happens.
    initial: State,
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
    /// Whether programs can change it.
    changes: bool,
}

type State = BTreeMap<String, Elements>;

/// What a comparison came to.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// Programs that were attached, under both runtimes.
    pub programs: Vec<String>,
    /// How often they ran as wasm, since the common beginning.
    pub runs: u64,
    /// How many events they sent natively.
    pub events: u64,
    /// What its programs cost natively. Of misses, as one's programs take longer than the other's, either has its own, and
    /// with them saw something else.
    pub native: Cost,
    /// What they cost as wasm.
    pub wasm: Cost,
    /// How many runs ended in a trap as wasm: what they had still to do is missing.
    pub traps: u64,
    /// The stacks whose numbers are in the differences.
    pub stacks: Vec<String>,
    /// Whether numbers of stacks were lost, as happens when two share a slot: differences then mean nothing.
    pub stacks_lost: bool,
    /// What was compared, and what differs.
    #[serde(flatten)]
    pub findings: Findings,
}

impl Outcome {
    /// Whether both ran, and nothing differs that must not.
    pub fn equal(&self) -> bool {
        self.verdict().is_good()
    }

    /// How many events were sent, or else how often its programs ran.
    pub fn seen(&self) -> u64 {
        match self.events {
            0 => self.runs,
            events => events,
        }
    }

    /// How many runs either left out.
    pub fn misses(&self) -> u64 {
        self.native.misses + self.wasm.misses
    }

    /// How many runs more one had than the other. Not all that a kernel leaves out does it count: a tracepoint's program
    /// does not run while perf's recursion context or `bpf_prog_active` is taken on that CPU, on a real-time kernel
    /// maybe by a task that has to wait.
    pub fn uneven(&self) -> u64 {
        self.native.timed.abs_diff(self.wasm.timed)
    }
}

/// Differences that are shown.
const SHOWN: usize = 12;

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Findings {
            fields,
            allowed,
            differences,
            ..
        } = &self.findings;
        write!(
            f,
            "{}: {} programs, {} runs, {} events, {fields} fields, of which {allowed} differ as they may",
            self.verdict(),
            self.programs.len(),
            self.runs,
            self.events
        )?;
        // Between one's reading and the other's runs go on, which is of no account where nothing differs.
        let uneven = if self.equal() { 0 } else { self.uneven() };
        let counts = [
            (self.misses(), "misses"),
            (self.traps, "traps"),
            (uneven, "runs of one runtime only"),
        ];
        for (count, what) in counts {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        let mut sources = &[][..];
        for d in differences.iter().take(SHOWN) {
            write!(
                f,
                "\n    {}\n        native {}\n        wasm   {}",
                d.place, d.native, d.wasm
            )?;
            // Fields of one map have the same.
            if sources != d.sources {
                sources = &d.sources;
                let mut lines = sources.iter();
                lines.try_for_each(|line| write!(f, "\n        {line}"))?;
            }
        }
        if let Some(more @ 1..) = differences.len().checked_sub(SHOWN) {
            write!(f, "\n    and {more} more")?;
        }
        let mut stacks = self.stacks.iter().take(SHOWN);
        stacks.try_for_each(|stack| write!(f, "\n    stack {stack}"))
    }
}

impl Pair {
    /// Loads `input` under both runtimes and attaches the same programs of it; which, the wasm runtime's policy decides.
    pub fn attach(device: &Device, input: &Input, plan: Plan) -> Result<Self> {
        let manifest = input.manifest.as_ref();
        let manifest = manifest.context("a hand-written module has no native form")?;
        let mut wasm = Wasm::open(device, input.clone(), &plan.choice, &plan.options)?;
        // Which programs can be attached is known when they are.
        wasm.attach()?;
        let decisions = wasm.decisions().to_vec();
        wasm.detach();
        let attached = |export: &str| decisions.iter().any(|d| d.attached && d.program == export);
        let programs = manifest.programs.iter().filter(|p| attached(&p.export));
        let programs: Vec<_> = programs.map(|p| p.name.as_str()).collect();
        let native = Native::choose(input, &programs, &plan.choice, &plan.options.settings)?;
        let cpus = device.about()?.cpus as usize;
        let btf = input.btf();
        let mut compared = Vec::new();
        for map in &manifest.maps {
            if let Ok(loaded) = wasm.map(&map.name) {
                let size = loaded.info().value_size as usize;
                compared.extend(Compared::of(map, size, btf.as_ref(), cpus));
            }
        }
        let mut pair = Pair {
            native,
            wasm,
            rules: plan.rules,
            stacks: plan.stacks,
            symbols: None,
            decisions,
            maps: compared,
            streams: Vec::new(),
            initial: State::new(),
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
        pair.initial = pair.state(&pair.native)?;
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
            self.keep()?;
            thread::sleep(GLANCE);
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

    /// Puts both into their first state, at a moment at which nothing happens.
    pub fn begin(&mut self) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        let mut last = None;
        while Instant::now() < end {
            self.reset()?;
            if let Some((native, wasm)) = self.quiet()? {
                let found = self.compare(&native, &wasm);
                let nothing_sent =
                    |sent: &BTreeMap<String, Sent>| sent.values().all(Sent::is_empty);
                if found.differences.is_empty()
                    && nothing_sent(&self.native_sent)
                    && nothing_sent(&self.wasm_sent)
                {
                    self.spent = self.costs()?;
                    return Ok(());
                }
                last = found.differences.into_iter().next();
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
        let before = self.state(&self.native)?;
        let wasm = self.state(&self.wasm)?;
        let after = self.state(&self.native)?;
        Ok((self.keep()? == 0 && before == after).then_some((before, wasm)))
    }

    fn costs(&self) -> Result<[Cost; 2]> {
        Ok([self.native.cost()?, self.wasm.cost()?])
    }

    fn state(&self, session: &dyn Session) -> Result<State> {
        let maps = self.maps.iter();
        maps.map(|map| Ok((map.name.clone(), session.elements(&map.name)?)))
            .collect()
    }

    fn reset(&mut self) -> Result<()> {
        for map in self.maps.iter().filter(|map| map.changes) {
            let initial = &self.initial[&map.name];
            for session in [&self.native as &dyn Session, &self.wasm] {
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
        for map in &self.maps {
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
            changes: map
                .data
                .as_ref()
                .is_none_or(|data| matches!(data.kind, DataKind::Data | DataKind::Bss)),
        })
    }
}

/// How many events.
fn sent(streams: &BTreeMap<String, Sent>) -> u64 {
    streams.values().map(|s| s.events.len() as u64).sum()
}
