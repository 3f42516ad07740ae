//! Backward dataflow: which registers are still read. A computation whose result is not read counts as reading nothing, and a
//! register that holds a known number is not read.

use alloc::vec;
use alloc::vec::Vec;

use abi::imports::AtomicOp;

use super::constants::Constants;
use super::infer::{Facts, fetched};
use super::uses::{Base, arity};
use crate::cfg::Blocks;
use crate::isa::insn::{Insn, Operand};
use crate::isa::table::{Form, Shape};
use crate::object::Function;

/// A set of registers.
pub(crate) type Regs = u16;

/// What a call leaves undefined or overwrites: r0…r5.
const CLOBBERED: Regs = 0x3f;
const ALL_ARGS: Regs = 0x3e;

/// Liveness of a function.
pub(crate) struct Live {
    /// By instruction, the registers read after it.
    after: Vec<Regs>,
    /// By block, the registers read from its start on before they are written.
    before: Vec<Regs>,
}

impl Live {
    /// Whether `register` is read after instruction `index`.
    pub(crate) fn after(&self, index: usize, register: u8) -> bool {
        self.after[index] & bit(register) != 0
    }

    /// The registers read from the start of `block` on.
    pub(super) fn before(&self, block: usize) -> Regs {
        self.before[block]
    }

    /// Whether instruction `index` computes something nobody reads.
    pub(crate) fn is_dead(&self, index: usize, insn: &Insn) -> bool {
        is_pure(insn) && !self.after(index, insn.dst)
    }

    /// How many of r1…r5 are parameters: up to the last one read.
    pub(crate) fn params(&self) -> u32 {
        let args = self.before[0] & ALL_ARGS;
        args.checked_ilog2().unwrap_or(0)
    }
}

fn bit(register: u8) -> Regs {
    1 << register
}

/// The mask of r1…r`count`.
fn args(count: u32) -> Regs {
    ALL_ARGS & ((2 << count) - 1)
}

/// Finds what is live; `params` are the parameter counts of all functions that this one calls.
pub(crate) fn live(
    function: &Function,
    blocks: &Blocks,
    facts: &Facts,
    constants: &Constants,
    params: &[u32],
) -> Live {
    let mut after = vec![0; function.insns.len()];
    let mut entries: Vec<Regs> = vec![0; blocks.list.len()];
    let mut pending = vec![true; blocks.list.len()];
    while pending.contains(&true) {
        for (number, block) in blocks.list.iter().enumerate().rev() {
            if !core::mem::take(&mut pending[number]) {
                continue;
            }
            let mut regs = block.exit.targets().fold(0, |regs, to| regs | entries[to]);
            for index in (block.first..block.end).rev() {
                let insn = &function.insns[index];
                after[index] = regs;
                if is_pure(insn) && regs & bit(insn.dst) == 0 {
                    continue;
                }
                let read = read(insn, index, facts, params) & !constants.registers(index);
                regs = regs & !written(insn) | read;
            }
            if core::mem::replace(&mut entries[number], regs) != regs {
                blocks.preds(number).iter().for_each(|p| pending[*p] = true);
            }
        }
    }
    Live {
        after,
        before: entries,
    }
}

/// Whether an instruction does nothing but compute its destination.
fn is_pure(insn: &Insn) -> bool {
    matches!(insn.row.form, Form::Binary | Form::Unary | Form::Wide)
}

/// The registers that an instruction writes.
pub(super) fn written(insn: &Insn) -> Regs {
    match insn.row.form {
        Form::Binary | Form::Unary | Form::Wide | Form::Load | Form::AtomicLoad => bit(insn.dst),
        Form::Atomic => fetched(insn).map_or(0, bit),
        Form::Call | Form::PacketAbs | Form::PacketInd => CLOBBERED,
        Form::StoreImm | Form::StoreReg | Form::Branch | Form::Near | Form::Far | Form::Bare => 0,
    }
}

/// The registers that instruction `index` reads.
pub(super) fn read(insn: &Insn, index: usize, facts: &Facts, params: &[u32]) -> Regs {
    let operand = match insn.operand() {
        Operand::Reg(register) => bit(register),
        Operand::Imm(_) => 0,
    };
    let through = |register| match Base::of(facts.bases[index], insn) {
        Base::Frame(_) => 0,
        _ => bit(register),
    };
    match insn.row.form {
        Form::Binary if matches!(insn.row.shape, Shape::Move | Shape::MoveSigned(_)) => operand,
        Form::Binary | Form::Branch => operand | bit(insn.dst),
        Form::Unary => bit(insn.dst),
        Form::Load | Form::AtomicLoad => through(insn.src),
        Form::StoreImm | Form::StoreReg => through(insn.dst) | operand,
        Form::Atomic => {
            let cmpxchg = matches!(insn.row.shape, Shape::Atomic(AtomicOp::Cmpxchg, _));
            through(insn.dst) | operand | if cmpxchg { bit(0) } else { 0 }
        }
        Form::Call => match facts.lookups.get(&index).map(|lookup| lookup.key) {
            Some(Base::Frame(_)) => 0,
            Some(_) => bit(2),
            None => args(arity(insn, params)),
        },
        Form::Bare => bit(0),
        Form::PacketAbs => bit(6),
        Form::PacketInd => bit(6) | bit(insn.src),
        Form::Wide | Form::Near | Form::Far => 0,
    }
}
