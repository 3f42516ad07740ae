//! Operators as the compiler keeps them: what they do, without what only their encoding knows.

use core::fmt::{self, Write};

use wasmparser::{MemArg, Operator, ValType};

use crate::{Made, Refused};

/// Whether a number has 64 bits, or 32.
pub(crate) type Wide = bool;

/// How two numbers are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    Equal,
    NotEqual,
    Below,
    BelowOrEqual,
    Above,
    AboveOrEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Condition {
    /// What holds exactly if this does not.
    pub(crate) fn negated(self) -> Self {
        match self {
            Self::Equal => Self::NotEqual,
            Self::NotEqual => Self::Equal,
            Self::Below => Self::AboveOrEqual,
            Self::BelowOrEqual => Self::Above,
            Self::Above => Self::BelowOrEqual,
            Self::AboveOrEqual => Self::Below,
            Self::Less => Self::GreaterOrEqual,
            Self::LessOrEqual => Self::Greater,
            Self::Greater => Self::LessOrEqual,
            Self::GreaterOrEqual => Self::Less,
        }
    }

    /// The same of the two numbers in the other order.
    pub(crate) fn swapped(self) -> Self {
        match self {
            Self::Below => Self::Above,
            Self::BelowOrEqual => Self::AboveOrEqual,
            Self::Above => Self::Below,
            Self::AboveOrEqual => Self::BelowOrEqual,
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
            same => same,
        }
    }

    /// Whether it holds.
    pub(crate) fn holds(self, wide: Wide, a: u64, b: u64) -> bool {
        let signed = |v: u64| {
            if wide {
                v as i64
            } else {
                i64::from(v as u32 as i32)
            }
        };
        let (a, b) = (cut(wide, a), cut(wide, b));
        match self {
            Self::Equal => a == b,
            Self::NotEqual => a != b,
            Self::Below => a < b,
            Self::BelowOrEqual => a <= b,
            Self::Above => a > b,
            Self::AboveOrEqual => a >= b,
            Self::Less => signed(a) < signed(b),
            Self::LessOrEqual => signed(a) <= signed(b),
            Self::Greater => signed(a) > signed(b),
            Self::GreaterOrEqual => signed(a) >= signed(b),
        }
    }
}

/// How a number is shifted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shift {
    Left,
    RightUnsigned,
    RightSigned,
    RotateLeft,
    RotateRight,
}

impl Shift {
    /// `value`, so shifted.
    pub(crate) fn of(self, wide: Wide, value: u64, by: u64) -> u64 {
        let by = by as u32 & bits(wide).wrapping_sub(1);
        if wide {
            return match self {
                Self::Left => value << by,
                Self::RightUnsigned => value >> by,
                Self::RightSigned => (value as i64 >> by) as u64,
                Self::RotateLeft => value.rotate_left(by),
                Self::RotateRight => value.rotate_right(by),
            };
        }
        let value = value as u32;
        u64::from(match self {
            Self::Left => value << by,
            Self::RightUnsigned => value >> by,
            Self::RightSigned => (value as i32 >> by) as u32,
            Self::RotateLeft => value.rotate_left(by),
            Self::RotateRight => value.rotate_right(by),
        })
    }
}

/// What makes a number of two of its width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Binary {
    Add,
    Sub,
    Mul,
    And,
    Or,
    Xor,
    Shift(Shift),
    Divide { signed: bool, rest: bool },
}

impl Binary {
    /// The result, if it is one that code need not compute.
    pub(crate) fn of(self, wide: Wide, a: u64, b: u64) -> Option<u64> {
        let (a, b) = (cut(wide, a), cut(wide, b));
        let result = match self {
            Self::Add => a.wrapping_add(b),
            Self::Sub => a.wrapping_sub(b),
            Self::Mul => a.wrapping_mul(b),
            Self::And => a & b,
            Self::Or => a | b,
            Self::Xor => a ^ b,
            Self::Shift(shift) => shift.of(wide, a, b),
            Self::Divide { signed: true, .. } => return None,
            Self::Divide { rest: false, .. } => a.checked_div(b)?,
            Self::Divide { rest: true, .. } => a.checked_rem(b)?,
        };
        Some(cut(wide, result))
    }

    pub(crate) fn commutes(self) -> bool {
        matches!(
            self,
            Self::Add | Self::Mul | Self::And | Self::Or | Self::Xor
        )
    }
}

/// What makes a number of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unary {
    LeadingZeros,
    TrailingZeros,
    Ones,
}

/// `value` in its width.
pub(crate) fn cut(wide: Wide, value: u64) -> u64 {
    if wide {
        value
    } else {
        value & u64::from(u32::MAX)
    }
}

/// The largest number of that width.
pub(crate) fn top(wide: Wide) -> u64 {
    cut(wide, u64::MAX)
}

pub(crate) fn bits(wide: Wide) -> u32 {
    if wide { 64 } else { 32 }
}

/// An operator. Numbers of operators are indices into the body's list of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Nop,
    Unreachable,
    /// Up to the `End` with that number.
    Block {
        end: u32,
        result: Option<Wide>,
    },
    /// The loop with that number among the body's.
    Loop {
        number: u32,
        end: u32,
        result: Option<Wide>,
    },
    /// `otherwise` is the number of the `Else`, 0 if there is none.
    If {
        end: u32,
        otherwise: u32,
        result: Option<Wide>,
    },
    Else,
    /// Of a loop, or of something else.
    End {
        is_loop: bool,
    },
    Branch(u32),
    BranchIf(u32),
    /// So many of the body's targets from the first on, and then the default.
    BranchTable {
        first: u32,
        count: u32,
    },
    Return,
    Drop,
    Select,
    Get(u16),
    Set(u16),
    Tee(u16),
    Const {
        wide: Wide,
        value: u64,
    },
    StackBase,
    Call(u32),
    Wrap,
    /// From so many bytes.
    Extend {
        wide: Wide,
        bytes: u8,
    },
    /// From 32 bits to 64, with zeroes.
    Widen,
    IsZero(Wide),
    Compare(Wide, Condition),
    Binary(Wide, Binary),
    Unary(Wide, Unary),
    Load {
        wide: Wide,
        bytes: u8,
        signed: bool,
        offset: u32,
    },
    Store {
        bytes: u8,
        offset: u32,
    },
    MemorySize,
    MemoryGrow,
}

/// Whether a number of type `ty` is wide.
pub(crate) fn width(ty: ValType) -> Made<Wide> {
    match ty {
        ValType::I32 => Ok(false),
        ValType::I64 => Ok(true),
        ValType::F32 | ValType::F64 => Err(Refused::Unsupported("floating-point numbers")),
        ValType::V128 => Err(Refused::Unsupported("vectors")),
        ValType::Ref(_) => Err(Refused::Unsupported("references")),
    }
}

/// An operator that needs nothing but itself to be understood; the others are [`crate::body`]'s.
pub(crate) fn simple(operator: &Operator<'_>) -> Made<Op> {
    if let Some(op) = binary(operator).or_else(|| access(operator)) {
        return Ok(op);
    }
    let extend = |wide, bytes| Op::Extend { wide, bytes };
    Ok(match operator {
        Operator::Nop => Op::Nop,
        Operator::Unreachable => Op::Unreachable,
        Operator::Br { relative_depth } => Op::Branch(*relative_depth),
        Operator::BrIf { relative_depth } => Op::BranchIf(*relative_depth),
        Operator::Return => Op::Return,
        Operator::Drop => Op::Drop,
        Operator::Select => Op::Select,
        Operator::I32Const { value } => Op::Const {
            wide: false,
            value: u64::from(*value as u32),
        },
        Operator::I64Const { value } => Op::Const {
            wide: true,
            value: *value as u64,
        },
        Operator::Call { function_index } => Op::Call(*function_index),
        Operator::I32WrapI64 => Op::Wrap,
        Operator::I64ExtendI32U => Op::Widen,
        Operator::I64ExtendI32S | Operator::I64Extend32S => extend(true, 4),
        Operator::I64Extend16S => extend(true, 2),
        Operator::I64Extend8S => extend(true, 1),
        Operator::I32Extend16S => extend(false, 2),
        Operator::I32Extend8S => extend(false, 1),
        Operator::I32Eqz => Op::IsZero(false),
        Operator::I64Eqz => Op::IsZero(true),
        Operator::I32Clz => Op::Unary(false, Unary::LeadingZeros),
        Operator::I64Clz => Op::Unary(true, Unary::LeadingZeros),
        Operator::I32Ctz => Op::Unary(false, Unary::TrailingZeros),
        Operator::I64Ctz => Op::Unary(true, Unary::TrailingZeros),
        Operator::I32Popcnt => Op::Unary(false, Unary::Ones),
        Operator::I64Popcnt => Op::Unary(true, Unary::Ones),
        Operator::MemorySize { .. } => Op::MemorySize,
        Operator::MemoryGrow { .. } => Op::MemoryGrow,
        other => return Err(Refused::Operator(Name::of(other))),
    })
}

fn binary(operator: &Operator<'_>) -> Option<Op> {
    use Binary::{Add, And, Divide, Mul, Or, Shift as Shifted, Sub, Xor};
    let divide = |signed, rest| Divide { signed, rest };
    macro_rules! table {
        ($($of:ident { $($narrow:ident $wide:ident $what:expr;)* })*) => {
            match operator {
                $($(Operator::$narrow => Some(Op::$of(false, $what)), Operator::$wide => Some(Op::$of(true, $what)),)*)*
                _ => None,
            }
        };
    }
    table! {
        Binary {
        I32Add I64Add Add;
        I32Sub I64Sub Sub;
        I32Mul I64Mul Mul;
        I32And I64And And;
        I32Or I64Or Or;
        I32Xor I64Xor Xor;
        I32Shl I64Shl Shifted(Shift::Left);
        I32ShrU I64ShrU Shifted(Shift::RightUnsigned);
        I32ShrS I64ShrS Shifted(Shift::RightSigned);
        I32Rotl I64Rotl Shifted(Shift::RotateLeft);
        I32Rotr I64Rotr Shifted(Shift::RotateRight);
        I32DivS I64DivS divide(true, false);
        I32DivU I64DivU divide(false, false);
        I32RemS I64RemS divide(true, true);
        I32RemU I64RemU divide(false, true);
        }
        Compare {
        I32Eq I64Eq Condition::Equal;
        I32Ne I64Ne Condition::NotEqual;
        I32LtU I64LtU Condition::Below;
        I32LeU I64LeU Condition::BelowOrEqual;
        I32GtU I64GtU Condition::Above;
        I32GeU I64GeU Condition::AboveOrEqual;
        I32LtS I64LtS Condition::Less;
        I32LeS I64LeS Condition::LessOrEqual;
        I32GtS I64GtS Condition::Greater;
        I32GeS I64GeS Condition::GreaterOrEqual;
        }
    }
}

fn access(operator: &Operator<'_>) -> Option<Op> {
    let load = |wide, bytes, signed, memarg: MemArg| Op::Load {
        wide,
        bytes,
        signed,
        offset: memarg.offset as u32,
    };
    let store = |bytes, memarg: MemArg| Op::Store {
        bytes,
        offset: memarg.offset as u32,
    };
    Some(match *operator {
        Operator::I32Load { memarg } => load(false, 4, false, memarg),
        Operator::I64Load { memarg } => load(true, 8, false, memarg),
        Operator::I32Load8S { memarg } => load(false, 1, true, memarg),
        Operator::I32Load8U { memarg } => load(false, 1, false, memarg),
        Operator::I32Load16S { memarg } => load(false, 2, true, memarg),
        Operator::I32Load16U { memarg } => load(false, 2, false, memarg),
        Operator::I64Load8S { memarg } => load(true, 1, true, memarg),
        Operator::I64Load8U { memarg } => load(true, 1, false, memarg),
        Operator::I64Load16S { memarg } => load(true, 2, true, memarg),
        Operator::I64Load16U { memarg } => load(true, 2, false, memarg),
        Operator::I64Load32S { memarg } => load(true, 4, true, memarg),
        Operator::I64Load32U { memarg } => load(true, 4, false, memarg),
        Operator::I32Store { memarg } => store(4, memarg),
        Operator::I64Store { memarg } => store(8, memarg),
        Operator::I32Store8 { memarg } | Operator::I64Store8 { memarg } => store(1, memarg),
        Operator::I32Store16 { memarg } | Operator::I64Store16 { memarg } => store(2, memarg),
        Operator::I64Store32 { memarg } => store(4, memarg),
        _ => return None,
    })
}

/// The name of an operator.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Name {
    bytes: [u8; 32],
    length: usize,
}

impl Name {
    pub(crate) fn of(operator: &Operator<'_>) -> Self {
        let mut name = Self {
            bytes: [0; 32],
            length: 0,
        };
        // It ends where the name does.
        let _ = write!(name, "{operator:?}");
        name
    }
}

impl Write for Name {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            match self.bytes.get_mut(self.length) {
                Some(place) if byte.is_ascii_alphanumeric() => *place = byte,
                _ => return Err(fmt::Error),
            }
            self.length += 1;
        }
        Ok(())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.bytes.get(..self.length).unwrap_or_default();
        f.write_str(core::str::from_utf8(name).unwrap_or_default())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
