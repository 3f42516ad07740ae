//! The functions that native code calls: one for each import, compiled for it alone, so that no call is indirect.

use abi::layout::CALLBACK_DEPTH;
use abi::native::Vm;
use abi::traps::Trap;
use helpers::calls::{self, Callback, Nested, Run, Take, Within, Work, only};
use helpers::host::{Errno, Result0};

use super::{end, enter, enter_within, somewhere};
use crate::engine::Function;
use crate::engine::slot::{Callbacks, RunState};
use crate::engine::trap::NO_SITE;
use crate::host::Kernel;

/// A function that native code calls.
pub(crate) type Glue = unsafe extern "C" fn(*mut Vm, u64, u64, u64, u64, u64) -> u64;

/// Makes a [`Glue`] of an implementation.
#[derive(Clone, Copy)]
pub(crate) struct AsGlue;

impl Take<Kernel> for AsGlue {
    type Taken = Glue;

    fn call<F>(self, _: F) -> Glue
    where
        F: Fn(&Run<'_, Kernel>, [u64; 5]) -> Result0 + Copy,
    {
        returning::<F>
    }

    fn reading<F>(self, _: F) -> Glue
    where
        F: Fn(&Kernel) -> u64 + Copy,
    {
        reading::<F>
    }

    fn callback<F>(self, _: F) -> Glue
    where
        F: Fn(&Run<'_, Kernel>, [u64; 5], Callback<'_>) -> Result0 + Copy,
    {
        calling_back::<F>
    }

    fn tail_call(self) -> Glue {
        tail_call
    }

    fn tail_call_within(self) -> Glue {
        tail_call_within
    }
}

/// Ends the run if `result` says so. Whoever calls this has nothing to drop any more.
///
/// # Safety
///
/// As [`end`].
#[inline(always)]
unsafe fn result(state: *mut RunState, result: Result0) -> u64 {
    match result {
        Ok(value) => value,
        // SAFETY: the caller's promise.
        Err(trap) => unsafe { end(state, trap, NO_SITE) },
    }
}

/// What an import sees of the run, and pays with.
///
/// # Safety
///
/// `state` is the state of the run that native code is in.
#[inline(always)]
unsafe fn paid(state: *mut RunState, action: impl FnOnce(&Run<'_, Kernel>) -> Result0) -> Result0 {
    // SAFETY: the caller's promise; no reference to the state is kept over the action, which may run functions. Stores that
    // have native code have a space (`load::native`).
    let (space, work, run) = unsafe {
        let space = (*state).space.unwrap_unchecked();
        (space, Work::new((*state).vm.fuel), &(*state).flow)
    };
    let run = Run {
        host: &Kernel,
        space,
        // SAFETY: as above.
        cpu: unsafe { (*state).vm.cpu } as u32,
        // SAFETY: as above.
        context: unsafe { (*state).context() },
        tail_calls: run.tail_calls,
        depth: run.depth,
        nested: run.nested,
        work: &work,
    };
    let result = action(&run);
    // SAFETY: as above.
    unsafe { (*state).vm.fuel = work.left() };
    result
}

/// # Safety
///
/// Called by native code only, with the vm of its run.
unsafe extern "C" fn returning<F>(vm: *mut Vm, a: u64, b: u64, c: u64, d: u64, e: u64) -> u64
where
    F: Fn(&Run<'_, Kernel>, [u64; 5]) -> Result0 + Copy,
{
    let state = vm.cast::<RunState>();
    // SAFETY: the caller's promise; there is such a function, for `AsGlue` was given it.
    unsafe { result(state, paid(state, |run| only::<F>()(run, [a, b, c, d, e]))) }
}

/// Native code has paid for it (`abi::native::READING`).
///
/// # Safety
///
/// As [`returning`].
unsafe extern "C" fn reading<F>(_: *mut Vm, _: u64, _: u64, _: u64, _: u64, _: u64) -> u64
where
    F: Fn(&Kernel) -> u64 + Copy,
{
    // SAFETY: as in `returning`.
    unsafe { only::<F>()(&Kernel) }
}

/// # Safety
///
/// As [`returning`].
unsafe extern "C" fn calling_back<F>(vm: *mut Vm, a: u64, b: u64, c: u64, d: u64, e: u64) -> u64
where
    F: Fn(&Run<'_, Kernel>, [u64; 5], Callback<'_>) -> Result0 + Copy,
{
    let state = vm.cast::<RunState>();
    // SAFETY: as in `returning`.
    unsafe {
        if (*state).flow.depth >= CALLBACK_DEPTH {
            end(state, Trap::StackOverflow, NO_SITE);
        }
        let done = paid(state, |run| {
            (*state).flow.nested = run.nested.enter()?;
            (*state).flow.depth += 1;
            let call: Callback<'_> = &mut |index, args| invoke(state, run.work, index, args);
            let done = only::<F>()(run, [a, b, c, d, e], call);
            (*state).flow.depth -= 1;
            (*state).flow.nested = run.nested;
            done
        });
        result(state, done)
    }
}

/// Has functions of the module run on what is left of the budget, and goes on with what they leave.
///
/// # Safety
///
/// As [`paid`].
unsafe fn lend<T>(state: *mut RunState, work: &Work, run: impl FnOnce() -> T) -> T {
    // SAFETY: the caller's promise; nobody has a reference to the state while they run.
    unsafe {
        (*state).vm.fuel = work.left();
        let result = run();
        work.resume((*state).vm.fuel);
        result
    }
}

/// Calls the function with number `index` of the module that runs.
///
/// # Safety
///
/// As [`paid`].
unsafe fn invoke(state: *mut RunState, work: &Work, index: u64, args: [u64; 5]) -> Result0 {
    // SAFETY: the caller's promise. The functions of a module in the store do not change.
    let function = unsafe {
        let callbacks = &(*state).callbacks;
        match callbacks.get((*state).module) {
            Some(Callbacks::Native(functions)) => functions.get(index as usize).copied().flatten(),
            _ => None,
        }
    };
    // SAFETY: as above; the sandbox keeps the text.
    let called = unsafe {
        let function = function.ok_or(Trap::BadCall)?;
        lend(state, work, || enter(state, function, args))
    };
    // SAFETY: as above.
    called.map_err(|_| unsafe { (*state).trap.unwrap_or(somewhere(Trap::Engine)).0 })
}

/// `bpf_tail_call`: notes the program that takes over and ends this one; goes on if there is none.
///
/// # Safety
///
/// As [`returning`].
unsafe extern "C" fn tail_call(vm: *mut Vm, a: u64, b: u64, c: u64, d: u64, e: u64) -> u64 {
    let state = vm.cast::<RunState>();
    // SAFETY: as in `returning`.
    unsafe {
        let mut next = None;
        let done = paid(state, |run| {
            next = calls::tail_call(run, [a, b, c, d, e])?;
            Ok(0)
        });
        let next = next.filter(|number| (*state).program(*number).is_some());
        match (done, next) {
            (Err(trap), _) => end(state, trap, NO_SITE),
            (Ok(_), None) => Errno::ENOENT.as_r0(),
            // It would end the helper that called back, too.
            (Ok(_), Some(_)) if (*state).flow.depth > 0 => end(state, Trap::NoHelper, NO_SITE),
            (Ok(_), Some(number)) => {
                (*state).flow.next = Some(number);
                end(state, Trap::Unreachable, NO_SITE)
            }
        }
    }
}

/// `bpf.tail_call_within`: runs the program that takes over from a function, and those that take over from it.
///
/// # Safety
///
/// As [`returning`].
unsafe extern "C" fn tail_call_within(vm: *mut Vm, a: u64, b: u64, c: u64, d: u64, e: u64) -> u64 {
    let state = vm.cast::<RunState>();
    // SAFETY: as in `returning`; no reference to the state is kept over what runs.
    unsafe {
        let done = paid(state, |run| {
            let within = calls::tail_call_within(run, [a, b, c, d, e])?;
            let first = |w: &Within<'_>| (*state).program(w.program);
            let Some((within, first)) = within.and_then(|w| Some((w, first(&w)?))) else {
                return Ok(0);
            };
            within.begin();
            (*state).begin_within(within.nested);
            let result = run_within(state, run.work, first)?;
            (*state).flow.nested = Nested {
                result,
                ..run.nested
            };
            within.end();
            Ok(1)
        });
        result(state, done)
    }
}

/// Runs `program`, and those that take over from it.
///
/// # Safety
///
/// As [`paid`].
unsafe fn run_within(state: *mut RunState, work: &Work, mut program: Function) -> Result0 {
    loop {
        // A module's engine is one for all of its programs, and so is its caller's for what they call.
        let Function::Native(function) = program else {
            return Err(Trap::NoHelper);
        };
        // SAFETY: the caller's promise; the sandbox keeps the text.
        let ended = unsafe { lend(state, work, || enter_within(state, function)) };
        // SAFETY: as above, and nothing runs in between.
        let state = unsafe { &mut *state };
        match (ended, state.next_program()) {
            (Ok(result), _) => return Ok(result),
            (Err(_), Some(next)) => {
                state.trap = None;
                program = next;
            }
            (Err(_), None) => return Err(state.trap.unwrap_or(somewhere(Trap::Engine)).0),
        }
    }
}

/// `env.trap`, and what ends native code early.
///
/// # Safety
///
/// As [`returning`].
pub(super) unsafe extern "C" fn trap(vm: *mut Vm, code: u32, site: u32) {
    let trap = Trap::from_code(code).unwrap_or(Trap::Engine);
    // SAFETY: the caller's promise.
    unsafe { end(vm.cast(), trap, site) }
}
