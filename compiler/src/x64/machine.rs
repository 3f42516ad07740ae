//! The machine's registers, conditions and places, and the numbers of its operations.

use crate::operator::Condition;
use crate::registers::Reg;

pub(super) const RAX: Reg = Reg(0);
pub(super) const RCX: Reg = Reg(1);
pub(super) const RDX: Reg = Reg(2);
pub(super) const RBX: Reg = Reg(3);
pub(super) const RSP: Reg = Reg(4);
pub(super) const RBP: Reg = Reg(5);
pub(super) const RSI: Reg = Reg(6);
pub(super) const RDI: Reg = Reg(7);
pub(super) const R8: Reg = Reg(8);
pub(super) const R9: Reg = Reg(9);
pub(super) const R10: Reg = Reg(10);
pub(super) const R11: Reg = Reg(11);
pub(super) const R12: Reg = Reg(12);
pub(super) const R13: Reg = Reg(13);
pub(super) const R14: Reg = Reg(14);
pub(super) const R15: Reg = Reg(15);

/// A condition on flags, as encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flag(pub(super) u8);

impl Flag {
    pub(super) const OVERFLOW: Self = Self(0);

    pub(super) fn of(condition: Condition) -> Self {
        Self(match condition {
            Condition::Below => 2,
            Condition::AboveOrEqual => 3,
            Condition::Equal => 4,
            Condition::NotEqual => 5,
            Condition::BelowOrEqual => 6,
            Condition::Above => 7,
            Condition::Less => 12,
            Condition::GreaterOrEqual => 13,
            Condition::LessOrEqual => 14,
            Condition::Greater => 15,
        })
    }
}

/// A place in memory: base, index, and what is added.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mem {
    pub(super) base: Reg,
    pub(super) index: Option<Reg>,
    pub(super) disp: i32,
}

impl Mem {
    pub(super) fn at(base: Reg, disp: i32) -> Self {
        Self {
            base,
            index: None,
            disp,
        }
    }
}

/// Operations of the classic encoding, by their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alu {
    Add = 0,
    Or = 1,
    And = 4,
    Sub = 5,
    Xor = 6,
    Cmp = 7,
}

/// Shifts, by their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    RotateLeft = 0,
    RotateRight = 1,
    Left = 4,
    RightUnsigned = 5,
    RightSigned = 7,
}

/// Operations on one operand (`f7`), by their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum One {
    Not = 2,
    Negate = 3,
    Divide = 6,
    DivideSigned = 7,
}
