//! Byte order (RFC 9669, section 4.2). Wasm is little-endian, like the eBPF that is accepted.

use wasm_encoder::Instruction as W;

use super::{Lower, Width};
use crate::isa::insn::Insn;

impl Lower<'_> {
    pub(super) fn truncate(&mut self, insn: &Insn, bits: u32) {
        let width = self.kept();
        self.take(insn.dst, width);
        match (bits, width) {
            (64, _) | (32, Width::Narrow) => {}
            (bits, Width::Narrow) => self.body.ops(&[W::I32Const((1 << bits) - 1), W::I32And]),
            (bits, Width::Wide) => self.body.ops(&[W::I64Const((1 << bits) - 1), W::I64And]),
        }
        self.write(insn.dst, width);
    }

    pub(super) fn swap(&mut self, insn: &Insn, bits: u32) {
        match bits {
            16 => self.swap16(insn.dst),
            32 => self.swap32(insn.dst),
            _ => return self.swap64(insn.dst),
        }
        self.write(insn.dst, Width::Narrow);
    }

    fn swap16(&mut self, dst: u8) {
        self.read(dst, Width::Narrow);
        self.body
            .ops(&[W::I32Const(8), W::I32ShrU, W::I32Const(0xff), W::I32And]);
        self.read(dst, Width::Narrow);
        self.body.ops(&[
            W::I32Const(0xff),
            W::I32And,
            W::I32Const(8),
            W::I32Shl,
            W::I32Or,
        ]);
    }

    fn swap32(&mut self, dst: u8) {
        const ODD: i32 = 0x00ff_00ff;
        self.read(dst, Width::Narrow);
        self.body
            .ops(&[W::I32Const(8), W::I32Rotl, W::I32Const(ODD), W::I32And]);
        self.read(dst, Width::Narrow);
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
        let value = self.temporary();
        self.take(dst, Width::Wide);
        for (mask, shift) in [(BYTES, 8), (PAIRS, 16)] {
            self.body.ops(&[
                W::LocalTee(value),
                W::I64Const(shift),
                W::I64ShrU,
                W::I64Const(mask),
                W::I64And,
                W::LocalGet(value),
                W::I64Const(mask),
                W::I64And,
                W::I64Const(shift),
                W::I64Shl,
                W::I64Or,
            ]);
        }
        self.body.ops(&[W::I64Const(32), W::I64Rotl]);
        self.write(dst, Width::Wide);
    }
}
