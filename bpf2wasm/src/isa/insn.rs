//! A decoded instruction.

use super::table::{Form, Row, X, class};

/// The frame pointer.
pub(crate) const FP: u8 = 10;
/// Registers an eBPF function can name.
pub(crate) const REGISTERS: usize = 11;

/// A decoded instruction: its row and its fields, checked against the row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Insn {
    /// Its row.
    pub(crate) row: &'static Row,
    /// The slot it begins at, from the start of its function.
    pub(crate) slot: u32,
    /// The opcode.
    pub(crate) opcode: u8,
    /// Destination register.
    pub(crate) dst: u8,
    /// Source register, or what selects a row or a pseudo source.
    pub(crate) src: u8,
    /// Offset.
    pub(crate) off: i16,
    /// Immediate, sign-extended; all 64 bits of `ld_imm64`.
    pub(crate) imm: i64,
    /// What it refers to.
    pub(crate) reference: Option<Ref>,
}

/// What an instruction refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ref {
    /// A map's handle.
    Map(usize),
    /// A byte of a data section.
    Data(usize, u32),
    /// A byte of an array map's first element.
    Value(usize, u32),
    /// A function: called, or its address taken.
    Function(usize),
    /// The address of a kernel symbol, or a call of a kernel function.
    Extern(usize),
    /// A CO-RE relocation, whose value replaces the immediate or offset.
    Core(usize),
}

/// The second operand of an arithmetic instruction, jump or store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operand {
    /// A register.
    Reg(u8),
    /// An immediate.
    Imm(i64),
}

impl Operand {
    /// The register, if it is one.
    pub(crate) fn register(self) -> Option<u8> {
        match self {
            Operand::Reg(register) => Some(register),
            Operand::Imm(_) => None,
        }
    }
}

impl Insn {
    /// Whether a CO-RE relocation replaces its immediate or offset.
    pub(crate) fn is_relocated(&self) -> bool {
        matches!(self.reference, Some(Ref::Core(_)))
    }

    /// How many slots it takes.
    pub(crate) fn slots(&self) -> u32 {
        if self.row.form == Form::Wide { 2 } else { 1 }
    }

    /// Whether an arithmetic instruction or jump works on 64 bits.
    pub(crate) fn is_wide(&self) -> bool {
        matches!(self.opcode & 7, class::ALU64 | class::JMP)
    }

    /// How many bytes a load, store or atomic accesses.
    pub(crate) fn bytes(&self) -> u32 {
        match self.opcode & 0x18 {
            0x00 => 4,
            0x08 => 2,
            0x10 => 1,
            _ => 8,
        }
    }

    /// The second operand.
    pub(crate) fn operand(&self) -> Operand {
        let register = match self.row.form {
            Form::Binary | Form::Branch => self.opcode & X != 0,
            Form::StoreReg | Form::Atomic => true,
            _ => false,
        };
        if register {
            Operand::Reg(self.src)
        } else {
            Operand::Imm(self.imm)
        }
    }

    /// Whether it computes its destination register, and that is `register`.
    pub(crate) fn overwrites(&self, register: u8) -> bool {
        let computes = matches!(
            self.row.form,
            Form::Binary | Form::Unary | Form::Wide | Form::Load | Form::AtomicLoad
        );
        computes && self.dst == register
    }

    /// The slot a jump goes to.
    pub(crate) fn target(&self) -> Option<i64> {
        let distance = match self.row.form {
            Form::Branch | Form::Near => i64::from(self.off),
            Form::Far => self.imm,
            _ => return None,
        };
        Some(i64::from(self.slot) + 1 + distance)
    }
}
