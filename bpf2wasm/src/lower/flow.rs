//! Control flow: walks the structured steps and translates the branches between blocks.

use wasm_encoder::{BlockType, Instruction as W, ValType};

use super::{Lower, Width};
use crate::cfg::Op;
use crate::error::Result;
use crate::isa::insn::{Insn, Operand};
use crate::isa::table::Shape;
use crate::session;

/// The kernel's `BPF_MAX_LOOPS`: how often a function's `may_goto`s fall through.
const MAX_LOOPS: i32 = 8 << 20;

impl Lower<'_> {
    /// Translates the whole function.
    pub(super) fn run(&mut self) -> Result<()> {
        let ops = &self.input.structured.ops;
        for (i, op) in ops.iter().enumerate() {
            self.op(*op, i + 1 == ops.len())?;
        }
        if ops.last() != Some(&Op::Return) {
            self.body.op(&W::Unreachable);
        }
        Ok(())
    }

    fn op(&mut self, op: Op, last: bool) -> Result<()> {
        match op {
            Op::Loop => self.body.op(&W::Loop(BlockType::Empty)),
            Op::Block => self.body.op(&W::Block(BlockType::Empty)),
            Op::End => self.body.op(&W::End),
            Op::Br(depth) => self.body.op(&W::Br(depth)),
            Op::Code(block) => {
                let block = &self.input.blocks.list[block];
                for index in block.first..block.end {
                    self.step(index)?;
                }
            }
            Op::If(branch) => {
                self.condition(branch);
                self.body.op(&W::If(BlockType::Empty));
            }
            Op::BrIf(branch, taken, depth) => {
                self.condition(branch);
                if !taken {
                    self.body.op(&W::I32Eqz);
                }
                self.body.op(&W::BrIf(depth));
            }
            Op::Return if session::gives(self.function) => {
                self.body.ops(&session::result());
                self.take(0, Width::Wide);
                self.body.ops(&session::give());
                if !last {
                    self.body.op(&W::Return);
                }
            }
            Op::Return => {
                self.take(0, Width::Wide);
                if !last {
                    self.body.op(&W::Return);
                }
            }
            Op::SetNext(block) => {
                let next = self.dispatch_variable();
                self.body
                    .ops(&[W::I32Const(block as i32), W::LocalSet(next)]);
            }
            Op::Dispatch(count) => {
                let next = self.dispatch_variable();
                let labels: alloc::vec::Vec<u32> = (0..count as u32).collect();
                self.body
                    .ops(&[W::LocalGet(next), W::BrTable(labels.into(), 0)]);
            }
        }
        Ok(())
    }

    fn dispatch_variable(&mut self) -> u32 {
        *self
            .next
            .get_or_insert_with(|| self.body.local(ValType::I32))
    }

    /// Pushes whether the branch instruction `index` is taken.
    fn condition(&mut self, index: usize) {
        self.index = index;
        let insn = self.insn();
        self.body.mark(insn.slot);
        match &insn.row.shape {
            Shape::Compare(narrow, wide) => self.compare(insn, narrow, wide),
            Shape::Test => {
                let width = self.width(insn);
                let and = match width {
                    Width::Narrow => W::I32And,
                    Width::Wide => W::I64And,
                };
                self.take(insn.dst, width);
                self.operand(insn, width);
                self.body.op(&and);
                if width == Width::Wide {
                    self.body.ops(&[W::I64Eqz, W::I32Eqz]);
                }
            }
            _ => self.loop_budget(),
        }
    }

    fn compare(&mut self, insn: &Insn, narrow: &W<'_>, wide: &W<'_>) {
        let width = self.width(insn);
        self.take(insn.dst, width);
        let op = match width {
            Width::Narrow => narrow,
            Width::Wide => wide,
        };
        let zero = insn.operand() == Operand::Imm(0);
        match op {
            W::I32Eq if zero => self.body.op(&W::I32Eqz),
            W::I64Eq if zero => self.body.op(&W::I64Eqz),
            // A condition is any number.
            W::I32Ne if zero => {}
            W::I64Ne if zero => self.body.ops(&[W::I64Eqz, W::I32Eqz]),
            _ => {
                self.operand(insn, width);
                self.body.op(op);
            }
        }
    }

    /// `may_goto`: taken once the function has passed so many of them.
    fn loop_budget(&mut self) {
        let passed = *self
            .budget
            .get_or_insert_with(|| self.body.local(ValType::I32));
        self.body.ops(&[
            W::LocalGet(passed),
            W::I32Const(1),
            W::I32Add,
            W::LocalTee(passed),
        ]);
        self.body.ops(&[W::I32Const(MAX_LOOPS), W::I32GtU]);
    }
}
