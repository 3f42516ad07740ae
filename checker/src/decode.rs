//! From bytes to instructions: those that are listed here, in the encodings that are listed here. Whatever else there is, on
//! this or another processor, is none.

use crate::insn::{Insn, Mem, Op, RSP, Reg, Rm};

/// The longest instruction that is decoded: `66`, rex, opcode, modrm, sib, disp32, imm32 (a word's imm is 16).
const LONGEST: usize = 15;

pub(crate) struct Decoder<'a> {
    bytes: &'a [u8],
    at: usize,
    rex: Option<u8>,
    /// `66` stood in front.
    short: bool,
    /// `f0` stood in front.
    locked: bool,
}

/// The operands that a modrm byte tells.
pub(crate) struct Operands {
    /// Its middle bits, with rex.
    pub(crate) reg: Reg,
    pub(crate) rm: Rm,
}

impl Decoder<'_> {
    pub(crate) fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let found = self.bytes.get(self.at..)?.first_chunk()?;
        self.at += N;
        Some(*found)
    }

    pub(crate) fn imm8(&mut self) -> Option<i32> {
        self.byte().map(|byte| i32::from(byte as i8))
    }

    pub(crate) fn imm32(&mut self) -> Option<i32> {
        self.bytes().map(i32::from_le_bytes)
    }

    pub(crate) fn wide(&self) -> bool {
        self.rex.is_some_and(|rex| rex & 8 != 0)
    }

    /// A register's number with its bit of rex.
    pub(crate) fn with_rex(&self, low: u8, bit: u8) -> Reg {
        low & 7 | (self.rex.unwrap_or(0) >> bit & 1) << 3
    }

    pub(crate) fn operands(&mut self) -> Option<Operands> {
        let modrm = self.byte()?;
        let reg = self.with_rex(modrm >> 3, 2);
        let rm = match modrm >> 6 {
            3 => Rm::Reg(self.with_rex(modrm, 0)),
            mode => Rm::Mem(self.memory(mode, modrm & 7)?),
        };
        Some(Operands { reg, rm })
    }

    /// A base, an index maybe, a displacement. Nothing relative to the instruction, nothing absolute.
    fn memory(&mut self, mode: u8, low: u8) -> Option<Mem> {
        let mut base = self.with_rex(low, 0);
        let mut index = None;
        if low == RSP {
            let sib = self.byte()?;
            base = self.with_rex(sib, 0);
            let register = self.with_rex(sib >> 3, 1);
            index = (register != RSP).then_some((register, sib >> 6));
            if index.is_none() && sib >> 6 != 0 {
                return None;
            }
        } else if self.rex.is_some_and(|rex| rex & 2 != 0) {
            // An index's bit without an index.
            return None;
        }
        let disp = match mode {
            0 if base & 7 == 5 => return None,
            0 => 0,
            1 => self.imm8()?,
            _ => self.imm32()?,
        };
        Some(Mem { base, index, disp })
    }

    /// Whether `reg` names the lowest byte of a register, and not the second.
    pub(crate) fn is_low_byte(&self, reg: Reg) -> bool {
        self.rex.is_some() || reg < 4
    }

    fn prefixes(&mut self) -> Option<u8> {
        let mut first = self.byte()?;
        match first {
            0x66 => self.short = true,
            0xf0 => self.locked = true,
            _ => {}
        }
        if self.short || self.locked {
            first = self.byte()?;
        }
        if first & 0xf0 == 0x40 {
            self.rex = Some(first);
            first = self.byte()?;
        }
        // On 16 bits and on 64 at once.
        (!(self.short && self.wide())).then_some(first)
    }

    fn op(&mut self) -> Option<Op> {
        let opcode = self.prefixes()?;
        let op = match (self.short, self.locked) {
            (false, false) => self.plain(opcode),
            (true, false) => self.word(opcode),
            (false, true) => self.atomic(opcode),
            (true, true) => None,
        };
        // Whatever has no operand by which rex could matter.
        let is_bare = matches!(
            op,
            Some(Op::Nop | Op::Leave | Op::Go { .. } | Op::Undefined)
        );
        op.filter(|_| !(is_bare && self.rex.is_some()))
    }
}

/// The instruction that `bytes` begin with.
pub(crate) fn decode(bytes: &[u8]) -> Option<Insn> {
    let mut decoder = Decoder {
        bytes: bytes.get(..LONGEST).unwrap_or(bytes),
        at: 0,
        rex: None,
        short: false,
        locked: false,
    };
    let op = decoder.op()?;
    Some(Insn {
        op,
        length: decoder.at as u32,
    })
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
