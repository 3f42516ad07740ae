//! From the engine's errors to the trap table.

use abi::traps::Trap;
use wasmi::errors::{ErrorKind, MemoryError, TableError};
use wasmi::{Error, TrapCode};

use super::slot::RunState;

/// The site of a trap whose place is not known.
pub(crate) const NO_SITE: u32 = u32::MAX;

/// A run of native code ended early; its state says why.
pub(crate) struct Noted;

/// How a run ended early.
pub(crate) enum Stop {
    /// wasmi's run, which says why unless its state does.
    Engine(Error),
    /// As the state says.
    Noted,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Engine(error)
    }
}

impl From<Noted> for Stop {
    fn from(_: Noted) -> Self {
        Self::Noted
    }
}

/// Why and where the run ended: what `env.trap` or a helper noted, else what the engine says.
pub(crate) fn reason(state: &mut RunState, stop: &Stop) -> (Trap, u32) {
    let said = || match stop {
        Stop::Engine(error) => from_engine(error),
        Stop::Noted => Trap::Engine,
    };
    state.trap.take().unwrap_or_else(|| (said(), NO_SITE))
}

fn from_engine(error: &Error) -> Trap {
    // The limiter's refusals come as memory and table errors that also have a trap code.
    if let ErrorKind::Memory(MemoryError::ResourceLimiterDeniedAllocation)
    | ErrorKind::Table(TableError::ResourceLimiterDeniedAllocation) = error.kind()
    {
        return Trap::Growth;
    }
    error.as_trap_code().map_or(Trap::Engine, from_code)
}

fn from_code(code: TrapCode) -> Trap {
    match code {
        TrapCode::UnreachableCodeReached => Trap::Unreachable,
        TrapCode::MemoryOutOfBounds => Trap::OutOfBounds,
        TrapCode::TableOutOfBounds | TrapCode::IndirectCallToNull | TrapCode::BadSignature => {
            Trap::BadCall
        }
        TrapCode::IntegerDivisionByZero
        | TrapCode::IntegerOverflow
        | TrapCode::BadConversionToInteger => Trap::IntegerDivision,
        TrapCode::StackOverflow => Trap::StackOverflow,
        TrapCode::OutOfFuel => Trap::Budget,
        TrapCode::GrowthOperationLimited => Trap::Growth,
        _ => Trap::Engine,
    }
}
