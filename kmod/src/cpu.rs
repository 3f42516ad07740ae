//! What each CPU owns: the guard against nested runs, and its [`Reserve`].
//!
//! # Invariants
//!
//! `running` is set only by its own CPU, with interrupts off, for the time of one run. So a run is
//! only ever interrupted by an NMI, whose hits see the guard and are misses. C sets it too, in `shim/hit.h`.

use core::ptr;
use core::sync::atomic::Ordering::{Relaxed, SeqCst};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32};

use abi::traps::Trap;
use helpers::host::Errno;

use crate::allocations::Reserve;
use crate::attach::Ready;
use crate::engine::slot::{RunState, Slot};
use crate::engine::trap::NO_SITE;
use crate::services::{self, IrqsOff};
use crate::stats::Stats;

/// One CPU's own. Zeroed memory is a valid one. It begins with what C knows as `struct wprobe_cpu`.
#[repr(C, align(64))]
pub(crate) struct Cpu {
    running: AtomicBool,
    /// Whether runs are timed, which C cannot.
    timed: AtomicBool,
    /// What the run was begun with by C; not null while it is in native code.
    ready: AtomicPtr<Ready>,
    /// Whether the run is the control path's.
    quiet: AtomicBool,
    /// The slot the run uses, for a panic to poison.
    slot: AtomicPtr<Slot>,
    /// The program's record, for a panic to be seen in.
    stats: AtomicPtr<Stats>,
    pub(crate) reserve: Reserve,
}

// What shim/hit.h knows.
known_to_c!(Cpu {
    running: 0,
    timed: 1,
    ready: 8
});

static CPUS: AtomicPtr<Cpu> = AtomicPtr::new(ptr::null_mut());
static COUNT: AtomicU32 = AtomicU32::new(0);

/// Makes the table of `count` CPUs; whether there was memory for it. Not counted as an allocation: it
/// lives as long as the kernel module.
pub(crate) fn init(count: u32) -> bool {
    let size = size_of_all(count);
    let table = services::alloc(size, 64);
    if table.is_null() {
        return false;
    }
    // SAFETY: the block has `size` bytes.
    unsafe { table.write_bytes(0, size) };
    COUNT.store(count, Relaxed);
    CPUS.store(table.cast(), Relaxed);
    true
}

/// Bytes of the table of `count` CPUs.
fn size_of_all(count: u32) -> usize {
    (count as usize * size_of::<Cpu>()).next_power_of_two()
}

/// Frees the table.
pub(crate) fn exit() {
    let count = COUNT.swap(0, Relaxed);
    let table = CPUS.swap(ptr::null_mut(), Relaxed);
    // SAFETY: it came from `init`, and no probe is left that could use it.
    unsafe { services::free(table.cast(), size_of_all(count)) };
}

/// How many CPUs the table has room for.
pub(crate) fn count() -> u32 {
    COUNT.load(Relaxed)
}

/// What `cpu` owns, if there is such a CPU.
pub(crate) fn get(cpu: u32) -> Option<&'static Cpu> {
    if cpu >= count() {
        return None;
    }
    // SAFETY: the table has `count()` entries and lives while probes do; zeroes are a valid entry.
    Some(unsafe { &*CPUS.load(Relaxed).add(cpu as usize) })
}

/// Says to C whether runs are timed.
pub(crate) fn time(timed: bool) {
    (0..count())
        .filter_map(get)
        .for_each(|cpu| cpu.timed.store(timed, SeqCst));
}

/// This CPU's entry if the caller is inside a run on it.
pub(crate) fn in_run() -> Option<&'static Cpu> {
    // With interrupts on this is no run, and the CPU could change under our feet.
    if !services::irqs_off() {
        return None;
    }
    get(services::cpu()).filter(|cpu| cpu.running.load(Relaxed))
}

/// Evidence that this CPU is in a run: interrupts are off, and a nested run would be a miss.
pub(crate) struct Running {
    cpu: &'static Cpu,
    index: u32,
}

impl Running {
    /// Begins a run on `cpu`, the current one, where interrupts are off. `None`: one is under way.
    pub(crate) fn begin(cpu: u32) -> Option<Self> {
        Self::begin_on(get(cpu)?, cpu)
    }

    /// As [`Running::begin`], where `entry` is the CPU's.
    #[inline]
    pub(crate) fn begin_on(entry: &'static Cpu, cpu: u32) -> Option<Self> {
        if entry.running.load(Relaxed) {
            return None;
        }
        entry.running.store(true, Relaxed);
        // C's last run is over.
        entry.ready.store(ptr::null_mut(), Relaxed);
        Some(Self {
            cpu: entry,
            index: cpu,
        })
    }

    /// Goes on with a run that C began.
    ///
    /// # Safety
    ///
    /// It is under way on this CPU, whose `entry` and number these are, and is gone on with once.
    pub(crate) unsafe fn go_on(entry: &'static Cpu, cpu: u32) -> Self {
        Self {
            cpu: entry,
            index: cpu,
        }
    }

    /// The CPU's number.
    pub(crate) fn index(&self) -> u32 {
        self.index
    }

    /// Notes what the run uses, should it be abandoned. A probe's does so before anything else.
    #[inline]
    pub(crate) fn using(&self, slot: &Slot, stats: Option<&Stats>) {
        let stats = stats.map_or(ptr::null(), ptr::from_ref);
        self.cpu.note(ptr::from_ref(slot), stats);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.cpu.running.store(false, Relaxed);
    }
}

/// Runs `work` in the control path as a probe would run it: on one CPU, with interrupts off, undisturbed.
pub(crate) fn quietly<R>(work: impl FnOnce(&Running) -> Result<R, Errno>) -> Result<R, Errno> {
    let _irqs = IrqsOff::new();
    let running = Running::begin(services::cpu()).ok_or(Errno::EBUSY)?;
    // What the last run used is not this one's.
    running.cpu.note(ptr::null(), ptr::null());
    running.cpu.quiet.store(true, Relaxed);
    let result = work(&running);
    running.cpu.quiet.store(false, Relaxed);
    result
}

/// Whose run was [abandoned](Cpu::abandon).
pub(crate) enum Abandoned {
    /// The control path's.
    Control,
    /// A probe's, which Rust began.
    Probe,
    /// A probe's, which C began: in native code with this state.
    Native(*mut RunState),
}

impl Cpu {
    /// Notes what a run that Rust began uses.
    #[inline]
    fn note(&self, slot: *const Slot, stats: *const Stats) {
        self.ready.store(ptr::null_mut(), Relaxed);
        self.slot.store(slot.cast_mut(), Relaxed);
        self.stats.store(stats.cast_mut(), Relaxed);
    }

    /// Ends the run from the panic handler: its slot is never used again, its program is disabled.
    pub(crate) fn abandon(&self) -> Abandoned {
        // SAFETY: null, or what the run under way was begun with, which its attachment keeps.
        let ready = unsafe { self.ready.load(Relaxed).as_ref() };
        if let Some(ready) = ready {
            self.note(ready.slot, ready.stats);
        }
        // SAFETY: null, or the slot of the run under way, which the run keeps alive.
        if let Some(slot) = unsafe { self.slot.swap(ptr::null_mut(), Relaxed).as_ref() } {
            slot.poison();
        }
        // SAFETY: null, or the record of the program that runs.
        if let Some(stats) = unsafe { self.stats.swap(ptr::null_mut(), Relaxed).as_ref() }
            && let Some(counters) = stats.cpu(services::cpu())
        {
            stats.trap(counters, Trap::Engine, NO_SITE, 1);
        }
        self.running.store(false, Relaxed);
        match (self.quiet.swap(false, Relaxed), ready) {
            (true, _) => Abandoned::Control,
            (false, None) => Abandoned::Probe,
            (false, Some(ready)) => Abandoned::Native(ready.state),
        }
    }
}
