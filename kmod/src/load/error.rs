//! Why a module is not loaded.

use alloc::string::String;
use core::fmt;

use abi::traps::Trap;
use abi::uapi::Resource;
use cost::MAX_LOCALS;
use helpers::host::Errno;
use wasmi::Error;

use super::MAX_IMPORTS;
use crate::engine::imports::ImportError;
use crate::engine::native::code::NativeError;
use crate::limits::Exceeded;
use crate::locks::EINTR;
use crate::sandbox::MAX_LOADS;
use crate::user::Refusal;

/// Why a module was not loaded.
#[derive(Debug)]
pub(crate) enum LoadError {
    /// Too many bytes of wasm.
    TooLarge { size: u64, limit: u64 },
    /// Too many imports.
    Imports(usize),
    /// A function with too many locals, which the engine would clear at each call.
    Locals,
    /// More than a limit leaves.
    Limit(Exceeded),
    /// Too large a budget.
    Fuel { asked: u64, limit: u64 },
    /// The engine does not accept it.
    Invalid(Error),
    /// It imports what is not there.
    Import(ImportError),
    /// Its start function did not end well.
    StartTrapped(Trap),
    /// It imports what is for modules under a GPL-compatible licence.
    Licence { import: String, licence: String },
    /// It could not be instantiated for another reason.
    Instantiate(Error),
    /// The sandbox has seen too many modules.
    TooMany,
    /// A store of the sandbox is beyond repair.
    Poisoned,
    /// Its native code is not accepted.
    Native(NativeError),
    /// It is not compiled: why.
    Compiler(String),
    /// Who asked for it was killed.
    Interrupted,
}

impl LoadError {
    /// Whether it is about native code, so that the interpreter may take the module all the same.
    pub(super) fn is_of_native_code(&self) -> bool {
        match self {
            Self::Compiler(_) | Self::Native(_) => true,
            Self::Limit(exceeded) => exceeded.resource() == Resource::Native,
            _ => false,
        }
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { size, limit } => {
                write!(f, "limit max_module: {size} asked for, {limit} is the most")
            }
            Self::Imports(count) => {
                write!(f, "module has {count} imports, limit is {MAX_IMPORTS}")
            }
            Self::Locals => write!(f, "a function of more than {MAX_LOCALS} locals"),
            Self::Limit(exceeded) => exceeded.fmt(f),
            Self::Fuel { asked, limit } => {
                write!(f, "limit max_fuel: {asked} asked for, {limit} is the most")
            }
            Self::Invalid(error) => write!(f, "module does not validate: {error}"),
            Self::Import(error) => error.fmt(f),
            Self::StartTrapped(trap) => write!(f, "start function: {}", trap.text()),
            Self::Licence { import, licence } => write!(
                f,
                "import {import}: for modules under a GPL-compatible licence, and this one's is {licence:?}"
            ),
            Self::Instantiate(error) => write!(f, "module cannot be instantiated: {error}"),
            Self::TooMany => write!(
                f,
                "more than {MAX_LOADS} modules were loaded into this sandbox"
            ),
            Self::Poisoned => write!(f, "the sandbox was damaged by an engine failure"),
            Self::Native(error) => error.fmt(f),
            Self::Compiler(why) => f.write_str(why),
            Self::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl Refusal for LoadError {
    fn errno(&self) -> Errno {
        match self {
            Self::TooLarge { .. }
            | Self::Imports(_)
            | Self::Locals
            | Self::Fuel { .. }
            | Self::TooMany => Errno::E2BIG,
            Self::Import(ImportError::Memory { .. }) => Errno::E2BIG,
            Self::Import(_) => Errno::ENOENT,
            Self::Limit(exceeded) => exceeded.errno(),
            Self::Poisoned => Errno(5),
            Self::Interrupted => Errno(EINTR),
            Self::Native(error) => error.errno(),
            _ => Errno::EINVAL,
        }
    }
}
