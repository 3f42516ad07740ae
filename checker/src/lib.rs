//! Proves machine code before it is made executable: that it touches nothing but what is its own, goes nowhere but where it
//! may, ends, and returns as it came. It knows nothing of how the code was made, and trusts nothing that is said about it.
//!
//! `PROVES.md` says what is proven, what is trusted, and has each rule. The way through the files:
//!
//! * [`decode`], [`opcodes`]: bytes to instructions, strictly.
//! * [`layout`]: the text to functions, the image's tables against it; [`graph`]: a function to blocks.
//! * [`value`], [`state`]: what is known; [`step`], [`access`], [`calls`]: what an instruction does to it, and must not.
//! * [`flow`], [`join`]: through a function, and where ways meet.
#![no_std]
#![forbid(unsafe_code)]
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unreachable
)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod access;
mod calls;
mod decode;
mod flow;
mod graph;
mod insn;
mod join;
mod layout;
mod opcodes;
mod refusal;
mod state;
mod step;
mod value;

use abi::native::Image;

pub use flow::{CALL, PASSES, RATE, UNPAID};
pub use refusal::{Refusal, Rule};
pub use state::MOST_STACK;

/// What was proven.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Proven {
    /// Functions.
    pub functions: usize,
    /// Passes over functions, added.
    pub passes: u64,
    /// Steps that were taken: an instruction, or a cell of a state.
    pub steps: u64,
}

/// Steps for each byte of text, and for each image.
pub const STEPS_A_BYTE: u64 = 64;
const STEPS: u64 = 1 << 16;

/// Proves the code of `image`. Whether it is still of interest what comes out is asked at each block: `is_interrupted`.
///
/// # Errors
///
/// What could not be proven first, and where.
pub fn check(
    image: &Image<'_>,
    is_interrupted: &mut dyn FnMut() -> bool,
) -> Result<Proven, Refusal> {
    let layout = layout::Layout::read(image)?;
    let nowhere = |broken: refusal::Broken| broken.at(None, 0);
    let imports = calls::imports(image).map_err(nowhere)?;
    let count = layout.functions.len();
    let mut summaries = calls::summaries(count).map_err(nowhere)?;
    let most = STEPS + STEPS_A_BYTE * image.text.len() as u64;
    let mut all = flow::Image {
        layout: &layout,
        imports: &imports,
        memory: image.memory.into(),
        effort: most,
        is_interrupted,
        calls: alloc::vec::Vec::new(),
        passes: 0,
    };
    for ((index, span), summary) in (0..).zip(&layout.functions).zip(&mut summaries) {
        summary.reads = flow::Flow::prove(&mut all, index, *span)?;
    }
    calls::arguments(&layout, &all.calls, &mut summaries)?;
    Ok(Proven {
        functions: count,
        passes: all.passes,
        steps: most - all.effort,
    })
}

#[cfg(test)]
#[expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests may panic"
)]
mod mutants;
