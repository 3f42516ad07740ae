//! Native code: what was compiled of a module ([`abi::native`]), here or outside, in place of its wasm.
//!
//! Its text is proven (`load/native.rs`), or trusted as a kernel module's is, if whoever gives it may load one. It brings its own
//! bounds checks and counts its own budget; here is what it calls.
//!
//! * [`text`]: where it lies.
//! * [`code`]: from an image to text and entries.
//! * [`glue`]: the functions it calls.

pub(crate) mod code;
pub(crate) mod glue;
pub(crate) mod text;

use abi::layout;
use abi::native::Vm;
use abi::traps::Trap;
use wasmi::Store;

use super::slot::RunState;
use super::trap::{self, NO_SITE};

/// A function of native code.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Function {
    /// Address of its first instruction.
    entry: u64,
    /// The number of its module in the store.
    module: usize,
}

// SAFETY: as shim/enter.S defines them.
unsafe extern "C" {
    fn wprobe_native_enter(vm: *mut Vm, function: u64, args: *const [u64; 5]) -> u64;
    fn wprobe_native_enter_within(vm: *mut Vm, function: u64, args: *const [u64; 5]) -> u64;
    fn wprobe_native_leave(vm: *mut Vm);
    fn wprobe_native_abandon(run: *mut Vm);
    fn wprobe_native_return();
}

// What shim/native.h and shim/hit.h know.
known_to_c!(RunState {
    vm: 0,
    argument: 56,
    outermost: 64,
    module: 72,
    hit: 80,
    left: 96,
});
known_to_c!(Vm {
    fuel: 32,
    stack_limit: 40,
    resume: 48
});
known_to_c!(Function {
    entry: 0,
    module: 8
});
const _: () = {
    assert!(abi::native::STACK == 2048);
};

/// What native code on CPU `cpu` knows of memory at `base`.
pub(crate) fn vm(base: u64, cpu: u32) -> Vm {
    let stack_base = u64::from(layout::stack_base(cpu));
    Vm {
        memory: base,
        stack: base + stack_base,
        stack_base,
        cpu: cpu.into(),
        ..Vm::default()
    }
}

impl Function {
    /// Runs it with what is left of the budget, `fuel`; why it ended early is noted in the state then.
    pub(crate) fn run(
        self,
        store: &mut Store<RunState>,
        argument: u64,
        fuel: &mut u64,
    ) -> Result<(), trap::Noted> {
        let state: *mut RunState = store.data_mut();
        // SAFETY: the store is this run's; nobody uses it while the function runs, but what the function calls.
        unsafe {
            (*state).vm.fuel = *fuel;
            (*state).module = self.module;
            let result = enter(state, self.entry, [argument, 0, 0, 0, 0]);
            *fuel = (*state).vm.fuel;
            result.map(drop)
        }
    }
}

/// Runs the function at `entry`.
///
/// # Safety
///
/// `state` is this run's, in a store that nothing else uses meanwhile; `entry` is a function of native code that its
/// sandbox keeps.
unsafe fn enter(state: *mut RunState, entry: u64, args: [u64; 5]) -> Result<u64, trap::Noted> {
    // SAFETY: the caller's promise; the vm is the state's first field.
    unsafe {
        let result = wprobe_native_enter(state.cast(), entry, &raw const args);
        match (*state).trap {
            None => Ok(result),
            Some(_) => Err(trap::Noted),
        }
    }
}

/// Runs the program `function` during another's run, on what that has left of the stack and a little more.
///
/// # Safety
///
/// As [`enter`].
unsafe fn enter_within(state: *mut RunState, function: Function) -> Result<u64, trap::Noted> {
    // SAFETY: the caller's promise; the vm is the state's first field.
    unsafe {
        let args = [(*state).argument, 0, 0, 0, 0];
        let module = core::mem::replace(&mut (*state).module, function.module);
        let result = wprobe_native_enter_within(state.cast(), function.entry, &raw const args);
        (*state).module = module;
        match (*state).trap {
            None => Ok(result),
            Some(_) => Err(trap::Noted),
        }
    }
}

/// Notes why the run ends, and ends it.
///
/// # Safety
///
/// Called by a function that native code called with `state`, where nothing is left to be dropped.
unsafe fn end(state: *mut RunState, trap: Trap, site: u32) -> ! {
    // SAFETY: the caller's promise.
    unsafe {
        // What ended a callback is the reason also for the helper that called it.
        (*state).trap.get_or_insert((trap, site));
        (*state).left = true;
        wprobe_native_leave(state.cast());
    }
    crate::services::never()
}

/// Leaves native code that C has begun, and all that it called.
///
/// # Safety
///
/// Such code runs in `state` on this CPU, and its slot is poisoned.
pub(crate) unsafe fn abandon(state: *mut RunState) -> ! {
    // SAFETY: the caller's promise.
    unsafe {
        (*state).left = true;
        wprobe_native_abandon(state.cast());
    }
    crate::services::never()
}

/// A trap whose place is not known.
const fn somewhere(trap: Trap) -> (Trap, u32) {
    (trap, NO_SITE)
}
