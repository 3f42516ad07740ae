//! A hit: from a probe to the program's run.
//!
//! What a translated program's run needs is looked up when it is attached, a [`Ready`] for each CPU. Native code C begins and
//! ends by itself (`shim/hit.h`), where a run is plain: it does what [`Attachment::hit`] does. All else is
//! done here: wasm, what is timed, missed or disabled, and, in [`Attachment::left`], what comes after native code that was left
//! before its end.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use abi::layout;
use abi::uapi::FUNCTION_ARGS;
use wasmi::Store;

use super::places::Cookies;
use super::shim::{self, Hit};
use crate::cpu::{self, Cpu, Running};
use crate::engine::slot::{RunState, Slot};
use crate::engine::trap::{self, Stop};
use crate::engine::{Function, native};
use crate::module::Module;
use crate::program::{Buffer, Entry, Program, Run, SyscallCall};
use crate::sandbox::Sandbox;
use crate::stats::{Counters, Stats, Timing};

/// How a hit calls the program.
pub(super) enum How {
    /// With a copy of the first words of what the probe has.
    Context(usize),
    /// With a copy of as many words as there are masks, each cut by its own.
    Arguments(Box<[u64]>),
    /// With a copy of all words of a traced function, and `layout::FUNCTION_INFO`.
    Function { words: usize, info: u64 },
    /// With a copy of the registers, and the words of a session.
    Session,
    /// With the syscall's arguments; which one is a string, and where it goes.
    Syscall { string: Option<(usize, Buffer)> },
}

/// What a translated program's hit on one CPU needs. The attachment keeps what is behind the references. It begins with what C
/// knows as `struct wprobe_ready`.
#[repr(C, align(128))]
pub(crate) struct Ready {
    /// This CPU's, or [`CLOSED`]: whether C may begin a run, by its first two bytes.
    gate: *const Cpu,
    pub(crate) slot: &'static Slot,
    pub(crate) stats: &'static Stats,
    counters: &'static Counters,
    /// Where the context is copied to: [`layout::CONTEXT_SIZE`] bytes of guest memory.
    context: &'static [AtomicU64; CONTEXT_WORDS],
    /// The attachment's.
    masks: *const Masks,
    /// The slot's.
    pub(crate) state: *mut RunState,
    native: native::Function,
    fuel: u64,
    /// What lies at `layout::FUNCTION_INFO`, for a traced function; else 0, behind every context.
    info: u64,
    /// Words of the context that are copied, [`CONTEXT_WORDS`] at most.
    words: usize,
    cpu: &'static Cpu,
    function: Function,
}

// What shim/hit.h knows.
known_to_c!(Ready {
    gate: 0,
    slot: 8,
    stats: 16,
    counters: 24,
    context: 32,
    masks: 40,
    state: 48,
    native: 56,
    fuel: 72,
    info: 80,
    words: 88,
});
known_to_c!(Attachment { ready: 0 });
const _: () = {
    assert!(size_of::<Ready>() == 128);
    assert!(size_of::<[AtomicU64; CONTEXT_WORDS]>() == layout::CONTEXT_SIZE as usize);
    assert!(INFO_AT == 511);
    // What shim/wprobe.h has of a session.
    assert!(layout::SESSION_IS_RETURN == 168 && layout::SESSION_COOKIE == 176);
    assert!(layout::SESSION_RESULT == 184 && layout::SESSION_SIZE == 192);
    assert!(layout::SESSION_IGNORES == 1);
};

/// A gate that is never open, for what C does not run.
static CLOSED: u16 = u16::MAX;

/// The bits that are wanted of each word of a raw tracepoint's context.
type Masks = [u64; FUNCTION_ARGS];

const CONTEXT_WORDS: usize = layout::CONTEXT_SIZE as usize / 8;
const INFO_AT: usize = layout::FUNCTION_INFO as usize / 8;

/// What a probe's handler is given. It begins with what C knows as `struct wprobe_attachment`.
#[repr(C)]
pub(crate) struct Attachment {
    /// Of all CPUs, which `each` has; null for a hand-written program.
    ready: *const Ready,
    /// By CPU; empty for a hand-written program.
    each: Box<[Ready]>,
    /// Whether any word is cut.
    masked: bool,
    masks: Box<Masks>,
    /// Which of a syscall's arguments is a string, and where it goes.
    string: Option<(usize, Buffer)>,
    pub(super) cookies: Cookies,
    pub(super) sandbox: Arc<Sandbox>,
    pub(super) module: Arc<Module>,
    /// Index of the program in the module.
    pub(super) program: usize,
}

// SAFETY: what the pointers point to belongs to the attachment itself or outlives it, and is shared as `Sync` types are; a
// state is only used in a run in its slot.
unsafe impl Send for Attachment {}
// SAFETY: as above.
unsafe impl Sync for Attachment {}

impl Attachment {
    pub(super) fn new(
        sandbox: Arc<Sandbox>,
        module: Arc<Module>,
        program: usize,
        how: How,
        cookies: Cookies,
    ) -> Self {
        let attached = &module.programs[program];
        let reads = attached.context;
        // What no argument is C writes, too.
        let mut masks = Box::new([0; FUNCTION_ARGS]);
        let mut masked = false;
        let (words, info, string) = match how {
            How::Context(words) => (words.min(reads), 0, None),
            How::Arguments(given) => {
                masks
                    .iter_mut()
                    .zip(&given)
                    .for_each(|(to, mask)| *to = *mask);
                masked = given.iter().any(|mask| *mask != u64::MAX);
                (given.len().min(reads), 0, None)
            }
            // One at least tells C that `info` is wanted, too.
            How::Function { words, info } => (words.max(1).min(reads), info, None),
            // What C reads afterwards it has to have written, whatever the program reads.
            How::Session => (layout::SESSION_SIZE as usize / 8, 0, None),
            How::Syscall { string } => (0, 0, string),
        };
        let copied = Copied {
            words: words.min(CONTEXT_WORDS),
            masks: &raw const *masks,
            info,
        };
        let each = ready(&sandbox, &module, attached, &copied);
        Self {
            ready: match each.len() == cpu::count() as usize {
                true => each.as_ptr(),
                false => core::ptr::null(),
            },
            each,
            masked,
            masks,
            string,
            cookies,
            sandbox,
            module,
            program,
        }
    }

    pub(super) fn program(&self) -> &Program {
        &self.module.programs[self.program]
    }

    /// Whether any probe may hit it: C looks its CPU up unchecked, but where a syscall's arguments are wanted.
    pub(super) fn is_ready(&self) -> bool {
        !self.ready.is_null() || matches!(self.program().entry, Entry::Arguments { .. })
    }

    /// A hit on `cpu`, with interrupts off.
    ///
    /// # Safety
    ///
    /// The hit is one of the place this attachment was made for, and `words` its context.
    #[inline]
    pub(crate) unsafe fn hit(&self, hit: Hit, words: *const u64, cpu: u32) {
        let Some(ready) = self.each.get(cpu as usize) else {
            // SAFETY: the caller's promise.
            return unsafe { self.hit_arguments(hit, cpu) };
        };
        let Some(running) = Running::begin_on(ready.cpu, cpu) else {
            return ready.counters.miss();
        };
        if ready.stats.is_disabled() {
            return;
        }
        let Some(mut store) = ready.slot.try_lock() else {
            // A further module is being loaded into this CPU's store.
            return ready.counters.miss();
        };
        running.using(ready.slot, Some(ready.stats));
        // SAFETY: no more are copied (`Self::new`); the place's probe hands over that many at least (`place::context`).
        let words = unsafe {
            core::hint::assert_unchecked(ready.words <= CONTEXT_WORDS);
            core::slice::from_raw_parts(words, ready.words)
        };
        match self.masked {
            false => copy(&ready.context[..words.len()], words),
            true => copy_masked(ready.context, words, &self.masks),
        }
        ready.context[INFO_AT].store(ready.info, Relaxed);
        ready.counters.run();
        let state = store.data_mut();
        state.hit = hit;
        let argument = state.argument;
        let began = Timing::begin();
        let mut fuel = ready.fuel;
        let result = ready.function.run(&mut store, argument, &mut fuel);
        match result {
            Err(stop) => self.stopped(ready, &mut store, stop, fuel),
            Ok(()) if store.data().left => store.data_mut().set_back(),
            Ok(()) => {}
        }
        ready.counters.end(began);
    }

    /// Native code that C began on `cpu` was left before its end, or there is more to be done after it.
    ///
    /// # Safety
    ///
    /// It was a run of this attachment, the last on this CPU, on which interrupts are still off.
    #[cold]
    pub(crate) unsafe fn left(&self, cpu: u32) {
        let Some(ready) = self.each.get(cpu as usize) else {
            return;
        };
        if ready.slot.is_poisoned() {
            // It was a panic, and has been dealt with.
            return;
        }
        // SAFETY: C began the run, and leaves its end to this.
        let (running, mut store) = unsafe { (Running::go_on(ready.cpu, cpu), ready.slot.go_on()) };
        running.using(ready.slot, Some(ready.stats));
        if store.data().trap.is_none() {
            // It came to its end.
            return store.data_mut().set_back();
        }
        let fuel = store.data().vm.fuel;
        self.stopped(ready, &mut store, Stop::Noted, fuel);
    }

    /// After the engine has stopped, with `fuel` left: goes on with the programs that took over, and notes a trap.
    #[cold]
    fn stopped(&self, ready: &Ready, store: &mut Store<RunState>, stop: Stop, mut fuel: u64) {
        let argument = store.data_mut().argument;
        let mut result = Err(stop);
        while result.is_err()
            && let Some(next) = store.data_mut().next_program()
        {
            store.data_mut().trap = None;
            result = next.run(store, argument, &mut fuel);
        }
        if let Err(stop) = result {
            let (trap, site) = trap::reason(store.data_mut(), &stop);
            let limit = self.module.budget.trap_limit;
            ready.stats.trap(ready.counters, trap, site, limit);
        }
        store.data_mut().set_back();
    }

    /// A hit of a hand-written program.
    ///
    /// # Safety
    ///
    /// As [`Self::hit`].
    #[cold]
    unsafe fn hit_arguments(&self, hit: Hit, cpu: u32) {
        let program = self.program();
        let Some(counters) = program.stats.cpu(cpu) else {
            return;
        };
        let Some(running) = Running::begin(cpu) else {
            return counters.miss();
        };
        let (
            Entry::Arguments {
                func,
                params,
                results,
            },
            Some(own),
        ) = (&program.entry, &self.module.own)
        else {
            return;
        };
        if program.stats.is_disabled() {
            return;
        }
        // SAFETY: a syscall's probe hands over registers.
        let Some(args) = (unsafe { shim::syscall_args(hit.from) }) else {
            return counters.miss();
        };
        let run = Run {
            running: &running,
            stats: &program.stats,
            counters,
            budget: self.module.budget,
            hit,
        };
        let call = SyscallCall {
            func: *func,
            params,
            results: *results,
            string: self.string,
        };
        run.with_arguments(&own.slot, &call, args);
    }
}

/// Copies the words of a context, of which there are none, a few, or a whole `struct pt_regs`.
#[inline(always)]
fn copy(mut to: &[AtomicU64], mut words: &[u64]) {
    while let ([a, b, c, d, to_rest @ ..], [e, f, g, h, rest @ ..]) = (to, words) {
        for (to, word) in [(a, e), (b, f), (c, g), (d, h)] {
            to.store(*word, Relaxed);
        }
        (to, words) = (to_rest, rest);
    }
    let each = to.iter().zip(words);
    each.for_each(|(to, word)| to.store(*word, Relaxed));
}

/// Copies the words of a context, and of each what its mask has.
#[cold]
fn copy_masked(to: &[AtomicU64], words: &[u64], masks: &Masks) {
    let each = to.iter().zip(words).zip(masks);
    each.for_each(|((to, word), mask)| to.store(*word & *mask, Relaxed));
}

/// What of a context is copied.
struct Copied {
    words: usize,
    masks: *const Masks,
    info: u64,
}

/// What hits of a translated program need, by CPU; none of a hand-written one.
fn ready(sandbox: &Sandbox, module: &Module, program: &Program, copied: &Copied) -> Box<[Ready]> {
    let (Some(shared), Entry::Context(functions)) = (&sandbox.shared, &program.entry) else {
        return Box::default();
    };
    let memory = shared.space.memory();
    // SAFETY: the module, whose programs never move, is kept by the attachment.
    let stats = unsafe { &*core::ptr::from_ref(&program.stats) };
    let cpus = (0..).zip(&shared.cpus).zip(functions);
    let ready = cpus.map_while(|((index, on), function)| {
        let base = layout::context_base(index);
        let context = memory.at(base, layout::CONTEXT_SIZE.into())?.as_ptr();
        // SAFETY: that much guest memory, which is only accessed atomically and is as aligned as its base; the sandbox,
        // whose stores and memory never move, is kept by the attachment.
        let (context, slot): (_, &Slot) =
            unsafe { (&*context.cast(), &*core::ptr::from_ref(&on.slot)) };
        let cpu = cpu::get(index)?;
        let (gate, native) = match function {
            Function::Native(native) => (core::ptr::from_ref(cpu), *native),
            Function::Wasmi(_) => ((&raw const CLOSED).cast(), native::Function::new(0, 0)),
        };
        Some(Ready {
            gate,
            slot,
            stats,
            counters: stats.cpu(index)?,
            context,
            masks: copied.masks,
            state: slot.state(),
            native,
            fuel: module.budget.fuel,
            info: copied.info,
            words: copied.words,
            cpu,
            function: *function,
        })
    });
    ready.collect()
}
