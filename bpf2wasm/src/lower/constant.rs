//! 64-bit immediates and CO-RE values.

use abi::imports::POISON;
use abi::traps::Trap;
use wasm_encoder::{BlockType, Instruction as W};

use super::{Lower, Width};
use crate::isa::insn::{Insn, Ref};
use crate::object::CORE_KINDS;

/// `BPF_CORE_ENUMVAL_VALUE`.
const ENUMVAL_VALUE: u32 = 11;

impl Lower<'_> {
    pub(super) fn constant(&mut self, insn: &Insn) {
        let globals = self.shared.globals;
        match insn.reference {
            None => {
                let kept = self.kept();
                self.number(insn.imm, kept);
                return self.write(insn.dst, kept);
            }
            Some(Ref::Map(map)) => self.body.op(&W::GlobalGet(globals.map(map))),
            Some(Ref::Data(map, offset)) => self.place(globals.map(map), offset),
            Some(Ref::Value(map, offset)) => self.place(globals.value(map), offset),
            Some(Ref::Extern(index)) => self.body.op(&W::GlobalGet(globals.external(index))),
            Some(Ref::Function(function)) => {
                let index = self.shared.callbacks[function].unwrap_or(0);
                self.body.op(&W::I64Const(i64::from(index)));
            }
            Some(Ref::Core(relocation)) => self.core_value(relocation),
        }
        self.write(insn.dst, Width::Wide);
    }

    /// Pushes a global's value plus `offset`.
    fn place(&mut self, global: u32, offset: u32) {
        self.body.op(&W::GlobalGet(global));
        if offset != 0 {
            self.body.ops(&[W::I64Const(i64::from(offset)), W::I64Add]);
        }
    }

    /// Pushes the value of a CO-RE relocation, or traps if the target kernel has none.
    pub(super) fn core_value(&mut self, relocation: usize) {
        let kind = self.shared.relocations[relocation].kind;
        if CORE_KINDS[kind as usize].1 {
            self.core_check(relocation);
        }
        self.body.op(&self.core(relocation));
        // A 32-bit immediate is sign-extended, whatever the enumerator's type.
        if kind == ENUMVAL_VALUE && self.insn().slots() == 1 {
            self.body.op(&W::I64Extend32S);
        }
    }

    /// The instruction that pushes the value of a CO-RE relocation.
    pub(super) fn core(&self, relocation: usize) -> W<'static> {
        W::GlobalGet(self.shared.globals.core(relocation))
    }

    /// Traps if the target kernel has no value for a CO-RE relocation.
    pub(super) fn core_check(&mut self, relocation: usize) {
        if self.shared.relocations[relocation].kind == ENUMVAL_VALUE {
            let global = self.core(relocation);
            self.body.ops(&[global, W::I64Const(POISON), W::I64Eq]);
        } else {
            self.core_unusual(relocation);
        }
        self.body.op(&W::If(BlockType::Empty));
        self.trap(Trap::Poison);
        self.body.op(&W::End);
    }

    /// Pushes whether a CO-RE relocation that is no enumerator's is more than a number below 2³²: poison, or resized.
    pub(super) fn core_unusual(&mut self, relocation: usize) {
        let global = self.core(relocation);
        self.body
            .ops(&[global, W::I64Const(32), W::I64ShrU, W::I32WrapI64]);
    }
}
