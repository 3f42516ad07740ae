//! What a program has done: counters that each CPU writes on its own cache line.

use alloc::boxed::Box;
use core::sync::atomic::Ordering::{Relaxed, SeqCst};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};

use abi::traps::Trap;

use crate::cpu;
use crate::services;

/// How many timings there are. On a cache line of its own, which nothing writes while programs run.
#[repr(align(64))]
struct Timings(AtomicU32);

static TIMINGS: Timings = Timings(AtomicU32::new(0));

/// While it lives, the time of every run is measured.
pub(crate) struct Timing {
    pub(crate) id: u32,
}

impl Timing {
    pub(crate) fn new(id: u32) -> Self {
        TIMINGS.0.fetch_add(1, SeqCst);
        tell();
        Self { id }
    }

    /// Whether there is one.
    #[inline]
    fn is_wanted() -> bool {
        TIMINGS.0.load(Relaxed) != 0
    }

    /// When a run begins, if there is one; else 0.
    #[inline]
    pub(crate) fn begin() -> u64 {
        match Self::is_wanted() {
            false => 0,
            true => services::ktime(),
        }
    }
}

impl Drop for Timing {
    fn drop(&mut self) {
        TIMINGS.0.fetch_sub(1, SeqCst);
        tell();
    }
}

/// Tells C whether there is a timing. Whoever told it what has changed meanwhile tells it again.
fn tell() {
    loop {
        let wanted = TIMINGS.0.load(SeqCst) != 0;
        cpu::time(wanted);
        if wanted == (TIMINGS.0.load(SeqCst) != 0) {
            return;
        }
    }
}

/// One CPU's counters. Only that CPU writes them, inside a run; misses also from a nested hit. C counts runs, the first.
#[derive(Default)]
#[repr(C, align(64))]
pub(crate) struct Counters {
    runs: AtomicU64,
    misses: AtomicU64,
    traps: AtomicU64,
    timed: AtomicU64,
    nanoseconds: AtomicU64,
}

// What shim/hit.h knows.
known_to_c!(Counters { runs: 0 });
known_to_c!(Stats { disabled: 0 });

/// Adds to a counter that only this CPU writes: no locked instruction.
fn add(counter: &AtomicU64, amount: u64) {
    counter.store(counter.load(Relaxed) + amount, Relaxed);
}

impl Counters {
    /// A run begins.
    pub(crate) fn run(&self) {
        add(&self.runs, 1);
    }

    /// A run ends, for which [`Timing::begin`] was `began`.
    #[inline]
    pub(crate) fn end(&self, began: u64) {
        if began != 0 {
            self.took(services::ktime().saturating_sub(began));
        }
    }

    #[cold]
    fn took(&self, nanoseconds: u64) {
        add(&self.timed, 1);
        add(&self.nanoseconds, nanoseconds);
    }

    /// A hit was not run. May interrupt any of the others.
    pub(crate) fn miss(&self) {
        self.misses.fetch_add(1, Relaxed);
    }
}

/// The sums over all CPUs.
#[derive(Default)]
pub(crate) struct Totals {
    pub(crate) runs: u64,
    pub(crate) misses: u64,
    pub(crate) traps: u64,
    pub(crate) timed: u64,
    pub(crate) nanoseconds: u64,
}

/// A program's counters, and what became of it.
#[repr(C)]
pub(crate) struct Stats {
    /// C looks at this, the first.
    disabled: AtomicBool,
    cpus: Box<[Counters]>,
    /// What the probes of links that are gone missed.
    missed_before: AtomicU64,
    /// Traps towards the limit; touched by traps only.
    trapped: AtomicU32,
    last_trap: AtomicU32,
    last_site: AtomicU32,
}

impl Stats {
    pub(crate) fn new(cpus: u32) -> Self {
        Self {
            cpus: (0..cpus).map(|_| Counters::default()).collect(),
            missed_before: AtomicU64::new(0),
            disabled: AtomicBool::new(false),
            trapped: AtomicU32::new(0),
            last_trap: AtomicU32::new(0),
            last_site: AtomicU32::new(crate::engine::trap::NO_SITE),
        }
    }

    /// The counters of `cpu`.
    pub(crate) fn cpu(&self, cpu: u32) -> Option<&Counters> {
        self.cpus.get(cpu as usize)
    }

    /// A run on a CPU ended early. After `limit` traps, unless 0, the program is disabled.
    pub(crate) fn trap(&self, counters: &Counters, trap: Trap, site: u32, limit: u32) {
        add(&counters.traps, 1);
        self.last_trap.store(trap as u32, Relaxed);
        self.last_site.store(site, Relaxed);
        if limit != 0 && self.trapped.fetch_add(1, Relaxed) + 1 >= limit {
            self.disabled.store(true, Relaxed);
        }
    }

    /// Whether too many traps disabled the program.
    pub(crate) fn is_disabled(&self) -> bool {
        self.disabled.load(Relaxed)
    }

    /// Why and where the last trap was; 0 if there was none.
    pub(crate) fn last_trap(&self) -> (u32, u32) {
        (self.last_trap.load(Relaxed), self.last_site.load(Relaxed))
    }

    /// Takes over what a link's probe missed, when it goes.
    pub(crate) fn add_missed(&self, missed: u64) {
        self.missed_before.fetch_add(missed, Relaxed);
    }

    pub(crate) fn totals(&self) -> Totals {
        let mut totals = Totals {
            misses: self.missed_before.load(Relaxed),
            ..Totals::default()
        };
        for cpu in &self.cpus {
            totals.runs += cpu.runs.load(Relaxed);
            totals.misses += cpu.misses.load(Relaxed);
            totals.traps += cpu.traps.load(Relaxed);
            totals.timed += cpu.timed.load(Relaxed);
            totals.nanoseconds += cpu.nanoseconds.load(Relaxed);
        }
        totals
    }
}
