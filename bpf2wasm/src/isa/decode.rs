//! Bytes to instructions. Every field that a row does not use must be zero, as the kernel's verifier demands.

use alloc::vec::Vec;

use super::insn::{FP, Insn};
use super::table::{Field, Form, Row, Shape, X, rows};
use crate::error::{Error, InsnError, Result};

/// Bytes of an instruction slot.
pub(crate) const SLOT: usize = 8;

/// Decodes a function's little-endian code.
pub(crate) fn decode(code: &[u8]) -> Result<Vec<Insn>> {
    let mut insns = Vec::with_capacity(code.len() / SLOT);
    let mut slots = code.chunks_exact(SLOT).map(Slot::new).enumerate();
    while let Some((at, slot)) = slots.next() {
        let mut insn = slot.decode(at as u32).map_err(|e| Error::at(at, e))?;
        if insn.row.form == Form::Wide {
            let high = slots.next().filter(|(_, high)| high.is_continuation());
            let (_, high) = high.ok_or_else(|| Error::at(at, InsnError::Truncated))?;
            insn.imm = i64::from(high.imm) << 32 | i64::from(insn.imm as u32);
        }
        insns.push(insn);
    }
    Ok(insns)
}

/// The fields of eight bytes.
#[derive(Clone, Copy)]
struct Slot {
    opcode: u8,
    dst: u8,
    src: u8,
    off: i16,
    imm: i32,
}

impl Slot {
    fn new(bytes: &[u8]) -> Self {
        Slot {
            opcode: bytes[0],
            dst: bytes[1] & 0xf,
            src: bytes[1] >> 4,
            off: i16::from_le_bytes([bytes[2], bytes[3]]),
            imm: i32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        }
    }

    /// Whether it is the second half of `ld_imm64`.
    fn is_continuation(&self) -> bool {
        self.opcode == 0 && self.dst == 0 && self.src == 0 && self.off == 0
    }

    fn decode(self, slot: u32) -> Result<Insn, InsnError> {
        let Slot {
            opcode,
            dst,
            src,
            off,
            imm,
        } = self;
        let row = rows(opcode).find(|row| self.fields(row).iter().all(Used::fits));
        let row = row.ok_or_else(|| match rows(opcode).next() {
            Some(row) => self.misfit(row).unwrap_or(InsnError::Unknown(opcode)),
            None => InsnError::Unknown(opcode),
        })?;
        match row.shape {
            Shape::Arena => return Err(InsnError::Arena),
            Shape::CallRegister => return Err(InsnError::IndirectCall),
            _ => {}
        }
        let insn = Insn {
            row,
            slot,
            opcode,
            dst,
            src,
            off,
            imm: i64::from(imm),
            reference: None,
        };
        insn.check_registers()?;
        Ok(insn)
    }

    /// What `row` allows in the fields that are not operands for certain, and what they hold.
    fn fields(&self, row: &Row) -> [Used; 3] {
        let register = self.opcode & X != 0;
        let two_forms = matches!(row.form, Form::Binary | Form::Branch) && row.low.len() == 2;
        // Where there is a register and an immediate form, each leaves the other's field zero.
        let src = if two_forms && !register {
            Field::Is(0)
        } else {
            row.src
        };
        let imm = if two_forms && register {
            Field::Is(0)
        } else {
            row.imm
        };
        [
            Used("src", src, i32::from(self.src)),
            Used("off", row.off, i32::from(self.off)),
            Used("imm", imm, self.imm),
        ]
    }

    /// The first field that does not fit `row`.
    fn misfit(&self, row: &Row) -> Option<InsnError> {
        let Used(name, _, value) = self.fields(row).into_iter().find(|field| !field.fits())?;
        Some(InsnError::Field(row.mnemonic, name, i64::from(value)))
    }
}

/// A field's name, what it may hold, and what it holds.
struct Used(&'static str, Field, i32);

impl Used {
    fn fits(&self) -> bool {
        matches!(self.1, Field::Any) || self.1 == Field::Is(self.2)
    }
}

impl Insn {
    /// Registers exist, and the frame pointer is not written.
    fn check_registers(&self) -> Result<(), InsnError> {
        let source = matches!(
            self.row.form,
            Form::Load | Form::AtomicLoad | Form::PacketInd
        ) || matches!(self.operand(), super::insn::Operand::Reg(_));
        let writes = matches!(
            self.row.form,
            Form::Binary | Form::Unary | Form::Wide | Form::Load | Form::AtomicLoad
        );
        let fetches = matches!(self.row.shape, Shape::Atomic(_, true));
        let bad = |register: u8, written: bool| register > FP || written && register == FP;
        if bad(self.dst, writes) {
            return Err(InsnError::Register(self.dst));
        }
        if source && bad(self.src, fetches) {
            return Err(InsnError::Register(self.src));
        }
        Ok(())
    }
}
