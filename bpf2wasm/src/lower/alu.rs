//! Arithmetic (RFC 9669, section 4.1).

use wasm_encoder::{BlockType, Instruction as W};

use super::{Lower, Width};
use crate::isa::insn::{Insn, Operand};
use crate::isa::table::OnZero;

/// The instructions of one width that divisions need.
struct Ops {
    zero: W<'static>,
    one: W<'static>,
    eqz: W<'static>,
    add: W<'static>,
    sub: W<'static>,
    mul: W<'static>,
    le: W<'static>,
}

const NARROW: Ops = Ops {
    zero: W::I32Const(0),
    one: W::I32Const(1),
    eqz: W::I32Eqz,
    add: W::I32Add,
    sub: W::I32Sub,
    mul: W::I32Mul,
    le: W::I32LeU,
};

const WIDE: Ops = Ops {
    zero: W::I64Const(0),
    one: W::I64Const(1),
    eqz: W::I64Eqz,
    add: W::I64Add,
    sub: W::I64Sub,
    mul: W::I64Mul,
    le: W::I64LeU,
};

const fn ops(width: Width) -> &'static Ops {
    match width {
        Width::Narrow => &NARROW,
        Width::Wide => &WIDE,
    }
}

impl Lower<'_> {
    pub(super) fn binary(&mut self, insn: &Insn, narrow: &W<'_>, wide: &W<'_>) {
        let width = self.width(insn);
        self.take(insn.dst, width);
        self.operand(insn, width);
        self.body.op(match width {
            Width::Narrow => narrow,
            Width::Wide => wide,
        });
        self.write(insn.dst, width);
    }

    pub(super) fn negate(&mut self, insn: &Insn) {
        let width = self.width(insn);
        self.body.op(&ops(width).zero);
        self.take(insn.dst, width);
        self.body.op(&ops(width).sub);
        self.write(insn.dst, width);
    }

    pub(super) fn divide(
        &mut self,
        insn: &Insn,
        (narrow, wide): (&W<'_>, &W<'_>),
        on_zero: OnZero,
        min_neg1: bool,
    ) {
        let width = self.width(insn);
        let w = ops(width);
        let op = match width {
            Width::Narrow => narrow,
            Width::Wide => wide,
        };
        match insn.operand() {
            Operand::Imm(0) => self.divide_by_zero(insn, on_zero, width),
            Operand::Imm(-1) if min_neg1 => return self.negate(insn),
            Operand::Imm(_) => {
                self.take(insn.dst, width);
                self.operand(insn, width);
                self.body.op(op);
            }
            Operand::Reg(divisor) => {
                self.read(divisor, width);
                if min_neg1 {
                    // 0 and -1 both take the first arm, where dst * divisor is 0 and -dst.
                    self.body
                        .ops(&[w.one.clone(), w.add.clone(), w.one.clone(), w.le.clone()]);
                } else {
                    self.body.op(&w.eqz);
                }
                self.body.op(&W::If(BlockType::Result(width.ty())));
                if min_neg1 {
                    self.read(insn.dst, width);
                    self.read(divisor, width);
                    self.body.op(&w.mul);
                } else {
                    self.divide_by_zero(insn, on_zero, width);
                }
                self.body.op(&W::Else);
                self.read(insn.dst, width);
                self.read(divisor, width);
                self.body.ops(&[op.clone(), W::End]);
            }
        }
        self.write(insn.dst, width);
    }

    fn divide_by_zero(&mut self, insn: &Insn, on_zero: OnZero, width: Width) {
        match on_zero {
            OnZero::Zero => self.body.op(&ops(width).zero),
            OnZero::KeepDst => self.read(insn.dst, width),
        }
    }

    pub(super) fn copy(&mut self, insn: &Insn) {
        let kept = self.kept();
        match (insn.operand(), insn.is_wide(), insn.reference) {
            // A narrow constant needs no extension at run time.
            (Operand::Imm(imm), false, None) => {
                self.number(imm & 0xffff_ffff, kept);
                self.write(insn.dst, kept);
            }
            (operand, ..) => {
                let width = self.width(insn);
                let is_there = self.known(insn.dst).is_none() && self.held(insn.dst) == kept;
                let stays = operand == Operand::Reg(insn.dst) && is_there;
                if !stays || width != kept {
                    self.operand(insn, width);
                    self.write(insn.dst, width);
                }
            }
        }
    }

    pub(super) fn copy_signed(&mut self, insn: &Insn, bits: u32) {
        let width = self.width(insn);
        let held = insn.operand().register().map(|r| self.held(r));
        match (bits, width, held) {
            // The one conversion that wasm has signed.
            (32, Width::Wide, Some(Width::Narrow)) => {
                self.operand(insn, Width::Narrow);
                self.body.op(&W::I64ExtendI32S);
            }
            _ => {
                self.operand(insn, width);
                self.body.ops(match (bits, width) {
                    (8, Width::Narrow) => &[W::I32Extend8S],
                    (16, Width::Narrow) => &[W::I32Extend16S],
                    (_, Width::Narrow) => &[],
                    (8, Width::Wide) => &[W::I64Extend8S],
                    (16, Width::Wide) => &[W::I64Extend16S],
                    (_, Width::Wide) => &[W::I64Extend32S],
                });
            }
        }
        self.write(insn.dst, width);
    }
}
