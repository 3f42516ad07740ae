//! A store, what a run in it knows, and the right to use it.
//!
//! # Invariants
//!
//! A slot's store is only touched through a [`SlotGuard`], of which there is one at a time, or its state by native code that C
//! has begun, for which it holds the slot (`shim/hit.h`). A probe
//! never waits for a slot of its own CPU: it tries, and misses. It does wait for the one slot of an
//! exclusive module; there the holder is another CPU in a run of bounded length, for a nested run on
//! this CPU was refused before (see [`crate::cpu::Running`]).

use alloc::vec::Vec;
use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicU8, Ordering};

use abi::layout;
use abi::native::Vm;
use abi::traps::Trap;
use helpers::calls::Nested;
use helpers::space::Space;
use wasmi::{Engine, Error, ResourceLimiter, Store, TypedFunc};
use wasmi_core::LimiterError;

use super::Function;
use super::config::MAX_TABLE;
use super::native::text::Text;
use super::warm;
use crate::attach::Hit;

/// The `T` of every store: what host functions need to know about the run. It begins with what C knows as `struct wprobe_run`.
#[repr(C)]
pub(crate) struct RunState {
    /// What native code knows, and by which it finds the rest.
    pub(crate) vm: Vm,
    /// What a hit calls native code with: the pointer to the context.
    pub(crate) argument: u64,
    /// The stack pointer that a run that C began is left by from anywhere.
    pub(crate) outermost: u64,
    /// The number, in the store, of the module whose native code runs.
    pub(crate) module: usize,
    /// What the probe handed over.
    pub(crate) hit: Hit,
    /// Whether the run has left more behind than its counts: native code was left before its end, and why is in `trap` unless it
    /// was a panic; or a function has called another program.
    pub(crate) left: bool,
    /// The sandbox's memory and maps; none for an exclusive module. The sandbox drops its stores before them.
    pub(crate) space: Option<&'static Space>,
    /// Why and where a host function ended the run.
    pub(crate) trap: Option<(Trap, u32)>,
    /// How far the run has got.
    pub(crate) flow: Flow,
    /// The programs of the sandbox in this store, by their numbers, which begin with 1.
    pub(crate) programs: Vec<Function>,
    /// Of each module in this store, the functions that helpers may call.
    pub(crate) callbacks: Vec<Callbacks>,
    /// Native code that is only kept here.
    pub(crate) texts: Vec<Text>,
    /// What the store may allocate.
    pub(crate) limiter: Limiter,
}

/// Functions that helpers may call, by the number a program has for them; none where the type is another.
pub(crate) enum Callbacks {
    /// Of an interpreted module.
    Wasmi(Vec<Option<TypedFunc<CallbackArgs, i64>>>),
    /// Addresses in native code.
    Native(Vec<Option<u64>>),
}

/// What a callback takes.
pub(crate) type CallbackArgs = (i64, i64, i64, i64, i64);

/// How far a run has got through its module.
#[derive(Default)]
pub(crate) struct Flow {
    /// Number of the program that takes over from the one that has just ended.
    pub(crate) next: Option<u32>,
    /// Tail calls so far.
    pub(crate) tail_calls: u32,
    /// How many callbacks deep it is.
    pub(crate) depth: u32,
    /// The runs it is nested in.
    pub(crate) nested: Nested,
}

impl RunState {
    /// Address of the hit, by which services know it.
    #[inline]
    pub(crate) fn context(&self) -> u64 {
        &raw const self.hit as u64
    }

    /// The sandbox's program `number`.
    pub(crate) fn program(&self, number: u32) -> Option<Function> {
        let index = number.checked_sub(1)? as usize;
        self.programs.get(index).copied()
    }

    /// Begins the run of a program that a function's tail call goes to. Afterwards the counts are to be set back, when all has ended.
    pub(crate) fn begin_within(&mut self, nested: Nested) {
        self.flow.nested = nested;
        self.flow.tail_calls += 1;
        self.left = true;
    }

    /// Sets the counts back for the next run.
    #[cold]
    pub(crate) fn set_back(&mut self) {
        self.flow = Flow::default();
        self.left = false;
    }

    /// The program that takes over, if the last one has ended by a tail call.
    pub(crate) fn next_program(&mut self) -> Option<Function> {
        let number = self.flow.next.take()?;
        self.flow.tail_calls += 1;
        self.program(number)
    }
}

/// Decides what a module may allocate: while it is instantiated so much memory, afterwards nothing.
pub(crate) struct Limiter {
    memory: usize,
    used: usize,
    open: bool,
    /// Bytes of the memory that was denied.
    pub(crate) denied: Option<usize>,
}

impl Limiter {
    /// Allows `memory` bytes of memory, until [`Limiter::close`].
    pub(crate) fn new(memory: usize) -> Self {
        Self {
            memory,
            used: 0,
            open: true,
            denied: None,
        }
    }

    /// Allows nothing any more: growing traps.
    pub(crate) fn close(&mut self) {
        self.open = false;
    }

    /// Allows what it did at first, for a further module.
    pub(crate) fn reopen(&mut self) {
        self.open = true;
        self.denied = None;
    }

    /// Bytes of memory it has allowed.
    pub(crate) fn used(&self) -> usize {
        self.used
    }

    fn decide(&self, allowed: bool) -> Result<bool, LimiterError> {
        if self.open && allowed {
            Ok(true)
        } else {
            Err(LimiterError::ResourceLimiterDeniedAllocation)
        }
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        _: usize,
        desired: usize,
        _: Option<usize>,
    ) -> Result<bool, LimiterError> {
        match desired <= self.memory {
            true if self.open => self.used = desired,
            true => {}
            false => self.denied = Some(desired),
        }
        self.decide(desired <= self.memory)
    }

    fn table_growing(
        &mut self,
        _: usize,
        desired: usize,
        _: Option<usize>,
    ) -> Result<bool, LimiterError> {
        self.decide(desired <= MAX_TABLE)
    }

    fn instances(&self) -> usize {
        1 << 10
    }

    fn tables(&self) -> usize {
        1 << 6
    }

    fn memories(&self) -> usize {
        1 << 6
    }
}

const FREE: u8 = 0;
const HELD: u8 = 1;
const POISONED: u8 = 2;

/// A store and who may use it. C looks at the first.
#[repr(C, align(64))]
pub(crate) struct Slot {
    state: AtomicU8,
    /// In the store, which keeps it in a box (CAVEATS.md).
    run: *mut RunState,
    store: UnsafeCell<Store<RunState>>,
}

// What shim/hit.h knows.
known_to_c!(Slot { state: 0 });
const _: () = {
    assert!(FREE == 0 && HELD == 1);
};

// SAFETY: store and state are only used by who holds the slot: a guard, of which there is one at a time, or C's run.
unsafe impl Sync for Slot {}

impl Slot {
    /// A warmed store in `engine`, whose modules may have `memory` bytes.
    pub(crate) fn new(
        engine: &Engine,
        space: Option<&'static Space>,
        memory: usize,
        vm: Vm,
    ) -> Result<Self, Error> {
        let state = RunState {
            argument: layout::guest_ptr(layout::context_base(vm.cpu as u32)),
            outermost: 0,
            module: 0,
            hit: Hit::NONE,
            left: false,
            vm,
            space,
            trap: None,
            flow: Flow::default(),
            programs: Vec::new(),
            callbacks: Vec::new(),
            texts: Vec::new(),
            limiter: Limiter::new(memory),
        };
        let mut store = Store::new(engine, state);
        store.limiter(|state| &mut state.limiter);
        warm::warm(&mut store)?;
        Ok(Self {
            state: AtomicU8::new(FREE),
            run: store.data_mut(),
            store: UnsafeCell::new(store),
        })
    }

    /// The state of runs in the store, to be used by one only.
    pub(crate) fn state(&self) -> *mut RunState {
        self.run
    }

    /// The store, unless somebody else has it.
    #[inline]
    pub(crate) fn try_lock(&self) -> Option<SlotGuard<'_>> {
        self.state
            .compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed)
            .ok()
            .map(|_| SlotGuard { slot: self })
    }

    /// Takes up a guard that C has.
    ///
    /// # Safety
    ///
    /// C has it, and has it no longer.
    pub(crate) unsafe fn go_on(&self) -> SlotGuard<'_> {
        SlotGuard { slot: self }
    }

    /// Waits for the store; `None` if it is never free again.
    pub(crate) fn lock(&self) -> Option<SlotGuard<'_>> {
        loop {
            if let Some(guard) = self.try_lock() {
                return Some(guard);
            }
            while self.state.load(Ordering::Relaxed) == HELD {
                core::hint::spin_loop();
            }
            if self.state.load(Ordering::Relaxed) == POISONED {
                return None;
            }
        }
    }

    /// Whether a run in it was abandoned.
    pub(crate) fn is_poisoned(&self) -> bool {
        self.state.load(Ordering::Relaxed) == POISONED
    }

    /// Ends all use of the store: a run in it was abandoned.
    pub(crate) fn poison(&self) {
        self.state.store(POISONED, Ordering::Release);
    }
}

/// The right to use a slot's store.
pub(crate) struct SlotGuard<'s> {
    slot: &'s Slot,
}

impl Deref for SlotGuard<'_> {
    type Target = Store<RunState>;

    fn deref(&self) -> &Self::Target {
        // SAFETY: the guard exists, so nobody else uses the store.
        unsafe { &*self.slot.store.get() }
    }
}

impl DerefMut for SlotGuard<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        // SAFETY: as above.
        unsafe { &mut *self.slot.store.get() }
    }
}

impl Drop for SlotGuard<'_> {
    fn drop(&mut self) {
        self.slot.state.store(FREE, Ordering::Release);
    }
}
