//! A small compiler: from a validated module to native code ([`abi::native`]), in two passes over each function.
//!
//! It runs in the kernel module, when a module is loaded, and in user space, where all that is tested goes through it.
//!
//! wasm → [`module`] → for each function: operators ([`body`]), locals taken apart ([`webs`]), what lives where ([`plan`], [`places`]), instructions ([`x64`]) →
//! [`image`]. Constants are compiled in, and so is the size of memory, so that a bound is an immediate.
//!
//! * Of the machine only [`x64`] knows: its encoder (`encode.rs`) and how operators become instructions (the rest). Another
//!   machine has another such folder.
//! * [`facts`]: what is known of locals here. [`arena`]: memory, bounded.
//! * EMITS.md lists every form of instruction that comes out.
//!
//! **Invariant:** an access is checked, unless its address is the stack's or the context's, which the runtime places, plus a
//! constant, or a constant; nothing is taken on the translator's word. No instruction faults: what may trap is checked and
//! calls the runtime. No jump or call is indirect, and functions return through the runtime's own return.
//!
//! **Invariant:** any input is compiled or refused: in linear time, in [`MEMORY_PER_BYTE`] bytes of memory for each of wasm
//! (and [`MEMORY_BASE`]), without a panic. What this compiler asks for may fail; what the validator of wasmparser and the
//! crate `cost` ask for not.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable
    )
)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod arena;
mod body;
mod facts;
mod image;
mod loops;
mod module;
mod operator;
mod places;
mod plan;
mod registers;
mod webs;
mod x64;

use alloc::vec::Vec;
use core::fmt;

use abi::native::{DIGEST, FRAME};
use wasmparser::BinaryReaderError;

use arena::Arena;
use image::Text;
use module::Module;
pub use operator::Name;

/// Bytes of memory for a byte of wasm while it is compiled, at most.
pub const MEMORY_PER_BYTE: usize = 64;
/// Bytes of memory on top of that: a small module has room, too.
pub const MEMORY_BASE: usize = 1 << 16;

/// Why a module is not compiled.
#[derive(Clone, Debug)]
pub enum Refused<'a> {
    /// It is no valid wasm.
    Wasm(BinaryReaderError),
    /// It is no valid wasm in another way.
    Invalid(&'static str),
    /// It has what this compiler does not take.
    Unsupported(&'static str),
    /// An operator that this compiler does not take.
    Operator(Name),
    /// An import that nobody provides.
    Import(&'a str, &'a str),
    /// An import of another type than it is provided with.
    ImportType(&'a str, &'a str),
    /// It needs more memory than the sandbox has.
    MemoryNeeded(u64, u32),
    /// The sandbox has more memory than it may have.
    MemoryMost(u64, u32),
    /// A function needs more of the stack than there is for one.
    Frame(u32),
    /// Compiling it takes more memory than there is for that.
    Memory,
    /// Nobody waits for it any more.
    Interrupted,
    /// The compiler has lost count of something.
    Compiler(&'static str),
}

/// What a step of the compiler that names nothing of the module makes.
type Made<T> = Result<T, Refused<'static>>;

impl fmt::Display for Refused<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wasm(error) => write!(f, "module does not validate: {error}"),
            Self::Invalid(why) => write!(f, "module does not validate: {why}"),
            Self::Unsupported(what) => write!(f, "no compiled code for a module with {what}"),
            Self::Operator(name) => {
                write!(f, "no compiled code for a module with instruction {name}")
            }
            Self::Import(module, name) => {
                write!(
                    f,
                    "no compiled code for a module with import {module}.{name}"
                )
            }
            Self::ImportType(module, name) => write!(f, "import {module}.{name}: wrong type"),
            Self::MemoryNeeded(needed, memory) => write!(
                f,
                "it needs {needed} bytes of memory, the sandbox has {memory}"
            ),
            Self::MemoryMost(most, memory) => write!(
                f,
                "its memory has {most} bytes at most, the sandbox's has {memory}"
            ),
            Self::Frame(bytes) => write!(
                f,
                "no compiled code: a function needs {bytes} bytes of stack, {FRAME} is the most"
            ),
            Self::Memory => f.write_str("no compiled code: compiling it takes too much memory"),
            Self::Interrupted => f.write_str("compiling it was interrupted"),
            Self::Compiler(what) => write!(f, "the compiler failed: {what}"),
        }
    }
}

impl core::error::Error for Refused<'_> {}

impl From<BinaryReaderError> for Refused<'_> {
    fn from(error: BinaryReaderError) -> Self {
        Self::Wasm(error)
    }
}

/// Compiles `wasm` for `memory` bytes of guest memory; an image. `digest` is SHA-256. Whether it is still of interest what comes out
/// is asked each thousand operators: `is_interrupted`.
///
/// # Errors
///
/// Why it is refused.
pub fn compile<'a>(
    wasm: &'a [u8],
    memory: u32,
    digest: impl Fn(&[u8]) -> [u8; DIGEST],
    is_interrupted: &dyn Fn() -> bool,
) -> Result<Vec<u8>, Refused<'a>> {
    let room = wasm.len().saturating_mul(MEMORY_PER_BYTE);
    let arena = Arena::new(room.saturating_add(MEMORY_BASE), is_interrupted);
    let module = Module::read(wasm, memory, &arena)?;
    let mut text = Text::new(&arena);
    for index in 0..module.bodies.len() as u32 {
        x64::function(&module, index, &mut text)?;
        arena.check()?;
    }
    image::image(wasm, &module, &mut text, digest)
}
