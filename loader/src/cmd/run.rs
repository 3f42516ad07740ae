//! `wprobe run`.

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use clap::builder::PossibleValuesParser;
use clap::builder::TypedValueParser as _;
use loader::event_types::Stream;
use loader::layout::Layout;
use loader::probe::{Probe, Running};
use loader::runtime::Runtime;
use loader::session::Count;
use loader::show::{self, Symbols, View};
use loader::warnings;
use serde_json::{Value, json};

use super::activate::Which;
use super::interrupt::{Interrupt, period, seconds};
use super::load::How;
use super::{Output, clock, summary};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  wprobe run opensnoop                           a tool by its name: its events, a line each
  wprobe run /usr/sbin/biolatency --duration 10  its histogram after 10 seconds
  wprobe run mkdirsnoop.bpf.o --interval 1 --json
  wprobe run opensnoop --set targ_pid=1234 --runtime kernel-wasm --explain
  wprobe run funclatency --at dummy_kprobe=kprobe/vfs_read --at dummy_kretprobe=kretprobe/vfs_read

Events are printed as they come. Maps and variables are printed at the end (Ctrl-C), and every --interval seconds; beside
events, without the maps that are empty.
With --json every line is an object: an event, or a table, and at the end what there is in all maps.")]
pub(super) struct Args {
    /// A tool's name, a wasm module, a BPF object, or an executable that embeds one
    file: PathBuf,
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    which: Which,
    /// What runs it: auto is native eBPF where it works, else the kernel module
    #[arg(long, default_value = "auto", value_parser = runtime())]
    runtime: Runtime,
    /// Stop after so many seconds; by default at Ctrl-C
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    duration: Option<Duration>,
    /// Show maps and variables every so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = period)]
    interval: Option<Duration>,
    /// Types of events in C's notation, one struct a map, named as the map
    #[arg(long, value_name = "FILE")]
    layout: Option<PathBuf>,
    /// The struct in the object that events are
    #[arg(long, value_name = "STRUCT")]
    event: Option<String>,
}

fn runtime() -> impl clap::builder::TypedValueParser<Value = Runtime> {
    let names = Runtime::NAMES.iter().map(|(name, _)| *name);
    PossibleValuesParser::new(names).map(|chosen| {
        let row = Runtime::NAMES.iter().find(|(name, _)| *name == chosen);
        row.map_or_else(Runtime::default, |(_, runtime)| *runtime)
    })
}

pub(super) fn run(args: Args, json: bool) -> Result<Output> {
    let probe = args.probe()?;
    let set = probe.profile.set.clone();
    let mut warnings = warnings::of(&probe.input);
    // Before anything is attached, so that Ctrl-C always ends in order.
    let signals = Interrupt::catch()?;
    let mut running = probe.start()?;
    let decisions = running.session().decisions().to_vec();
    let attached = decisions.iter().filter(|d| d.attached).count();
    let (runtime, why) = (running.runtime(), running.why());
    eprint!(
        "running {} on {runtime} ({why}): {}",
        running.name,
        summary(&decisions, args.which.explain)
    );
    warnings.retain(|w| runtime == Runtime::KernelWasm && w.concerns(&decisions));
    for warning in &warnings {
        eprintln!("  warning   {warning}");
    }
    for (name, value) in set.iter().filter(|_| args.which.explain) {
        eprintln!("  set       {name} = {value}  (as the tool does, unless --set says otherwise)");
    }
    running
        .profile
        .notes
        .iter()
        .for_each(|note| eprintln!("{note}"));
    for stream in &running.streams {
        match args.which.explain {
            true => eprint!("{}", stream.explain()),
            // A person should not believe what the code says otherwise.
            false => stream.doubts().for_each(|doubt| eprintln!("{doubt}")),
        }
    }
    let interval = running.profile.interval.map(Duration::from_secs_f64);
    let tables = running.streams.is_empty() || args.interval.is_some();
    if args.which.explain {
        eprint!("{}", running.session().about()?);
    }
    let mut screen = Screen::new(json, tables, attached);
    let end = args.duration.map(|duration| Instant::now() + duration);
    screen.follow(&mut running, &signals, args.interval.or(interval), end)?;
    running.session().detach();
    let mut output = screen.finish(&mut running, args.which.explain)?;
    output.json["warnings"] = json!(warnings);
    Ok(output)
}

impl Args {
    fn probe(&self) -> Result<Probe> {
        let (input, options) = self.how.open(&self.file)?;
        let mut probe = Probe::new(input).runtime(self.runtime);
        probe.wish.options = options;
        probe.wish.choice = self.which.choice();
        probe.event.clone_from(&self.event);
        if let Some(path) = &self.layout {
            let about = || path.display().to_string();
            let text = std::fs::read_to_string(path).with_context(about)?;
            probe.layout = Some(Layout::parse(&text).with_context(about)?);
        }
        Ok(probe)
    }
}

/// What is printed, and how.
pub(super) struct Screen {
    json: bool,
    symbols: Symbols,
    stream: show::Stream,
    /// Whether maps and variables are shown again and again, or only at the end.
    tables: bool,
    /// Programs that are attached.
    attached: usize,
    /// Events that did not fit into their rings.
    pub(super) lost: u64,
}

impl Screen {
    pub(super) fn new(json: bool, tables: bool, attached: usize) -> Self {
        Screen {
            json,
            symbols: Symbols::default(),
            stream: show::Stream::default(),
            tables,
            attached,
            lost: 0,
        }
    }

    /// Prints what comes, until the end or a signal.
    pub(super) fn follow(
        &mut self,
        running: &mut Running,
        signals: &Interrupt,
        interval: Option<Duration>,
        end: Option<Instant>,
    ) -> Result<()> {
        let interval = interval.filter(|_| self.tables);
        let mut is_first = true;
        let mut next = interval.map(|interval| Instant::now() + interval);
        loop {
            let Some(count) = self.events(running)? else {
                return Ok(());
            };
            if is_first && count == 0 {
                eprintln!("{}", self.waiting(running));
            }
            is_first = false;
            let now = Instant::now();
            let until = next.into_iter().chain(end).min();
            let time = until.map(|until| until.saturating_duration_since(now));
            if end.is_some_and(|end| now >= end) || running.ready(Some(signals.as_fd()), time)? {
                return Ok(());
            }
            if next.is_some_and(|next| Instant::now() >= next) {
                if !self.state(running)?.print(self.json)? {
                    return Ok(());
                }
                if running.profile.clear {
                    running.clear()?;
                }
                next = next.zip(interval).map(|(next, interval)| next + interval);
            }
        }
    }

    /// What a person sees before there is anything to see.
    fn waiting(&self, running: &Running) -> String {
        let programs = if self.attached == 1 {
            "program"
        } else {
            "programs"
        };
        let what = match running.streams.is_empty() {
            true => "counting (Ctrl-C ends and shows it)",
            false => "waiting for events",
        };
        format!("Attached {} {programs}, {what}", self.attached)
    }

    /// Prints the events that came, and says how many; `None` if nobody reads any more.
    fn events(&mut self, running: &mut Running) -> Result<Option<usize>> {
        let (events, lost) = running.events()?;
        if lost > 0 {
            eprintln!("{lost} events lost");
            self.lost += lost;
        }
        for event in &events {
            let output = match self.json {
                true => Output {
                    text: String::new(),
                    json: show::event_json(event),
                },
                false => Output {
                    text: self.stream.line(event, &clock::of_day(event.time)),
                    json: Value::Null,
                },
            };
            if !output.print(self.json)? {
                return Ok(None);
            }
        }
        Ok(Some(events.len()))
    }

    /// Maps and variables, as they are now.
    fn state(&self, running: &mut Running) -> Result<Output> {
        let view = View {
            profile: &running.profile,
            symbols: &self.symbols,
            stacks: running.stacks()?,
        };
        let tables = running.tables()?;
        let globals = running.globals()?;
        let sends = !running.streams.is_empty();
        // Beside events, what is empty says nothing.
        let shown = tables
            .iter()
            .filter(|table| !sends || !table.elements.is_empty());
        let shown: Vec<_> = shown.collect();
        let mut text = format!("{}\n", clock::of_day(SystemTime::now()));
        if sends && shown.is_empty() && globals.fields.is_empty() {
            text.clear();
        }
        text += &view.globals(&globals);
        for table in shown {
            if sends || tables.len() > 1 {
                text += &format!("{}:\n", table.name);
            }
            text += &view.table(table);
        }
        let maps = tables.iter();
        let maps = maps.map(|table| (table.name.clone(), view.table_json(table)));
        let maps: serde_json::Map<_, _> = maps.collect();
        let own: usize = tables.iter().map(|table| table.own).sum();
        if own > 0 {
            text += &format!("(without {own} of wprobe itself, which waited)\n");
        }
        let mut json = json!({ "maps": maps, "globals": view.globals_json(&globals), "own": own });
        if let Some(report) = running.session().report()? {
            text += &format!("report: {report}\n");
            json["report"] = json!(report);
        }
        Ok(Output { text, json })
    }

    /// The last of it: what came until it was detached, tables, and what went wrong.
    fn finish(&mut self, running: &mut Running, explain: bool) -> Result<Output> {
        self.events(running)?;
        let counts = running.session().counts()?;
        for count in &counts {
            if explain || count.misses + count.traps > 0 {
                eprintln!("{}", counted(count));
            }
        }
        let mut output = self.state(running)?;
        let json = &mut output.json;
        json["name"] = json!(running.name);
        json["runtime"] = json!(running.runtime().name());
        json["why"] = json!(running.why());
        json["decisions"] = json!(running.session().decisions());
        json["notes"] = json!(running.session().notes());
        json["programs"] = json!(counts);
        json["profile"] = json!(running.profile.notes);
        json["events"] = running.streams.iter().map(Stream::to_json).collect();
        json["lost"] = json!(self.lost);
        Ok(output)
    }
}

fn counted(count: &Count) -> String {
    let Count {
        name,
        runs,
        misses,
        traps,
        last_trap,
    } = count;
    let why = last_trap.iter().map(|why| format!(", last: {why}"));
    let why: String = why.collect();
    format!("{name}: {runs} runs, {misses} misses, {traps} traps{why}")
}
