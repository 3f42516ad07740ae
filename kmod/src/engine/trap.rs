//! From the engine's errors to the trap table.

use abi::traps::Trap;
use wasmi::errors::{ErrorKind, MemoryError, TableError};
use wasmi::{Error, TrapCode};

use super::slot::RunState;

/// The site of a trap whose place is not known.
pub(crate) const NO_SITE: u32 = u32::MAX;

/// Why and where the run ended: what `env.trap` or a helper noted, else what the engine says.
pub(crate) fn reason(state: &mut RunState, error: &Error) -> (Trap, u32) {
    state
        .trap
        .take()
        .unwrap_or_else(|| (from_engine(error), NO_SITE))
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
