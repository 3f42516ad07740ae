//! Arithmetic (RFC 9669, section 4.1).

use wasm_encoder::{BlockType, Instruction as W, ValType};

use super::Lower;
use crate::isa::insn::{Insn, Operand};
use crate::isa::table::OnZero;

/// The instructions of one width that divisions need.
struct Width {
    ty: ValType,
    zero: W<'static>,
    one: W<'static>,
    eqz: W<'static>,
    add: W<'static>,
    sub: W<'static>,
    mul: W<'static>,
    le: W<'static>,
}

const NARROW: Width = Width {
    ty: ValType::I32,
    zero: W::I32Const(0),
    one: W::I32Const(1),
    eqz: W::I32Eqz,
    add: W::I32Add,
    sub: W::I32Sub,
    mul: W::I32Mul,
    le: W::I32LeU,
};

const WIDE: Width = Width {
    ty: ValType::I64,
    zero: W::I64Const(0),
    one: W::I64Const(1),
    eqz: W::I64Eqz,
    add: W::I64Add,
    sub: W::I64Sub,
    mul: W::I64Mul,
    le: W::I64LeU,
};

const fn width(wide: bool) -> &'static Width {
    if wide { &WIDE } else { &NARROW }
}

impl Lower<'_> {
    pub(super) fn binary(&mut self, insn: &Insn, narrow: &W<'_>, wide: &W<'_>) {
        let is_wide = insn.is_wide();
        self.take_width(insn.dst, is_wide);
        self.operand(insn, is_wide);
        self.body.op(if is_wide { wide } else { narrow });
        self.write_width(insn.dst, is_wide);
    }

    pub(super) fn negate(&mut self, insn: &Insn) {
        let w = width(insn.is_wide());
        self.body.op(&w.zero);
        self.take_width(insn.dst, insn.is_wide());
        self.body.op(&w.sub);
        self.write_width(insn.dst, insn.is_wide());
    }

    pub(super) fn divide(&mut self, insn: &Insn, op: &W<'_>, on_zero: OnZero, min_neg1: bool) {
        let w = width(insn.is_wide());
        match insn.operand() {
            Operand::Imm(0) => self.divide_by_zero(insn, on_zero),
            Operand::Imm(-1) if min_neg1 => return self.negate(insn),
            Operand::Imm(_) => {
                self.take_width(insn.dst, insn.is_wide());
                self.operand(insn, insn.is_wide());
                self.body.op(op);
            }
            Operand::Reg(divisor) => {
                self.read_width(divisor, insn);
                if min_neg1 {
                    // 0 and -1 both take the first arm, where dst * divisor is 0 and -dst.
                    self.body
                        .ops(&[w.one.clone(), w.add.clone(), w.one.clone(), w.le.clone()]);
                } else {
                    self.body.op(&w.eqz);
                }
                self.body.op(&W::If(BlockType::Result(w.ty)));
                if min_neg1 {
                    self.read_width(insn.dst, insn);
                    self.read_width(divisor, insn);
                    self.body.op(&w.mul);
                } else {
                    self.divide_by_zero(insn, on_zero);
                }
                self.body.op(&W::Else);
                self.read_width(insn.dst, insn);
                self.read_width(divisor, insn);
                self.body.ops(&[op.clone(), W::End]);
            }
        }
        self.write_width(insn.dst, insn.is_wide());
    }

    fn divide_by_zero(&mut self, insn: &Insn, on_zero: OnZero) {
        match on_zero {
            OnZero::Zero => self.body.op(&width(insn.is_wide()).zero),
            OnZero::KeepDst => self.read_width(insn.dst, insn),
        }
    }

    fn read_width(&mut self, register: u8, insn: &Insn) {
        self.read(register);
        if !insn.is_wide() {
            self.body.wrap();
        }
    }

    pub(super) fn copy(&mut self, insn: &Insn) {
        match (insn.operand(), insn.is_wide(), self.reference()) {
            // A narrow constant needs no extension at run time.
            (Operand::Imm(imm), false, None) => {
                self.body.op(&W::I64Const(imm & 0xffff_ffff));
                self.write(insn.dst);
            }
            (_, wide, _) => {
                self.operand(insn, wide);
                self.write_width(insn.dst, wide);
            }
        }
    }

    pub(super) fn copy_signed(&mut self, insn: &Insn, bits: u32) {
        self.operand(insn, insn.is_wide());
        self.body.op(match (bits, insn.is_wide()) {
            (8, false) => &W::I32Extend8S,
            (16, false) => &W::I32Extend16S,
            (8, true) => &W::I64Extend8S,
            (16, true) => &W::I64Extend16S,
            _ => &W::I64Extend32S,
        });
        self.write_width(insn.dst, insn.is_wide());
    }
}
