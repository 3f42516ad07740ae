//! Loads and stores of fields whose place, and sometimes width, the target kernel decides (CO-RE).
//!
//! Where the relocation's value is unusual, a function of the module looks at it more closely ([`Resized`]).

use wasm_encoder::{BlockType, Instruction as W};

use super::{Lower, Width};
use crate::emit::body::Callee;
use crate::emit::resized::Resized;
use crate::isa::insn::Insn;
use crate::types::Base;

impl Lower<'_> {
    pub(super) fn load_field(
        &mut self,
        relocation: usize,
        base: Base,
        insn: &Insn,
        signed: bool,
        width: Width,
    ) {
        // Only unsigned fields may have another width.
        if signed {
            self.core_check(relocation);
            return self.load_from(base, insn, signed, width);
        }
        self.core_unusual(relocation);
        self.body.op(&W::If(BlockType::Result(width.ty())));
        let kind = match base {
            Base::Frame(_) | Base::Guest => Resized::GuestLoad,
            Base::Kernel | Base::Checked => Resized::Load,
        };
        self.resized(relocation, insn.src);
        self.body.call(Callee::Resized(kind));
        self.convert(Width::Wide, width);
        self.body.op(&W::Else);
        self.load_from(base, insn, signed, width);
        self.body.op(&W::End);
    }

    pub(super) fn store_field(&mut self, relocation: usize, base: Base, insn: &Insn) {
        self.core_unusual(relocation);
        self.body.op(&W::If(BlockType::Empty));
        self.resized(relocation, insn.dst);
        self.stored(insn, Width::Wide);
        self.body.call(Callee::Resized(Resized::Store));
        self.body.ops(&[W::Drop, W::Else]);
        self.store_to(base, insn);
        self.body.op(&W::End);
    }

    /// Pushes the arguments that all of these functions have: base, relocation's value, site.
    fn resized(&mut self, relocation: usize, base: u8) {
        self.read(base, Width::Wide);
        let site = self.input.site + self.insn().slot;
        let value = self.core(relocation);
        self.body.ops(&[value, W::I64Const(i64::from(site))]);
    }
}
