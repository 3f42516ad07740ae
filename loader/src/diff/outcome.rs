//! What a comparison came to, and how a person reads it.

use std::fmt;

use serde::Serialize;

use super::compare::Findings;
use crate::session::Cost;

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
