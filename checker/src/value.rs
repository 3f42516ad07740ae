//! What is known of a register's or slot's contents.

use abi::layout::guest_ptr;

use crate::insn::{Alu, Shift};

/// Names a number that a function computed; equal ones are equal numbers.
pub(crate) type Id = u32;

/// What is added to a guest pointer to take its tag off.
const UNTAG: u64 = guest_ptr(0).wrapping_neg();

/// The top of the lower half.
pub(crate) const LOW: u64 = u32::MAX as u64;

/// How a number follows from the one that its [`Id`] names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Whole,
    /// Its lower half.
    Low,
    /// With a guest pointer's tag taken off, and rotated to the right by so many bits.
    Untagged(u8),
}

/// What a number is not, whole or its lower half: zero, minus one.
pub(crate) const NOT_ZERO: u8 = 1;
pub(crate) const LOW_NOT_ZERO: u8 = 2;
pub(crate) const NOT_ONES: u8 = 4;
pub(crate) const LOW_NOT_ONES: u8 = 8;

/// A number that is not known, but something about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Number {
    pub(crate) id: Id,
    pub(crate) form: Form,
    /// So many of its lowest bits are zero.
    pub(crate) zeros: u8,
    /// What it is not.
    pub(crate) not: u8,
    /// Arguments that it may be, a bit each: who reads it wants them.
    pub(crate) arguments: u8,
    /// At most this, its lower half.
    pub(crate) low: u32,
    /// At most this, all of it.
    pub(crate) max: u64,
}

/// What a register or a slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// What somebody left there: not to be read.
    Undefined,
    /// rbp as it was at the entry.
    Saved,
    /// Address of the [`abi::native::Vm`].
    Vm,
    /// Address of guest memory.
    Memory,
    /// Address of the CPU's stack in guest memory.
    Area,
    /// The stack pointer's limit.
    Limit,
    /// What is left of the budget.
    Fuel,
    /// The same, if what was taken off last was there.
    Paying,
    /// 0 or 1 in the lowest byte, above it what was there.
    Byte,
    /// The stack pointer at the entry, and so much.
    Frame(i32),
    Const(u64),
    Number(Number),
}

impl Number {
    pub(crate) const fn new(id: Id) -> Self {
        Self::at_most(id, u64::MAX)
    }

    pub(crate) const fn at_most(id: Id, max: u64) -> Self {
        Self {
            id,
            form: Form::Whole,
            zeros: 0,
            not: 0,
            arguments: 0,
            low: if max < LOW { max as u32 } else { u32::MAX },
            max,
        }
    }

    /// With what follows from what is known.
    pub(crate) const fn settled(mut self) -> Self {
        if self.max <= LOW {
            if (self.low as u64) < self.max {
                self.max = self.low as u64;
            }
            self.low = self.max as u32;
            self.not |= NOT_ONES;
            if self.not & (NOT_ZERO | LOW_NOT_ZERO) != 0 {
                self.not |= NOT_ZERO | LOW_NOT_ZERO;
            }
        }
        if self.not & LOW_NOT_ZERO != 0 {
            self.not |= NOT_ZERO;
        }
        if self.not & LOW_NOT_ONES != 0 || self.max < u64::MAX {
            self.not |= NOT_ONES;
        }
        if self.low < u32::MAX {
            self.not |= LOW_NOT_ONES;
        }
        self
    }

    /// Its lower half, extended with zeros.
    fn low_half(self, fresh: Id) -> Self {
        if self.max <= LOW {
            return self;
        }
        let mut low = Self::at_most(fresh, self.low.into());
        low.arguments = self.arguments;
        low.zeros = self.zeros;
        if self.form == Form::Whole {
            low.id = self.id;
            low.form = Form::Low;
        }
        low.not = self.not & (LOW_NOT_ZERO | LOW_NOT_ONES);
        low.settled()
    }

    /// What holds of both, of which one it is.
    fn or(self, other: Self, fresh: Id) -> Self {
        let (mut a, b) = (self.settled(), other.settled());
        if (a.id, a.form) != (b.id, b.form) {
            (a.id, a.form) = (fresh, Form::Whole);
        }
        a.zeros = a.zeros.min(b.zeros);
        a.not &= b.not;
        a.arguments |= b.arguments;
        a.low = a.low.max(b.low);
        a.max = a.max.max(b.max);
        a
    }
}

/// What is known of a constant as if it were computed.
fn constant(id: Id, value: u64) -> Number {
    let mut number = Number::at_most(id, value);
    number.low = value as u32;
    number.zeros = value.trailing_zeros().min(63) as u8;
    for (bit, not) in [
        (NOT_ZERO, value != 0),
        (LOW_NOT_ZERO, value as u32 != 0),
        (NOT_ONES, value != u64::MAX),
        (LOW_NOT_ONES, value as u32 != u32::MAX),
    ] {
        number.not |= if not { bit } else { 0 };
    }
    number
}

impl Value {
    /// As a number; a constant's name is `fresh`. `None`: it is none.
    pub(crate) fn number(self, fresh: Id) -> Option<Number> {
        match self {
            Self::Const(value) => Some(constant(fresh, value)),
            Self::Number(number) => Some(number),
            _ => None,
        }
    }

    /// What it is at most, as 64 bits or 32.
    pub(crate) fn most(self, wide: bool) -> Option<u64> {
        match self {
            Self::Const(value) => Some(if wide { value } else { value & LOW }),
            Self::Number(number) if wide => Some(number.max),
            Self::Number(number) => Some(number.low.into()),
            _ => None,
        }
    }

    /// As a move of 32 bits leaves it.
    pub(crate) fn low_half(self, fresh: Id) -> Self {
        match self {
            Self::Const(value) => Self::Const(value & LOW),
            Self::Number(number) => Self::Number(number.low_half(fresh)),
            // A part of an address, or of what nobody knows.
            _ => Self::Undefined,
        }
    }

    /// What holds of both, of which one it is.
    pub(crate) fn or(self, other: Self, fresh: Id) -> Self {
        if self == other {
            return self;
        }
        match (self.number(fresh), other.number(fresh)) {
            (Some(a), Some(b)) => Self::Number(a.or(b, fresh)),
            _ => Self::Undefined,
        }
    }
}

/// The result of `op` on numbers: a constant, or one that is named `fresh`.
pub(crate) fn arithmetic(op: Alu, wide: bool, a: Value, b: Value, fresh: Id) -> Value {
    if let (Value::Const(a), Value::Const(b)) = (a, b) {
        return cut(Value::Const(folded(op, a, b)), wide);
    }
    if let Some(untagged) = untagged(op, wide, a, b) {
        return untagged;
    }
    let (Some(x), Some(y)) = (a.number(fresh), b.number(fresh)) else {
        return Value::Undefined;
    };
    let (Some(most_a), Some(most_b)) = (a.most(wide), b.most(wide)) else {
        return Value::Undefined;
    };
    let most = match op {
        Alu::And => Some(most_a.min(most_b)),
        Alu::Add => most_a.checked_add(most_b),
        Alu::Or | Alu::Xor => Some(all_ones(most_a | most_b)),
        Alu::Sub | Alu::Cmp => None,
    };
    let zeros = match op {
        Alu::And => x.zeros.max(y.zeros),
        _ => x.zeros.min(y.zeros),
    };
    numbered(fresh, wide, most, zeros)
}

fn folded(op: Alu, a: u64, b: u64) -> u64 {
    match op {
        Alu::Add => a.wrapping_add(b),
        Alu::Sub | Alu::Cmp => a.wrapping_sub(b),
        Alu::And => a & b,
        Alu::Or => a | b,
        Alu::Xor => a ^ b,
    }
}

/// A guest pointer whose tag is taken off.
fn untagged(op: Alu, wide: bool, a: Value, b: Value) -> Option<Value> {
    let (number, constant) = match (op, a, b) {
        (Alu::Add, Value::Number(number), Value::Const(constant))
        | (Alu::Add, Value::Const(constant), Value::Number(number)) => (number, constant),
        (Alu::Sub, Value::Number(number), Value::Const(constant)) => {
            (number, constant.wrapping_neg())
        }
        _ => return None,
    };
    // A lower half has no tag to take off: whatever follows if it had is true.
    let is_pointer = wide && constant == UNTAG && !matches!(number.form, Form::Untagged(_));
    is_pointer.then(|| {
        let mut untagged = Number::new(number.id);
        untagged.form = Form::Untagged(0);
        Value::Number(untagged)
    })
}

/// The least number of ones that is no less.
fn all_ones(value: u64) -> u64 {
    u64::MAX.checked_shr(value.leading_zeros()).unwrap_or(0)
}

/// A number named `fresh` that is at most `most`, unless that does not fit.
fn numbered(fresh: Id, wide: bool, most: Option<u64>, zeros: u8) -> Value {
    let top = if wide { u64::MAX } else { LOW };
    let most = most.filter(|most| *most <= top).unwrap_or(top);
    let mut number = Number::at_most(fresh, most);
    number.zeros = zeros.min(63);
    Value::Number(number)
}

/// A constant as wide as it is.
fn cut(value: Value, wide: bool) -> Value {
    match value {
        Value::Const(value) if !wide => Value::Const(value & LOW),
        other => other,
    }
}

/// The product.
pub(crate) fn product(wide: bool, a: Value, b: Value, fresh: Id) -> Value {
    if let (Value::Const(a), Value::Const(b)) = (a, b) {
        return cut(Value::Const(a.wrapping_mul(b)), wide);
    }
    let (Some(x), Some(y)) = (a.number(fresh), b.number(fresh)) else {
        return Value::Undefined;
    };
    let most = a.most(wide).zip(b.most(wide));
    let most = most.and_then(|(a, b)| a.checked_mul(b));
    numbered(fresh, wide, most, x.zeros.saturating_add(y.zeros))
}

/// `value` shifted by a number of bits that is known, and less than it is wide.
pub(crate) fn shifted(kind: Shift, wide: bool, value: Value, by: u8, fresh: Id) -> Value {
    if let (Value::Number(number), Shift::Ror, true) = (value, kind, wide)
        && number.form == Form::Untagged(0)
    {
        let mut rotated = Number::new(number.id);
        rotated.form = Form::Untagged(by);
        return Value::Number(rotated);
    }
    let by = u32::from(by);
    if let Value::Const(value) = value {
        return Value::Const(shifted_constant(kind, wide, value, by));
    }
    let (Some(number), Some(most)) = (value.number(fresh), value.most(wide)) else {
        return Value::Undefined;
    };
    let sign = if wide { 1 << 63 } else { 1 << 31 };
    match kind {
        Shift::Shl => {
            let most = 1u64.checked_shl(by).and_then(|by| most.checked_mul(by));
            numbered(fresh, wide, most, number.zeros.saturating_add(by as u8))
        }
        Shift::Shr => numbered(fresh, wide, most.checked_shr(by), 0),
        Shift::Sar if most < sign => numbered(fresh, wide, most.checked_shr(by), 0),
        _ => numbered(fresh, wide, None, 0),
    }
}

fn shifted_constant(kind: Shift, wide: bool, value: u64, by: u32) -> u64 {
    let low = value as u32;
    match (kind, wide) {
        (Shift::Rol, true) => value.rotate_left(by),
        (Shift::Rol, false) => low.rotate_left(by).into(),
        (Shift::Ror, true) => value.rotate_right(by),
        (Shift::Ror, false) => low.rotate_right(by).into(),
        (Shift::Shl, true) => value.wrapping_shl(by),
        (Shift::Shl, false) => low.wrapping_shl(by).into(),
        (Shift::Shr, true) => value.wrapping_shr(by),
        (Shift::Shr, false) => low.wrapping_shr(by).into(),
        (Shift::Sar, true) => (value as i64).wrapping_shr(by) as u64,
        (Shift::Sar, false) => ((low as i32).wrapping_shr(by) as u32).into(),
    }
}

/// `value` shifted by a number of bits that is not known.
pub(crate) fn shifted_somehow(kind: Shift, wide: bool, value: Value, fresh: Id) -> Value {
    match value.most(wide) {
        Some(most) => numbered(fresh, wide, Some(most).filter(|_| kind == Shift::Shr), 0),
        None => Value::Undefined,
    }
}

impl Number {
    /// Whether it is not zero, and not minus one: as 64 bits or 32.
    pub(crate) const fn excludes(self, wide: bool) -> (bool, bool) {
        let not = self.settled().not;
        match wide {
            true => (not & NOT_ZERO != 0, not & NOT_ONES != 0),
            false => (not & LOW_NOT_ZERO != 0, not & LOW_NOT_ONES != 0),
        }
    }
}
