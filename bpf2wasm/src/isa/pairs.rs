//! Shifts by 32 to the left and back: how code for the older ISA levels extends 32 bits to 64. Each pair becomes one move.

use alloc::vec;
use alloc::vec::Vec;

use wasm_encoder::Instruction as W;

use super::insn::{Insn, Operand};
use super::table::{Row, SIGN_EXTEND, Shape, X, ZERO_EXTEND, class};

/// Joins the pairs in a function's code. A pair stays apart where something jumps between its halves or a relocation
/// changes one.
pub(crate) fn join(insns: &mut Vec<Insn>) {
    let targets = targets(insns);
    insns.dedup_by(|right, left| {
        let free = left.reference.is_none() && right.reference.is_none();
        let both = pair(left, right).filter(|_| free && !targets[right.slot as usize]);
        both.map(|both| *left = both).is_some()
    });
}

/// By slot, whether something jumps there.
fn targets(insns: &[Insn]) -> Vec<bool> {
    let slots = insns.last().map_or(0, |last| last.slot + last.slots());
    let mut targets = vec![false; slots as usize];
    for insn in insns {
        let target = insn.target().and_then(|slot| usize::try_from(slot).ok());
        if let Some(target) = target.and_then(|slot| targets.get_mut(slot)) {
            *target = true;
        }
    }
    targets
}

/// The move that `left` and `right` come to.
fn pair(left: &Insn, right: &Insn) -> Option<Insn> {
    let by_half = |insn: &Insn| insn.is_wide() && insn.operand() == Operand::Imm(32);
    let shifts = matches!(left.row.shape, Shape::Binary(_, W::I64Shl));
    if !shifts || !by_half(left) || !by_half(right) || left.dst != right.dst {
        return None;
    }
    let (row, class): (&'static Row, u8) = match right.row.shape {
        Shape::Binary(_, W::I64ShrU) => (&ZERO_EXTEND, class::ALU),
        Shape::Binary(_, W::I64ShrS) => (&SIGN_EXTEND, class::ALU64),
        _ => return None,
    };
    Some(Insn {
        row,
        opcode: row.code | X | class,
        src: left.dst,
        imm: 0,
        ..*left
    })
}
