//! Tail calls from functions that programs call.
//!
//! The program that takes over ends in place of the function, and its result goes to the function's caller, which waits
//! meanwhile. Frames lie at fixed places of the one stack, so those of who waits are kept aside: in guest memory, where they
//! are the program's own, as they were.

use abi::layout::{self, KEPT_SIZE, NESTED_DEPTH, STACK_SIZE};
use abi::traps::Trap;

use super::{Run, tail_call};
use crate::guest::GuestSlice;
use crate::host::Result0;

/// The runs that a run is nested in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Nested {
    /// How many there are: callbacks, and tail calls of functions.
    pub runs: u32,
    /// Bytes of frames that are kept aside.
    pub kept: u32,
    /// What the program gave that the last function's tail call went to.
    pub result: u64,
}

impl Nested {
    /// One more.
    ///
    /// # Errors
    ///
    /// [`Trap::StackOverflow`] if there may not be one more.
    pub fn enter(self) -> Result<Self, Trap> {
        match self.runs < NESTED_DEPTH {
            true => Ok(Self {
                runs: self.runs + 1,
                ..self
            }),
            false => Err(Trap::StackOverflow),
        }
    }
}

/// A tail call of a function, to be carried out by the engine.
#[derive(Clone, Copy, Debug)]
pub struct Within<'a> {
    /// The program that takes over, by its number in the sandbox, from 1.
    pub program: u32,
    /// What its run is nested in.
    pub nested: Nested,
    frames: GuestSlice<'a>,
    place: GuestSlice<'a>,
}

impl Within<'_> {
    /// Before the program runs: keeps the frames of who waits.
    pub fn begin(&self) {
        self.place.copy_from(self.frames);
    }

    /// After it: puts them back.
    pub fn end(&self) {
        self.frames.copy_from(self.place);
    }
}

/// [`abi::imports::TAIL_CALL_WITHIN`]; `None`: the function goes on.
///
/// # Errors
///
/// As [`tail_call`]; [`Trap::NoHelper`] in a callback, [`Trap::StackOverflow`] if too many runs, or frames, wait already.
pub fn tail_call_within<'a, H>(
    run: &Run<'a, H>,
    args: [u64; 5],
) -> Result<Option<Within<'a>>, Trap> {
    let Some(program) = tail_call(run, args)? else {
        return Ok(None);
    };
    if run.depth > 0 {
        return Err(Trap::NoHelper);
    }
    let bytes = args[3];
    let end = bytes.checked_add(run.nested.kept.into());
    if bytes > STACK_SIZE.into() || end.is_none_or(|end| end > KEPT_SIZE.into()) {
        return Err(Trap::StackOverflow);
    }
    let at = |offset| run.slice(layout::guest_ptr(offset), bytes);
    let nested = run.nested.enter()?;
    Ok(Some(Within {
        program,
        nested: Nested {
            kept: nested.kept + bytes as u32,
            ..nested
        },
        frames: at(layout::stack_base(run.cpu))?,
        place: at(layout::kept_base(run.cpu) + run.nested.kept)?,
    }))
}

/// [`abi::imports::TAIL_CALL_RESULT`].
pub fn tail_call_result<H>(run: &Run<'_, H>, _: [u64; 5]) -> Result0 {
    Ok(run.nested.result)
}
