//! The fallback for irreducible graphs: a loop around a `br_table` over all blocks.
//!
//! Costs a table jump for every edge. No compiler output seen needs it.

use alloc::vec::Vec;

use super::blocks::{Blocks, Exit};
use super::structure::Op;

/// The steps of any function.
pub(super) fn dispatch(blocks: &Blocks) -> Vec<Op> {
    let count = blocks.list.len();
    let mut ops = Vec::from([Op::Loop]);
    ops.extend((0..count).map(|_| Op::Block));
    ops.push(Op::Dispatch(count));
    for (number, block) in blocks.list.iter().enumerate() {
        // Blocks after this one are still open inside the loop.
        let to_loop = (count - 1 - number) as u32;
        ops.extend([Op::End, Op::Code(number)]);
        match block.exit {
            Exit::Return => ops.push(Op::Return),
            Exit::Jump(to) => ops.extend([Op::SetNext(to), Op::Br(to_loop)]),
            Exit::Branch(insn, taken, not) => ops.extend([
                Op::SetNext(taken),
                Op::BrIf(insn, true, to_loop),
                Op::SetNext(not),
                Op::Br(to_loop),
            ]),
        }
    }
    ops.push(Op::End);
    ops
}
