//! A hit: from a probe to the program's run.
//!
//! What a translated program's run needs is looked up when it is attached, a [`Ready`] for each CPU. Native code is not run here
//! but left to `shim/catch.S`, which has saved all registers already: [`Attachment::hit`], the code, [`Attachment::ran`].

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use abi::layout;
use wasmi::Store;

use super::shim::{self, Hit};
use crate::cpu::{self, Cpu, Running};
use crate::engine::Function;
use crate::engine::native::Rest;
use crate::engine::slot::{Flow, RunState, Slot, SlotGuard};
use crate::engine::trap::{self, Stop};
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
    /// With the syscall's arguments; which one is a string, and where it goes.
    Syscall { string: Option<(usize, Buffer)> },
}

/// What a translated program's hit on one CPU needs. The attachment keeps what is behind the references.
#[repr(align(64))]
struct Ready {
    cpu: &'static Cpu,
    slot: &'static Slot,
    counters: &'static Counters,
    /// Where the context is copied to: [`layout::CONTEXT_SIZE`] bytes of guest memory.
    context: &'static [AtomicU64; CONTEXT_WORDS],
    function: Function,
}

const CONTEXT_WORDS: usize = layout::CONTEXT_SIZE as usize / 8;
const INFO_AT: usize = layout::FUNCTION_INFO as usize / 8;

/// What a probe's handler is given.
pub(crate) struct Attachment {
    /// By CPU; empty for a hand-written program.
    ready: Box<[Ready]>,
    stats: &'static Stats,
    fuel: u64,
    /// Words of the context that are copied.
    /// [`CONTEXT_WORDS`] at most.
    words: usize,
    /// Their bits; empty: all of each.
    masks: Box<[u64]>,
    /// What lies at `layout::FUNCTION_INFO`, for a traced function.
    info: Option<u64>,
    /// Which of a syscall's arguments is a string, and where it goes.
    string: Option<(usize, Buffer)>,
    pub(super) cookie: u64,
    _sandbox: Arc<Sandbox>,
    pub(super) module: Arc<Module>,
    /// Index of the program in the module.
    pub(super) program: usize,
}

impl Attachment {
    pub(super) fn new(
        sandbox: Arc<Sandbox>,
        module: Arc<Module>,
        program: usize,
        how: How,
        cookie: u64,
    ) -> Self {
        let attached = &module.programs[program];
        let whole = |masks: &[u64]| masks.iter().all(|mask| *mask == u64::MAX);
        let (words, masks, info, string) = match how {
            How::Context(words) => (words, Box::default(), None, None),
            How::Arguments(masks) if whole(&masks) => (masks.len(), Box::default(), None, None),
            How::Arguments(masks) => (masks.len(), masks, None, None),
            How::Function { words, info } => (words, Box::default(), Some(info), None),
            How::Syscall { string } => (0, Box::default(), None, string),
        };
        // SAFETY: the module, whose programs never move, is kept by the attachment.
        let stats = unsafe { &*core::ptr::from_ref(&attached.stats) };
        Self {
            ready: ready(&sandbox, attached, stats),
            stats,
            fuel: module.budget.fuel,
            words: words.min(attached.context).min(CONTEXT_WORDS),
            masks,
            info,
            string,
            cookie,
            _sandbox: sandbox,
            module,
            program,
        }
    }

    pub(super) fn program(&self) -> &Program {
        &self.module.programs[self.program]
    }

    /// A hit on `cpu`, with interrupts off; what is left to be done of it. If that is a run, [`Self::ran`] follows.
    ///
    /// # Safety
    ///
    /// The hit is one of the place this attachment was made for.
    // Nothing but the last thing done is a call, so that no registers need be saved.
    #[inline]
    pub(crate) unsafe fn hit(&self, hit: &Hit, cpu: u32) -> Rest {
        if !self.masks.is_empty() {
            // SAFETY: the caller's promise.
            return unsafe { self.hit_masked(hit, cpu) };
        }
        // SAFETY: the caller's promise.
        unsafe { self.begin(hit, cpu, copy) }
    }

    /// As [`Self::hit`], where not all bits of each word are wanted.
    ///
    /// # Safety
    ///
    /// As [`Self::hit`].
    #[inline(never)]
    unsafe fn hit_masked(&self, hit: &Hit, cpu: u32) -> Rest {
        let copy = |to: &[AtomicU64], words: &[u64]| {
            let each = to.iter().zip(words).zip(&self.masks);
            each.for_each(|((to, word), mask)| to.store(*word & *mask, Relaxed));
        };
        // SAFETY: the caller's promise.
        unsafe { self.begin(hit, cpu, copy) }
    }

    /// As [`Self::hit`]; `copy` copies the context.
    ///
    /// # Safety
    ///
    /// As [`Self::hit`].
    #[inline(always)]
    unsafe fn begin(&self, hit: &Hit, cpu: u32, copy: impl Fn(&[AtomicU64], &[u64])) -> Rest {
        let Some(ready) = self.ready.get(cpu as usize) else {
            // SAFETY: the caller's promise.
            return unsafe { self.hit_arguments(hit, cpu) };
        };
        let Some(running) = Running::begin_on(ready.cpu, cpu) else {
            ready.counters.miss();
            return Rest::NOTHING;
        };
        if self.stats.is_disabled() {
            return Rest::NOTHING;
        }
        let Some(mut store) = ready.slot.try_lock() else {
            // A further module is being loaded into this CPU's store.
            ready.counters.miss();
            return Rest::NOTHING;
        };
        running.using(ready.slot, Some(self.stats));
        // SAFETY: no more are copied (`Self::new`); the place's probe hands over that many at least (`place::context`).
        let words = unsafe {
            core::hint::assert_unchecked(self.words <= CONTEXT_WORDS);
            core::slice::from_raw_parts(hit.words, self.words)
        };
        copy(&ready.context[..words.len()], words);
        if let Some(info) = self.info {
            ready.context[INFO_AT].store(info, Relaxed);
        }
        ready.counters.run();
        let state = store.data_mut();
        state.context = core::ptr::from_ref(hit) as u64;
        state.cookie = self.cookie;
        let Function::Native(function) = ready.function else {
            return self.interpret(ready, running, store);
        };
        let rest = function.prepare(state, self.fuel);
        store.keep();
        running.keep();
        if Timing::is_wanted() {
            return rest.timed();
        }
        rest
    }

    /// Runs wasm; nothing is left to be done.
    #[inline(never)]
    fn interpret(&self, ready: &Ready, _running: Running, mut store: SlotGuard<'_>) -> Rest {
        let began = Timing::begin();
        let argument = store.data_mut().argument;
        let mut fuel = self.fuel;
        let result = ready.function.run(&mut store, argument, &mut fuel);
        if let Err(stop) = result {
            self.stopped(ready, &mut store, stop, fuel);
        }
        ready.counters.end(began);
        Rest::NOTHING
    }

    /// Native code that [`Self::hit`] left to be run has been run.
    ///
    /// # Safety
    ///
    /// It was left by the last hit on this CPU, and `state` is its own.
    #[inline]
    pub(crate) unsafe fn ran(&self, state: *mut RunState) {
        // SAFETY: the state is this run's; its CPU has an entry, in which the run began.
        let (ready, cpu, is_plain) = unsafe {
            let cpu = (*state).vm.cpu as u32;
            let ready = self.ready.get_unchecked(cpu as usize);
            (ready, cpu, (*state).trap.is_none() && (*state).began == 0)
        };
        // SAFETY: both were kept when the run was left over.
        let (running, store) = unsafe { (Running::go_on(ready.cpu, cpu), ready.slot.go_on()) };
        if !is_plain {
            self.finish(ready, running, store);
        }
    }

    /// As [`Self::ran`], of a run that was timed or ended early.
    #[cold]
    fn finish(&self, ready: &Ready, _running: Running, mut store: SlotGuard<'_>) {
        let state = store.data_mut();
        let (began, fuel) = (core::mem::take(&mut state.began), state.vm.fuel);
        if state.trap.is_some() {
            self.stopped(ready, &mut store, Stop::Noted, fuel);
        }
        ready.counters.end(began);
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
            self.stats.trap(ready.counters, trap, site, limit);
        }
        store.data_mut().flow = Flow::default();
    }

    /// A hit of a hand-written program.
    ///
    /// # Safety
    ///
    /// As [`Self::hit`].
    #[cold]
    unsafe fn hit_arguments(&self, hit: &Hit, cpu: u32) -> Rest {
        let program = self.program();
        let Some(counters) = program.stats.cpu(cpu) else {
            return Rest::NOTHING;
        };
        let Some(running) = Running::begin(cpu) else {
            counters.miss();
            return Rest::NOTHING;
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
            return Rest::NOTHING;
        };
        if program.stats.is_disabled() {
            return Rest::NOTHING;
        }
        // SAFETY: a syscall's probe hands over registers.
        let Some(args) = (unsafe { shim::syscall_args(hit.regs) }) else {
            counters.miss();
            return Rest::NOTHING;
        };
        let run = Run {
            running: &running,
            stats: &program.stats,
            counters,
            budget: self.module.budget,
            context: core::ptr::from_ref(hit) as u64,
            cookie: self.cookie,
        };
        let call = SyscallCall {
            func: *func,
            params,
            results: *results,
            string: self.string,
        };
        run.with_arguments(&own.slot, &call, args);
        Rest::NOTHING
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

/// What hits of a translated program need, by CPU.
fn ready(sandbox: &Sandbox, program: &Program, stats: &'static Stats) -> Box<[Ready]> {
    let (Some(shared), Entry::Context(functions)) = (&sandbox.shared, &program.entry) else {
        return Box::default();
    };
    let memory = shared.space.memory();
    let cpus = (0..).zip(&shared.cpus).zip(functions);
    let ready = cpus.map_while(|((index, cpu), function)| {
        let base = layout::context_base(index);
        let context = memory.at(base, layout::CONTEXT_SIZE.into())?.as_ptr();
        // SAFETY: that much guest memory, which is only accessed atomically and is as aligned as its base; the sandbox,
        // whose stores and memory never move, is kept by the attachment.
        let (context, slot) = unsafe { (&*context.cast(), &*core::ptr::from_ref(&cpu.slot)) };
        Some(Ready {
            cpu: cpu::get(index)?,
            slot,
            counters: stats.cpu(index)?,
            context,
            function: *function,
        })
    });
    ready.collect()
}
