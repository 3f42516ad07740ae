//! Control flow: basic blocks, their dominators, and how they become structured wasm.

mod blocks;
mod calls;
mod dispatch;
mod dominators;
mod structure;

pub(crate) use blocks::{Block, Blocks, Exit};
pub(crate) use calls::CallGraph;
pub(crate) use structure::{Op, Structured};

/// Structures a function's blocks: by its dominator tree, or (irreducible graphs) as a dispatch loop.
pub(crate) fn structure(blocks: &Blocks) -> Structured {
    match structure::reducible(blocks) {
        Some(ops) => Structured {
            ops,
            dispatch: false,
        },
        None => Structured {
            ops: dispatch::dispatch(blocks),
            dispatch: true,
        },
    }
}
