//! Atomic operations (RFC 9669, section 5.3): calls of the runtime, which shares the memory between CPUs.

use abi::imports::{ATOMICS, AtomicOp};
use wasm_encoder::Instruction as W;

use super::{Lower, Width};
use crate::emit::body::Callee;
use crate::isa::insn::Insn;
use crate::isa::table::Shape;
use crate::types::Base;

impl Lower<'_> {
    pub(super) fn atomic(&mut self, insn: &Insn, op: AtomicOp) {
        let base = self.base(insn);
        if base == Base::Kernel {
            return self.trap(abi::traps::Trap::WildStore);
        }
        self.address(base, insn.dst, insn);
        if op == AtomicOp::Cmpxchg {
            self.read(0, Width::Wide);
        }
        self.read(insn.src, Width::Wide);
        let row = ATOMICS
            .iter()
            .position(|(_, o, bytes)| (*o, *bytes) == (op, insn.bytes()));
        self.body.call(Callee::Atomic(row.unwrap_or_default()));
        match insn.row.shape {
            Shape::Atomic(AtomicOp::Cmpxchg, _) => self.write(0, Width::Wide),
            Shape::Atomic(_, true) => self.write(insn.src, Width::Wide),
            _ => self.body.op(&W::Drop),
        }
    }
}
