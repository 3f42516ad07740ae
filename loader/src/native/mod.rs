//! Ahead-of-time compilation: from a translated module to native code for a runtime.
//!
//! wasm → Cranelift's IR ([`function`]) → x86-64 ([`link`]) → an image ([`helpers::native`]). What the loader knows is
//! compiled in: the values of imported globals, so that CO-RE branches and addresses of data fold away, and the size of
//! memory, so that a bound is an immediate. What a CPU has for itself comes through [`helpers::native::Vm`].
//!
//! **Invariant:** an access has a bounds check, unless its address is the stack's or the context's, which the runtime places, plus a
//! constant, or a constant; nothing is taken on the translator's word. No instruction faults: what may trap is checked and
//! calls the runtime. No jump or call is indirect, and functions return through the kernel's own return.

mod access;
pub mod cache;
mod calls;
mod context;
mod control;
mod function;
mod link;
mod module;
mod operators;

use std::fmt;

use wasmparser::BinaryReaderError;

/// What a module is compiled for.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Values of its imported i64 globals, in import order.
    pub globals: &'a [u64],
    /// Bytes of guest memory.
    pub memory: u32,
    /// Maps whose elements lie in order: look-ups in them become arithmetic.
    pub arrays: &'a [Array],
}

/// An array in guest memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Array {
    /// The map's handle.
    pub handle: u64,
    /// Guest pointer of element 0.
    pub values: u64,
    /// Bytes from one element to the next.
    pub stride: u32,
    /// How many elements there are.
    pub entries: u32,
}

impl Array {
    /// The array with these; `None` if the map is no array, whose `values` are 0.
    pub fn new(handle: u64, values: u64, value_size: u32, entries: u32) -> Option<Self> {
        (values != 0).then_some(Self {
            handle,
            values,
            stride: value_size.next_multiple_of(8),
            entries,
        })
    }
}

/// Why a module is not compiled.
#[derive(Debug, PartialEq, Eq)]
pub enum Error {
    /// It is no valid wasm.
    Wasm(String),
    /// It has what this compiler does not take.
    Unsupported(String),
    /// Something is too large.
    TooLarge(String),
    /// Cranelift refuses a function.
    Compiler(String),
    /// The cache cannot be used.
    Cache(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wasm(why) => write!(f, "module does not validate: {why}"),
            Self::Unsupported(what) => write!(f, "no native code for a module with {what}"),
            Self::TooLarge(what) => write!(f, "no native code: {what}"),
            Self::Compiler(why) => write!(f, "the compiler failed: {why}"),
            Self::Cache(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Error {}

impl From<BinaryReaderError> for Error {
    fn from(error: BinaryReaderError) -> Self {
        Self::Wasm(error.to_string())
    }
}

/// Compiles `wasm`; an image.
pub fn compile(wasm: &[u8], target: Target<'_>) -> Result<Vec<u8>, Error> {
    let module = module::Module::read(wasm, target)?;
    link::link(wasm, &module)
}
