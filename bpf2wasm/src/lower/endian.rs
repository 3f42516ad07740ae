//! Byte order (RFC 9669, section 4.2). Wasm is little-endian, like the eBPF that is accepted.

use wasm_encoder::Instruction as W;

use super::Lower;
use crate::isa::insn::Insn;

impl Lower<'_> {
    pub(super) fn truncate(&mut self, insn: &Insn, bits: u32) {
        self.take(insn.dst);
        if bits < 64 {
            self.body.ops(&[W::I64Const((1 << bits) - 1), W::I64And]);
        }
        self.write(insn.dst);
    }

    pub(super) fn swap(&mut self, insn: &Insn, bits: u32) {
        match bits {
            16 => self.swap16(insn.dst),
            32 => {
                self.read(insn.dst);
                self.body.wrap();
                self.swap32(insn.dst);
                self.body.extend();
            }
            _ => self.swap64(insn.dst),
        }
        self.write(insn.dst);
    }

    fn swap16(&mut self, dst: u8) {
        self.read(dst);
        self.body
            .ops(&[W::I64Const(8), W::I64ShrU, W::I64Const(0xff), W::I64And]);
        self.read(dst);
        self.body.ops(&[
            W::I64Const(0xff),
            W::I64And,
            W::I64Const(8),
            W::I64Shl,
            W::I64Or,
        ]);
    }

    /// Swaps the i32 on the stack, which is the low half of `dst`.
    fn swap32(&mut self, dst: u8) {
        const ODD: i32 = 0x00ff_00ff;
        self.body
            .ops(&[W::I32Const(8), W::I32Rotl, W::I32Const(ODD), W::I32And]);
        self.read(dst);
        self.body.wrap();
        self.body.ops(&[
            W::I32Const(8),
            W::I32Rotr,
            W::I32Const(!ODD),
            W::I32And,
            W::I32Or,
        ]);
    }

    /// Swaps bytes in pairs, pairs in halves, and the halves.
    fn swap64(&mut self, dst: u8) {
        const BYTES: i64 = 0x00ff_00ff_00ff_00ff;
        const PAIRS: i64 = 0x0000_ffff_0000_ffff;
        let local = self.local(dst);
        for (mask, shift) in [(BYTES, 8), (PAIRS, 16)] {
            self.body.get(local);
            self.body
                .ops(&[W::I64Const(shift), W::I64ShrU, W::I64Const(mask), W::I64And]);
            self.body.get(local);
            self.body.ops(&[
                W::I64Const(mask),
                W::I64And,
                W::I64Const(shift),
                W::I64Shl,
                W::I64Or,
            ]);
            self.body.set(local);
        }
        self.body.take(local);
        self.body.ops(&[W::I64Const(32), W::I64Rotl]);
    }
}
