//! What an event costs as things grow: elements of a map, loaded programs, busy CPUs. In instructions: see [`super::event`].
//!
//! With several CPUs, QEMU's clock counts what all of them execute, so that an event's share of it is what it costs, waiting for
//! other CPUs included.

use std::fs::File;
use std::io;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use diff_tests::workload::on_every_cpu;
use diff_tests::{corpus, guest};
use loader::attach::Choice;
use loader::load::Options;
use loader::open::Input;
use loader::session::Session;
use serde_json::{Value, json};

use super::event::{instructions, seek};
use super::runtime::{Loaded, RUNTIMES, Runtime};

const SIZES: &[u32] = &[10, 100, 1_000, 10_000, 100_000, 1_000_000];
const COPIES: &[usize] = &[1, 2, 5, 10, 20, 50];
/// The largest of each where there is little time.
const QUICK: (u32, usize) = (10_000, 10);

/// What was there before is gone by then: much is freed in the background.
const SETTLED: Duration = Duration::from_secs(2);

/// Events that are counted on each CPU.
const CALLS: u64 = 10_000;
/// Parts that they are counted in.
const SAMPLES: u64 = 10;

/// Where programs are that are attached, and see nothing.
const ELSEWHERE: &str = "kprobe/__x64_sys_getpgid";

/// What is loaded.
#[derive(Clone, Copy)]
pub(crate) struct Subject {
    program: &'static str,
    section: Option<&'static str>,
    keys: u32,
}

impl Subject {
    const fn of(program: &'static str) -> Self {
        Self {
            program,
            section: None,
            keys: 1,
        }
    }

    /// What is attached while several CPUs are busy.
    pub(crate) fn shared() -> [(&'static str, Self); 2] {
        let table = Self {
            keys: 1000,
            ..Self::of("scale_table")
        };
        [("own counters", Self::of("scale_own")), ("a table", table)]
    }

    /// Loads and attaches it, with a full table.
    pub(crate) fn start(&self, runtime: Runtime) -> Result<Loaded> {
        let input = Input::from_bytes(corpus::object("scale")?, "scale", "scale".as_ref(), None)?;
        let section = self
            .section
            .map(|s| (self.program.to_owned(), s.to_owned()));
        let choice = Choice {
            programs: vec![self.program.to_owned()],
            sections: section.into_iter().collect(),
            ..Choice::default()
        };
        let mut options = Options::default();
        let keys = ("keys".to_owned(), self.keys.to_string());
        options.settings.globals.push(keys);
        options
            .settings
            .entries
            .push(("table".to_owned(), self.keys));
        let mut loaded = Loaded::load(runtime, input, &[self.program], &choice, &options)?;
        for key in 0..u64::from(self.keys) {
            let bytes = key.to_ne_bytes();
            loaded.session().update("table", &bytes, &bytes)?;
        }
        loaded.attach()?;
        Ok(loaded)
    }
}

/// Makes events on each CPU at once, so many on each.
pub(crate) fn on_all(calls: u64) -> io::Result<()> {
    on_first(usize::MAX, calls)
}

/// Makes events on the first `cpus` CPUs at once, so many on each.
fn on_first(cpus: usize, calls: u64) -> io::Result<()> {
    on_every_cpu(|cpu| {
        if cpu < cpus {
            seek(&File::open("/proc/self/exe")?, calls);
        }
        Ok(())
    })
}

/// Instructions of an event while each CPU makes so many: of a sample into which no timer came.
fn cost(calls: u64) -> Result<f64> {
    on_all(calls / SAMPLES)?;
    let cpus = std::thread::available_parallelism()?.get() as u64;
    let mut lowest = u64::MAX;
    for _ in 0..SAMPLES {
        let start = instructions();
        on_all(calls / SAMPLES)?;
        lowest = lowest.min(instructions() - start);
    }
    Ok(lowest as f64 / (calls / SAMPLES * cpus) as f64)
}

/// As [`cost`], over what an event costs under no probe.
struct Bare {
    calls: u64,
    cost: f64,
}

impl Bare {
    fn measure(calls: u64) -> Result<Self> {
        sleep(SETTLED);
        let cost = cost(calls)?;
        Ok(Self { calls, cost })
    }

    /// What is added by what is attached now, which must see every event.
    fn added(&self, loaded: &mut Loaded) -> Result<f64> {
        sleep(SETTLED);
        let before = seen(loaded.session())?;
        let added = cost(self.calls)? - self.cost;
        let cpus = std::thread::available_parallelism()?.get() as u64;
        let seen = seen(loaded.session())? - before;
        let calls = (self.calls + self.calls / SAMPLES) * cpus;
        // Starting threads makes a few more.
        let good = calls..=calls + calls / 100;
        ensure!(good.contains(&seen), "{seen} of {calls} events were seen");
        Ok(added)
    }
}

/// The sum of the counts that CPUs have.
fn seen(session: &mut dyn Session) -> Result<u64> {
    let elements = session.elements("counts")?;
    let (_, values) = elements.first().context("a count")?;
    let each = values.chunks_exact(8);
    Ok(each
        .map(|value| u64::from_ne_bytes(value.try_into().unwrap_or_default()))
        .sum())
}

/// Of a table with so many elements, full: a look-up and an update.
fn sizes(bare: &Bare, quick: bool) -> Result<Vec<Value>> {
    let mut points = Vec::new();
    for &keys in SIZES.iter().filter(|keys| !quick || **keys <= QUICK.0) {
        let subject = Subject {
            keys,
            ..Subject::of("scale_table")
        };
        for runtime in RUNTIMES {
            let added = bare.added(&mut subject.start(runtime)?)?;
            points.push(point("elements", runtime, keys as usize, added));
        }
    }
    Ok(points)
}

/// Of so many copies: all there, and all but one elsewhere.
fn copies(bare: &Bare, quick: bool) -> Result<Vec<Value>> {
    let mut points = Vec::new();
    let here = Subject::of("scale_own");
    let elsewhere = Subject {
        section: Some(ELSEWHERE),
        ..here
    };
    for &count in COPIES.iter().filter(|count| !quick || **count <= QUICK.1) {
        for runtime in RUNTIMES {
            let first = &mut here.start(runtime)?;
            for (what, others) in [("elsewhere", &elsewhere), ("here", &here)] {
                let others = (1..count).map(|_| others.start(runtime));
                let _others: Vec<Loaded> = others.collect::<Result<_>>()?;
                points.push(point(what, runtime, count, bare.added(first)?));
            }
        }
    }
    Ok(points)
}

fn cpus(bare: &Bare) -> Result<Vec<Value>> {
    let count = std::thread::available_parallelism()?.get();
    let mut points = Vec::new();
    for (what, subject) in Subject::shared() {
        for runtime in RUNTIMES {
            let added = bare.added(&mut subject.start(runtime)?)?;
            points.push(point(what, runtime, count, added));
        }
    }
    Ok(points)
}

fn point(what: &str, runtime: Runtime, x: usize, added: f64) -> Value {
    eprintln!("{what} {} {x}: {added:.0}", runtime.name());
    json!({ "what": what, "runtime": runtime.name(), "x": x, "added": added })
}

/// Events a second on one CPU and on all, for `rounds` turns of each.
pub(crate) fn rates(rounds: usize, calls: u64) -> Result<Value> {
    guest::device()?;
    let all = std::thread::available_parallelism()?.get();
    let rate = |cpus: usize| {
        let begin = Instant::now();
        on_first(cpus, calls)?;
        anyhow::Ok((calls * cpus as u64) as f64 / begin.elapsed().as_secs_f64())
    };
    let measure = || {
        on_all(calls / 10)?;
        // In turns, for the machine is not always equally fast.
        let turns = (0..rounds).map(|_| Ok((rate(1)?, rate(all)?)));
        let (one, all): (Vec<f64>, Vec<f64>) = turns.collect::<Result<_>>()?;
        anyhow::Ok((one, all))
    };
    let mut rows = Vec::new();
    let mut row = |what: &str, runtime: &str, (one, all): (Vec<f64>, Vec<f64>)| {
        eprintln!("{what} {runtime}");
        rows.push(json!({ "what": what, "runtime": runtime, "one": one, "all": all }));
    };
    row("no probe", "", measure()?);
    for (what, subject) in Subject::shared() {
        for runtime in RUNTIMES {
            let _loaded = subject.start(runtime)?;
            sleep(SETTLED);
            row(what, runtime.name(), measure()?);
        }
    }
    Ok(json!({ "rows": rows }))
}

/// As things grow, or, `of_cpus`, on as many CPUs as there are.
pub(crate) fn run(of_cpus: bool, quick: bool) -> Result<Value> {
    guest::device()?;
    let bare = Bare::measure(CALLS)?;
    let mut points = cpus(&bare)?;
    if !of_cpus {
        points.extend(sizes(&bare, quick)?);
        points.extend(copies(&bare, quick)?);
    }
    Ok(json!({ "bare": bare.cost, "points": points }))
}
