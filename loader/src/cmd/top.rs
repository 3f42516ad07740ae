//! `wprobe top`.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::{IsTerminal, stdout};
use std::time::{Duration, Instant};

use anyhow::Result;
use loader::device::{Device, Program, text};
use loader::resident::Resident;
use serde_json::json;

use super::interrupt::{Interrupt, period};
use super::{Output, device};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  wprobe top
  wprobe top --interval 5 --count 12
  wprobe top --once --json

Runs are timed while this runs, and only then, which costs each two readings of the clock. JSON is one line an interval, and has
also the programs that have not run yet.")]
pub(super) struct Args {
    /// Show every so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = period, default_value = "1")]
    interval: Duration,
    /// End after so many times; by default at Ctrl-C
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// The same as --count 1
    #[arg(long, conflicts_with = "count")]
    once: bool,
}

pub(super) fn run(args: Args, json: bool) -> Result<Output> {
    let device = device()?;
    let _timing = device.time_runs()?;
    let signals = Interrupt::catch()?;
    let mut left = if args.once { Some(1) } else { args.count };
    let mut names = Names::new();
    let mut before = Sample::take(&device, &mut names)?;
    loop {
        let interrupted = signals.wait(args.interval)?;
        let now = Sample::take(&device, &mut names)?;
        let output = now.since(&before);
        before = now;
        left = left.map(|left| left - 1);
        if interrupted || left == Some(0) {
            return Ok(output);
        }
        if !json && stdout().is_terminal() {
            // Home and clear: the screen shows the newest interval only.
            print!("\x1b[H\x1b[2J");
        }
        if !output.print(json)? {
            return Ok(output);
        }
    }
}

/// Every program's counts at a time.
struct Sample {
    time: Instant,
    /// By the module's id and the program's index.
    programs: BTreeMap<(u32, u32), Seen>,
}

/// A program and its counts.
struct Seen {
    module: String,
    /// What C calls it.
    name: String,
    program: Program,
}

/// What C calls the programs of each module, in their order: a module's bytes say so, and are read once.
type Names = BTreeMap<u32, Vec<String>>;

/// What a program did in an interval.
struct Row<'s> {
    id: u32,
    module: &'s str,
    name: &'s str,
    program: &'s Program,
    runs: u64,
    misses: u64,
    traps: u64,
    timed: u64,
    nanoseconds: u64,
}

impl Sample {
    fn take(device: &Device, names: &mut Names) -> Result<Self> {
        let time = Instant::now();
        let mut programs = BTreeMap::new();
        for module in Resident::all(device)? {
            let counted = module.module.programs()?;
            let names = match names.entry(module.info.id) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(place) => {
                    let input = module.input()?;
                    let own = |p: &Program| input.program(&text(&p.name)).to_owned();
                    place.insert(counted.iter().map(own).collect())
                }
            };
            for (program, name) in counted.into_iter().zip(names) {
                let seen = Seen {
                    module: module.name(),
                    name: name.clone(),
                    program,
                };
                programs.insert((module.info.id, program.index), seen);
            }
        }
        Ok(Sample { time, programs })
    }

    /// What happened since `before`, the most expensive program first.
    fn since(&self, before: &Sample) -> Output {
        let mut rows: Vec<_> = self.rows(before).collect();
        rows.sort_by_key(|row| Reverse((row.nanoseconds, row.runs, row.misses)));
        let seconds = (self.time - before.time).as_secs_f64();
        let mut text = format!(
            "{:>4}  {:<16}{:>10}{:>10}{:>10}{:>10}{:>8}  program\n",
            "id", "module", "runs/s", "misses/s", "traps/s", "ns a run", "CPU %"
        );
        // Many objects bring alternatives that are never attached.
        let seen = rows
            .iter()
            .filter(|row| row.program.runs + row.program.misses > 0);
        text.extend(seen.map(|row| row.text(seconds)));
        let programs: Vec<_> = rows.iter().map(Row::json).collect();
        Output {
            text,
            json: json!({ "seconds": seconds, "programs": programs }),
        }
    }

    fn rows<'s>(&'s self, before: &Sample) -> impl Iterator<Item = Row<'s>> {
        self.programs.iter().map(|(key, seen)| {
            let program = &seen.program;
            // A program that was not there had done nothing.
            let then = before.programs.get(key).map(|seen| &seen.program);
            let since = |count: fn(&Program) -> u64| count(program) - then.map_or(0, count);
            Row {
                id: key.0,
                module: &seen.module,
                name: &seen.name,
                program,
                runs: since(|p| p.runs),
                misses: since(|p| p.misses),
                traps: since(|p| p.traps),
                timed: since(|p| p.timed),
                nanoseconds: since(|p| p.nanoseconds),
            }
        })
    }
}

impl Row<'_> {
    fn text(&self, seconds: f64) -> String {
        let rate = |count: u64| count as f64 / seconds;
        let average = self.nanoseconds.checked_div(self.timed);
        format!(
            "{:>4}  {:<16}{:>10.0}{:>10.0}{:>10.0}{:>10}{:>8.2}  {}{}\n",
            self.id,
            self.module,
            rate(self.runs),
            rate(self.misses),
            rate(self.traps),
            average.map_or("-".to_owned(), |average| average.to_string()),
            rate(self.nanoseconds) / 1e7,
            self.name,
            if self.program.disabled != 0 {
                " (disabled)"
            } else {
                ""
            },
        )
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "id": self.id,
            "module": self.module,
            "program": self.name,
            "export": text(&self.program.name),
            "runs": self.runs,
            "misses": self.misses,
            "traps": self.traps,
            "timed": self.timed,
            "nanoseconds": self.nanoseconds,
            "disabled": self.program.disabled != 0,
        })
    }
}
