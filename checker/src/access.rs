//! What an access touches, and what comes of it.

use core::mem::offset_of;

use abi::layout::{CONTEXT_SIZE, KEYS_SIZE, STACK_SIZE};
use abi::native::Vm;

use crate::insn::{Mem, Reg};
use crate::refusal::{Proof, Rule};
use crate::state::{State, forgotten};
use crate::value::{Id, Number, Value};

/// Of the CPU's area, counted from its stack: the context lies below it.
const AREA_BEGIN: i64 = -(CONTEXT_SIZE as i64);
const AREA_END: i64 = (STACK_SIZE + KEYS_SIZE) as i64;

/// What an access touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A slot of the frame, from a byte of it on.
    Slot { cell: usize, inside: i32 },
    /// A field of the [`Vm`], by its offset.
    Field(usize),
    /// Guest memory, the CPU's area in it maybe.
    Guest,
}

/// Where an address may lie: from its base on, and at multiples of so much.
struct Span {
    first: i64,
    last: i64,
    zeros: u32,
}

impl State {
    /// What `size` bytes at `mem` are, for code that has `memory` bytes; marks what arguments it reads.
    pub(crate) fn place(&self, mem: Mem, size: u8, memory: u64, read: &mut u8) -> Proof<Place> {
        let base = self.register(mem.base);
        match (base, mem.index) {
            (Value::Frame(at), None) => {
                let at = at.saturating_add(mem.disp);
                let (cell, inside) = self.slot(at, size.into())?;
                Ok(Place::Slot { cell, inside })
            }
            (Value::Vm, None) => field(mem.disp),
            (Value::Memory, index) => {
                let span = self.span(index, mem.disp, read)?;
                inside(&span, size, 0, memory as i64)
            }
            (Value::Area, index) => {
                let span = self.span(index, mem.disp, read)?;
                inside(&span, size, AREA_BEGIN, AREA_END)
            }
            (Value::Number(_), Some((index, 0))) if self.register(index) == Value::Memory => {
                let span = self.span(Some((mem.base, 0)), mem.disp, read)?;
                inside(&span, size, 0, memory as i64)
            }
            _ => Rule::Access.refuse("an access through what is no known address"),
        }
    }

    /// As [`Self::place`], for an access that locks: across a cache line's end that would be a fault.
    pub(crate) fn aligned(&self, mem: Mem, size: u8, memory: u64, read: &mut u8) -> Proof<Place> {
        let place = self.place(mem, size, memory, read)?;
        let index = match (self.register(mem.base), mem.index) {
            (Value::Memory | Value::Area, index) => index,
            (Value::Number(_), Some(_)) => Some((mem.base, 0)),
            _ => return Rule::Access.refuse("an atomic access outside of guest memory"),
        };
        let span = self.span(index, mem.disp, read)?;
        let is_aligned = span.zeros >= u32::from(size).trailing_zeros();
        Rule::Access.demand(is_aligned, "an atomic access that may not be aligned")?;
        Ok(place)
    }

    fn span(&self, index: Option<(Reg, u8)>, disp: i32, read: &mut u8) -> Proof<Span> {
        let mut span = Span {
            first: disp.into(),
            last: disp.into(),
            zeros: disp.trailing_zeros(),
        };
        let Some((register, shift)) = index else {
            return Ok(span);
        };
        let value = self.register(register);
        let (Some(number), Some(most)) = (value.number(0), value.most(true)) else {
            return Rule::Secret.refuse("an index that nobody computed");
        };
        *read |= number.arguments;
        let is_bounded = most <= u32::MAX.into();
        Rule::Access.demand(is_bounded, "an index without a bound")?;
        span.last += (most as i64) << shift;
        span.zeros = span.zeros.min(u32::from(number.zeros) + u32::from(shift));
        Ok(span)
    }
}

fn inside(span: &Span, size: u8, begin: i64, end: i64) -> Proof<Place> {
    let is_inside = begin <= span.first && span.last + i64::from(size) <= end;
    Rule::Access.demand(is_inside, "an access that may be outside of guest memory")?;
    Ok(Place::Guest)
}

fn field(disp: i32) -> Proof<Place> {
    match usize::try_from(disp) {
        Ok(offset) => Ok(Place::Field(offset)),
        Err(_) => Rule::Access.refuse("an access below the vm"),
    }
}

/// What is in so many bytes, at most.
pub(crate) const fn top(size: u8) -> u64 {
    match size {
        1 => u8::MAX as u64,
        2 => u16::MAX as u64,
        4 => u32::MAX as u64,
        _ => u64::MAX,
    }
}

/// What `size` bytes at `place` hold, extended with zeros.
pub(crate) fn load(state: &State, place: Place, size: u8, fresh: Id) -> Proof<Value> {
    match place {
        Place::Guest => Ok(Value::Number(Number::at_most(fresh, top(size)))),
        Place::Slot { cell, inside } => Ok(part(state.cell(cell), inside, size, fresh)),
        Place::Field(offset) => load_field(state, offset, size, fresh),
    }
}

/// `size` bytes of `value` from byte `inside` on.
pub(crate) fn part(value: Value, inside: i32, size: u8, fresh: Id) -> Value {
    match (inside, size, value) {
        (0, 8, value) => value,
        (0, 4, value) => value.low_half(fresh),
        (0, 1, Value::Byte) => Value::Number(Number::at_most(fresh, 1)),
        (0, _, Value::Number(number)) => forgotten(value, top(size).min(number.low.into()), fresh),
        _ => forgotten(value, top(size), fresh),
    }
}

fn load_field(state: &State, offset: usize, size: u8, fresh: Id) -> Proof<Value> {
    const MEMORY: usize = offset_of!(Vm, memory);
    const STACK: usize = offset_of!(Vm, stack);
    const STACK_BASE: usize = offset_of!(Vm, stack_base);
    const CPU: usize = offset_of!(Vm, cpu);
    const FUEL: usize = offset_of!(Vm, fuel);
    const LIMIT: usize = offset_of!(Vm, stack_limit);
    match (offset, size) {
        (MEMORY, 8) => Ok(Value::Memory),
        (STACK, 8) => Ok(Value::Area),
        (LIMIT, 8) => Ok(Value::Limit),
        // Both are numbers of 32 bits.
        (STACK_BASE | CPU, 4 | 8) => {
            let most = Number::at_most(fresh, u32::MAX.into());
            Ok(Value::Number(most))
        }
        (FUEL, 8) => {
            Rule::Budget.demand(state.stored, "a budget is read that is not what is left")?;
            Ok(Value::Fuel)
        }
        _ => Rule::Access.refuse("a read of the vm where it has no such field"),
    }
}

/// Puts the lowest `size` bytes of `value` to `place`; marks what arguments get out.
pub(crate) fn store(
    state: &mut State,
    place: Place,
    size: u8,
    value: Value,
    fresh: Id,
    read: &mut u8,
) -> Proof<()> {
    match place {
        Place::Guest => {
            let number = match value {
                Value::Byte if size == 1 => return Ok(()),
                value => value.number(fresh),
            };
            let Some(number) = number else {
                return Rule::Secret.refuse("a store of what the guest must not see");
            };
            *read |= number.arguments;
        }
        Place::Slot { cell, inside } => {
            let stored = match (inside, size) {
                (0, 8) => value,
                _ => mixed(state.cell(cell), value, fresh, read),
            };
            state.set_cell(cell, stored);
        }
        Place::Field(offset) => {
            let is_fuel = offset == offset_of!(Vm, fuel) && size == 8;
            Rule::Access.demand(is_fuel, "a write to the vm")?;
            let is_left = value == Value::Fuel;
            Rule::Budget.demand(is_left, "a budget is written that is not what is left")?;
            state.stored = true;
        }
    }
    Ok(())
}

/// A slot a part of which is written over.
fn mixed(old: Value, new: Value, fresh: Id, read: &mut u8) -> Value {
    match (old.number(fresh), new.number(fresh)) {
        (Some(old), Some(new)) => {
            *read |= old.arguments | new.arguments;
            Value::Number(Number::new(fresh))
        }
        _ => Value::Undefined,
    }
}
