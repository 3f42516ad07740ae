//! What is known at a place of a function: its registers, its frame, its budget.

use alloc::vec::Vec;

use crate::insn::{A, AE, B, BE, Cc, E, NE, REGISTERS, RSP, Reg};
use crate::refusal::{NO_MEMORY, Proof, Rule};
use crate::value::{Form, Id, LOW, LOW_NOT_ONES, LOW_NOT_ZERO, NOT_ONES, NOT_ZERO, Number, Value};

/// Bytes of the stack that a function may take: its frame, and what it saves around a call.
pub const MOST_STACK: i32 = abi::native::FRAME as i32 + 128;

/// Bytes of a slot.
const SLOT: i32 = 8;

/// What the flags tell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Flags {
    /// What somebody left there.
    Undefined,
    /// Something about numbers.
    Some,
    /// `cmp a, b` on numbers.
    Compared { a: Value, b: Value, wide: bool },
    /// `cmp rsp, limit`, where rsp was so far from the entry's.
    Limit(i32),
    /// Equal: a scan found nothing, and this register is as it was.
    Scanned(Reg),
    /// Whether there was as much left as was taken off.
    Paid(i64),
}

#[derive(Debug, PartialEq)]
pub(crate) struct State {
    /// Registers, then the slots of the stack from the entry's stack pointer down.
    cells: Vec<Value>,
    pub(crate) flags: Flags,
    /// [`abi::native::Vm::fuel`] is what is left of the budget.
    pub(crate) stored: bool,
    /// rdx is rax's sign, as 64 bits or 32.
    pub(crate) sign: Option<bool>,
    /// From here up, the stack pointer is not below its limit.
    pub(crate) limited: Option<i32>,
    /// How many instructions are paid for.
    pub(crate) credit: i64,
}

impl State {
    /// At a function's entry, with these in its registers; the stack pointer is none of them.
    pub(crate) fn entry(registers: [Value; REGISTERS], credit: i64) -> Proof<Self> {
        let mut cells = Vec::new();
        cells.try_reserve(2 * REGISTERS).map_err(|_| NO_MEMORY)?;
        cells.extend_from_slice(&registers);
        Ok(Self {
            cells,
            flags: Flags::Undefined,
            stored: true,
            sign: None,
            limited: None,
            credit,
        })
    }

    pub(crate) fn copy(&self) -> Proof<Self> {
        let mut cells = Vec::new();
        cells
            .try_reserve_exact(self.cells.len())
            .map_err(|_| NO_MEMORY)?;
        cells.extend_from_slice(&self.cells);
        Ok(Self { cells, ..*self })
    }

    /// Registers and slots.
    pub(crate) fn cells(&self) -> &[Value] {
        &self.cells
    }

    pub(crate) fn cells_mut(&mut self) -> &mut [Value] {
        &mut self.cells
    }

    /// The stack pointer, counted from the entry's.
    pub(crate) fn sp(&self) -> i32 {
        -SLOT * (self.cells.len().saturating_sub(REGISTERS) as i32)
    }

    /// Moves the stack pointer. What was below it is forgotten, what comes below it is undefined.
    pub(crate) fn set_sp(&mut self, sp: i32) -> Proof<()> {
        let is_sound = (-MOST_STACK..=0).contains(&sp) && sp % SLOT == 0;
        Rule::Stack.demand(is_sound, "the stack pointer leaves the frame")?;
        let length = REGISTERS + (-sp / SLOT) as usize;
        let more = length.saturating_sub(self.cells.len());
        self.cells.try_reserve(more).map_err(|_| NO_MEMORY)?;
        self.cells.resize(length, Value::Undefined);
        Ok(())
    }

    pub(crate) fn register(&self, register: Reg) -> Value {
        match register {
            RSP => Value::Frame(self.sp()),
            _ => self.cell(register.into()),
        }
    }

    /// What is in a register or slot; `Undefined` if there is none.
    pub(crate) fn cell(&self, cell: usize) -> Value {
        self.cells.get(cell).copied().unwrap_or(Value::Undefined)
    }

    pub(crate) fn set_cell(&mut self, cell: usize, value: Value) {
        if let Some(place) = self.cells.get_mut(cell) {
            *place = value;
        }
    }

    /// The cell of the slot that `size` bytes at `at` of the stack lie in, and how far inside.
    pub(crate) fn slot(&self, at: i32, size: i32) -> Proof<(usize, i32)> {
        let end = at.saturating_add(size);
        let is_inside = self.sp() <= at && end <= 0;
        Rule::Access.demand(is_inside, "an access to the stack outside of the frame")?;
        let inside = at.rem_euclid(SLOT);
        let is_one = inside.saturating_add(size) <= SLOT;
        Rule::Access.demand(is_one, "an access to two slots of the frame")?;
        let below = (-at).saturating_add(SLOT - 1) / SLOT;
        Ok((REGISTERS + below as usize - 1, inside))
    }

    /// Each cell that holds `from` holds `to`.
    pub(crate) fn replace(&mut self, from: Value, to: Value) {
        for cell in &mut self.cells {
            if *cell == from {
                *cell = to;
            }
        }
    }

    /// What is known where `condition` holds; whether it may.
    pub(crate) fn assume(&mut self, condition: Cc, rate: i64) -> bool {
        match self.flags {
            Flags::Compared { a, b, wide } => self.compared(condition, a, b, wide),
            Flags::Limit(sp) => {
                if condition == AE {
                    self.limited = Some(sp);
                }
                true
            }
            Flags::Paid(units) => {
                self.paid(condition == AE, units.saturating_mul(rate));
                true
            }
            Flags::Some | Flags::Scanned(_) | Flags::Undefined => true,
        }
    }

    fn paid(&mut self, is_paid: bool, credit: i64) {
        if is_paid {
            self.replace(Value::Paying, Value::Fuel);
            self.credit = self.credit.saturating_add(credit);
        } else {
            self.replace(Value::Paying, Value::Undefined);
        }
        // Once.
        self.flags = Flags::Some;
    }

    fn compared(&mut self, condition: Cc, a: Value, b: Value, wide: bool) -> bool {
        if let (Value::Const(x), Value::Const(y)) = (a, b) {
            let cut = |value: u64| if wide { value } else { value & LOW };
            return holds(condition, cut(x), cut(y));
        }
        let (Some(most_a), Some(most_b)) = (a.most(wide), b.most(wide)) else {
            return true;
        };
        match condition {
            B => self.bound(a, most_b.saturating_sub(1), wide),
            BE => self.bound(a, most_b, wide),
            A => self.bound(b, most_a.saturating_sub(1), wide),
            AE => self.bound(b, most_a, wide),
            E => {
                self.bound(a, most_b, wide);
                self.bound(b, most_a, wide);
            }
            NE => {
                if let Value::Const(not) = b {
                    self.differs(a, not, wide);
                }
            }
            _ => {}
        }
        true
    }

    /// `value` is at most `most`.
    fn bound(&mut self, value: Value, most: u64, wide: bool) {
        let Value::Number(value) = value else { return };
        let is_low = !wide || value.form == Form::Low;
        for cell in &mut self.cells {
            let Value::Number(number) = cell else {
                continue;
            };
            if number.id != value.id {
                continue;
            }
            match value.form {
                Form::Whole | Form::Low => bounded(number, most, is_low),
                Form::Untagged(by) if wide => untagged(number, most, by),
                Form::Untagged(_) => {}
            }
            *number = number.settled();
        }
    }

    /// `value` is not `not`.
    fn differs(&mut self, value: Value, not: u64, wide: bool) {
        let Value::Number(value) = value else { return };
        if matches!(value.form, Form::Untagged(_)) {
            return;
        }
        let is_low = !wide || value.form == Form::Low;
        let not = if wide { not } else { not & LOW };
        let bit = match (not, is_low) {
            (0, false) => NOT_ZERO,
            (0, true) => LOW_NOT_ZERO,
            (u64::MAX, false) => NOT_ONES,
            (LOW, true) => LOW_NOT_ONES,
            _ => return,
        };
        for cell in &mut self.cells {
            let Value::Number(number) = cell else {
                continue;
            };
            // That all of it is not says nothing of its lower half.
            let is_about = match number.form {
                Form::Whole => true,
                Form::Low => is_low,
                Form::Untagged(_) => false,
            };
            if number.id == value.id && is_about {
                number.not |= bit;
                *number = number.settled();
            }
        }
    }
}

/// Whether `condition` may hold of two numbers that are known.
const fn holds(condition: Cc, a: u64, b: u64) -> bool {
    match condition {
        B => a < b,
        AE => a >= b,
        BE => a <= b,
        A => a > b,
        E => a == b,
        NE => a != b,
        _ => true,
    }
}

/// What a bound of a number, or of its lower half, says of what is made of it.
fn bounded(number: &mut Number, most: u64, is_low: bool) {
    match number.form {
        Form::Untagged(_) => return,
        Form::Whole if !is_low => number.max = number.max.min(most),
        Form::Whole | Form::Low => {}
    }
    if let Ok(most) = u32::try_from(most) {
        number.low = number.low.min(most);
    }
}

/// What a bound of a guest pointer without its tag, rotated by `by`, says of the pointer: it is that of an offset, and
/// aligned.
fn untagged(number: &mut Number, most: u64, by: u8) {
    let offset = most.checked_mul(1u64.checked_shl(by.into()).unwrap_or(u64::MAX));
    let Some(offset) = offset.and_then(|offset| u32::try_from(offset).ok()) else {
        return;
    };
    match number.form {
        Form::Untagged(_) => {}
        Form::Whole | Form::Low => {
            number.low = number.low.min(offset);
            number.zeros = number.zeros.max(by);
        }
    }
}

/// A number of which only this is known, in place of `value`.
pub(crate) fn forgotten(value: Value, most: u64, id: Id) -> Value {
    match value.number(id) {
        Some(number) => {
            let mut forgotten = Number::at_most(id, most);
            forgotten.arguments = number.arguments;
            Value::Number(forgotten)
        }
        None => Value::Undefined,
    }
}
