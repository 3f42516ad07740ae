//! Implementations by their own types, so that an engine can compile each into a function of its own, and as values.

use super::{Callback, CallbackImplementation, Implementation, Run};
use crate::host::{Host, Result0};

/// Takes an implementation by its own type, so that an engine can compile it into its own functions.
pub trait Take<H>: Copy {
    /// What becomes of it.
    type Taken;

    /// Takes one that returns.
    fn call<F>(self, function: F) -> Self::Taken
    where
        F: Fn(&Run<'_, H>, [u64; 5]) -> Result0 + Copy;

    /// Takes one that reads a number of the host, and can neither fail nor take long: a call of it costs what a call does.
    fn reading<F>(self, function: F) -> Self::Taken
    where
        F: Fn(&H) -> u64 + Copy;

    /// Takes one that calls functions of the module.
    fn callback<F>(self, function: F) -> Self::Taken
    where
        F: Fn(&Run<'_, H>, [u64; 5], Callback<'_>) -> Result0 + Copy;

    /// Takes [`super::tail_call`], which may end the program in favour of another.
    fn tail_call(self) -> Self::Taken;

    /// Takes [`super::tail_call_within`], during which another program runs.
    fn tail_call_within(self) -> Self::Taken;
}

/// What an imported function does, by what it needs of the engine.
#[derive(Clone, Copy, Debug)]
pub enum Action<H> {
    /// Returns to the program, or ends the run with a trap.
    Call(Implementation<H>),
    /// [`super::tail_call`]: may end the program in favour of another.
    TailCall,
    /// [`super::tail_call_within`]: another program runs meanwhile.
    TailCallWithin,
    /// Calls functions of the module meanwhile.
    Callback(CallbackImplementation<H>),
}

/// Makes values of functions.
#[derive(Clone, Copy, Debug)]
pub struct AsValue;

impl<H: Host> Take<H> for AsValue {
    type Taken = Action<H>;

    fn call<F>(self, _: F) -> Action<H>
    where
        F: Fn(&Run<'_, H>, [u64; 5]) -> Result0 + Copy,
    {
        // SAFETY: there is a value of the type, the one just given.
        Action::Call(|run, args| unsafe { only::<F>() }(run, args))
    }

    fn reading<F>(self, _: F) -> Action<H>
    where
        F: Fn(&H) -> u64 + Copy,
    {
        // SAFETY: as above.
        Action::Call(|run, _| Ok(unsafe { only::<F>() }(run.host)))
    }

    fn callback<F>(self, _: F) -> Action<H>
    where
        F: Fn(&Run<'_, H>, [u64; 5], Callback<'_>) -> Result0 + Copy,
    {
        // SAFETY: as above.
        Action::Callback(|run, args, call| unsafe { only::<F>() }(run, args, call))
    }

    fn tail_call(self) -> Action<H> {
        Action::TailCall
    }

    fn tail_call_within(self) -> Action<H> {
        Action::TailCallWithin
    }
}

/// The only value of a function's own type, which a function pointer or a native function cannot carry along.
///
/// # Safety
///
/// There is a value of that type.
pub const unsafe fn only<F: Copy>() -> F {
    const { assert!(size_of::<F>() == 0, "a function that captures something") };
    // SAFETY: no bytes are read; that the type has a value is the caller's promise.
    unsafe { core::ptr::NonNull::<F>::dangling().read() }
}
