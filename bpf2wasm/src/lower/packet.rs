//! Legacy packet loads (RFC 9669, section 5.5): the context is in r6; a packet that is too short ends the program with 0.

use wasm_encoder::{BlockType, Instruction as W};

use super::{Lower, Width};
use crate::emit::body::Callee;
use crate::isa::insn::Insn;
use crate::isa::table::Form;

impl Lower<'_> {
    pub(super) fn packet(&mut self, insn: &Insn) {
        self.read(6, Width::Wide);
        match insn.row.form {
            Form::PacketInd => {
                self.read(insn.src, Width::Wide);
                self.body.ops(&[W::I64Const(insn.imm), W::I64Add]);
                // The kernel computes the offset in 32 bits.
                self.body.op(&W::I64Extend32S);
            }
            _ => self.body.op(&W::I64Const(insn.imm)),
        }
        self.body.call(Callee::PacketLoad(insn.bytes()));
        let value = self.temporary();
        self.body.ops(&[
            W::LocalTee(value),
            W::I64Const(-1),
            W::I64Eq,
            W::If(BlockType::Empty),
        ]);
        self.body
            .ops(&[W::I64Const(0), W::Return, W::End, W::LocalGet(value)]);
        self.write(0, Width::Wide);
    }
}
