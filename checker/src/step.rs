//! What one instruction does to what is known.

use crate::access::{self, Place, part, top};
use crate::insn::{
    Alu, Cc, Count, E, Mem, Op, RAX, RBP, RCX, RDX, RSP, Reg, Rm, Shift, Source, Swap,
};
use crate::refusal::{Proof, Rule};
use crate::state::{Flags, State};
use crate::value::{Id, LOW, Number, Value, arithmetic, product, shifted, shifted_somehow};

/// Bytes of an operand.
const fn size(wide: bool) -> u8 {
    if wide { 8 } else { 4 }
}

/// A walk through a function.
pub(crate) struct Walk {
    pub(crate) state: State,
    /// Bytes of guest memory.
    pub(crate) memory: u64,
    /// The last number's name.
    pub(crate) id: Id,
    /// Arguments that are read, a bit each.
    pub(crate) read: u8,
    /// The function that it is a walk through, by its number.
    pub(crate) function: u32,
    /// Functions of the text, or helpers, call it.
    pub(crate) is_called: bool,
}

const UNDEFINED: &str = "a value that nobody computed, or an address, is used";

impl Walk {
    pub(crate) fn fresh(&mut self) -> Id {
        self.id = self.id.wrapping_add(1);
        self.id
    }

    pub(crate) fn number(&mut self, most: u64) -> Value {
        Value::Number(Number::at_most(self.fresh(), most))
    }

    /// The value of a register, to compute with.
    pub(crate) fn used(&mut self, value: Value) -> Proof<Value> {
        match value {
            Value::Const(_) => Ok(value),
            Value::Number(number) => {
                self.read |= number.arguments;
                Ok(value)
            }
            _ => Rule::Secret.refuse(UNDEFINED),
        }
    }

    pub(crate) fn set(&mut self, to: Reg, value: Value) -> Proof<()> {
        if to == RAX || to == RDX {
            self.state.sign = None;
        }
        if self.state.flags == Flags::Scanned(to) {
            self.state.flags = Flags::Some;
        }
        match (to, value) {
            (RSP, Value::Frame(at)) => self.state.set_sp(at),
            (RSP, _) => Rule::Stack.refuse("the stack pointer becomes something else"),
            _ => {
                self.state.set_cell(to.into(), value);
                Ok(())
            }
        }
    }

    fn place(&mut self, mem: Mem, size: u8) -> Proof<Place> {
        self.state.place(mem, size, self.memory, &mut self.read)
    }

    fn load(&mut self, mem: Mem, size: u8) -> Proof<Value> {
        let place = self.place(mem, size)?;
        let fresh = self.fresh();
        access::load(&self.state, place, size, fresh)
    }

    fn store(&mut self, mem: Mem, size: u8, value: Value) -> Proof<()> {
        let place = self.place(mem, size)?;
        let fresh = self.fresh();
        access::store(&mut self.state, place, size, value, fresh, &mut self.read)
    }

    /// `size` bytes of an operand, extended with zeros.
    fn read(&mut self, from: Rm, size: u8) -> Proof<Value> {
        match from {
            Rm::Mem(mem) => self.load(mem, size),
            Rm::Reg(register) => {
                let fresh = self.fresh();
                Ok(part(self.state.register(register), 0, size, fresh))
            }
        }
    }

    fn source(&mut self, from: Source, wide: bool) -> Proof<Value> {
        match from {
            Source::Rm(rm) => self.read(rm, size(wide)),
            Source::Imm(value) if wide => Ok(Value::Const(value)),
            Source::Imm(value) => Ok(Value::Const(value & LOW)),
        }
    }

    /// Does what `op` does, but going elsewhere.
    pub(crate) fn step(&mut self, op: Op) -> Proof<()> {
        match op {
            Op::Nop => Ok(()),
            Op::Push(from) => self.push(from),
            Op::Pop(to) => self.pop(to),
            Op::Leave => {
                let frame = self.state.register(RBP);
                self.set(RSP, frame)?;
                self.pop(RBP)
            }
            Op::Load {
                to,
                from,
                size,
                signed,
                wide,
            } => self.load_to(to, from, size, signed, wide),
            Op::Store { to, from, size } => {
                let value = self.state.register(from);
                match to {
                    Rm::Mem(mem) => self.store(mem, size, value),
                    Rm::Reg(to) => {
                        let fresh = self.fresh();
                        self.set(to, part(value, 0, size, fresh))
                    }
                }
            }
            Op::StoreImm { to, value, size } => self.store(to, size, Value::Const(value)),
            Op::Imm { to, value } => self.set(to, Value::Const(value)),
            Op::Lea { to, from, wide } => self.lea(to, from, wide),
            Op::Alu {
                op,
                to,
                from,
                wide,
                locked,
            } => self.alu(op, to, from, wide, locked),
            Op::Test { a, b, wide } => self.test(a, b, wide),
            Op::Set { to } => {
                self.flags()?;
                self.set(to, Value::Byte)
            }
            Op::Cmov {
                condition,
                to,
                from,
                wide,
            } => self.cmov(condition, to, from, wide),
            Op::Scan { to, from, wide } => self.scan(to, from, wide),
            Op::Mul { to, a, b, wide } => self.mul(to, a, b, wide),
            Op::Shift { kind, to, by, wide } => self.shift(kind, to, by, wide),
            Op::Unary { to, negate, wide } => self.unary(to, negate, wide),
            Op::Bswap { to, wide } => {
                let value = self.read(Rm::Reg(to), size(wide))?;
                self.used(value)?;
                let swapped = self.number(top(size(wide)));
                self.set(to, swapped)
            }
            Op::Sign { wide } => {
                let value = self.read(Rm::Reg(RAX), size(wide))?;
                self.used(value)?;
                let sign = self.number(top(size(wide)));
                self.set(RDX, sign)?;
                self.state.sign = Some(wide);
                Ok(())
            }
            Op::Div { by, signed, wide } => self.div(by, signed, wide),
            Op::Swap {
                kind,
                at,
                with,
                wide,
            } => self.swap(kind, at, with, wide),
            Op::Undefined => Rule::Decode.refuse("ud2 where control may come"),
            Op::Go { .. } => Ok(()),
        }
    }

    /// The flags, to act by.
    pub(crate) fn flags(&mut self) -> Proof<()> {
        let are_defined = self.state.flags != Flags::Undefined;
        Rule::Secret.demand(are_defined, "flags that nobody set are used")
    }

    fn push(&mut self, from: Reg) -> Proof<()> {
        let value = self.state.register(from);
        self.state.set_sp(self.state.sp() - 8)?;
        let (cell, _) = self.state.slot(self.state.sp(), 8)?;
        self.state.set_cell(cell, value);
        Ok(())
    }

    fn pop(&mut self, to: Reg) -> Proof<()> {
        let (cell, _) = self.state.slot(self.state.sp(), 8)?;
        let value = self.state.cell(cell);
        self.state.set_sp(self.state.sp() + 8)?;
        self.set(to, value)
    }

    fn load_to(&mut self, to: Reg, from: Rm, bytes: u8, signed: bool, wide: bool) -> Proof<()> {
        let value = self.read(from, bytes)?;
        if !signed {
            return self.set(to, value);
        }
        self.used(value)?;
        let sign = 1u64 << (8 * u32::from(bytes) - 1);
        let most = value.most(true).filter(|most| *most < sign);
        let extended = self.number(most.unwrap_or(top(size(wide))));
        self.set(to, extended)
    }

    fn lea(&mut self, to: Reg, from: Mem, wide: bool) -> Proof<()> {
        let base = self.state.register(from.base);
        if let (Value::Frame(at), None, true) = (base, from.index, wide) {
            return self.set(to, Value::Frame(at.saturating_add(from.disp)));
        }
        let base = self.used(base)?;
        let disp = Value::Const(i64::from(from.disp) as u64);
        let mut sum = base;
        if let Some((index, shift)) = from.index {
            let index = self.used(self.state.register(index))?;
            let fresh = self.fresh();
            let index = match shift {
                0 => index,
                _ => shifted(Shift::Shl, true, index, shift, fresh),
            };
            let fresh = self.fresh();
            sum = arithmetic(Alu::Add, true, sum, index, fresh);
        }
        if from.disp != 0 {
            let fresh = self.fresh();
            sum = arithmetic(Alu::Add, true, sum, disp, fresh);
        }
        let fresh = self.fresh();
        self.set(to, if wide { sum } else { sum.low_half(fresh) })
    }

    fn alu(&mut self, op: Alu, to: Rm, from: Source, wide: bool, locked: bool) -> Proof<()> {
        match to {
            Rm::Reg(RSP) => self.stack_pointer(op, from, wide),
            Rm::Mem(mem) => self.alu_in_memory(op, mem, from, wide, locked),
            Rm::Reg(to) => {
                let is_nothing = matches!(op, Alu::Xor | Alu::Sub);
                if is_nothing && from == Source::Rm(Rm::Reg(to)) {
                    self.state.flags = Flags::Some;
                    return self.set(to, Value::Const(0));
                }
                let a = self.state.register(to);
                let b = self.source(from, wide)?;
                if a == Value::Fuel {
                    return self.pay(op, to, b, wide);
                }
                let fresh = self.fresh();
                let a = if wide { a } else { a.low_half(fresh) };
                let result = self.computed(op, wide, a, b)?;
                match op {
                    Alu::Cmp => Ok(()),
                    _ => self.set(to, result),
                }
            }
        }
    }

    /// The result of `op`; sets flags.
    fn computed(&mut self, op: Alu, wide: bool, a: Value, b: Value) -> Proof<Value> {
        let (a, b) = (self.used(a)?, self.used(b)?);
        self.state.flags = match op {
            Alu::Cmp => Flags::Compared { a, b, wide },
            _ => Flags::Some,
        };
        let fresh = self.fresh();
        Ok(arithmetic(op, wide, a, b, fresh))
    }

    /// Takes a number off what is left of the budget; the next branch has to look whether that was there.
    fn pay(&mut self, op: Alu, to: Reg, units: Value, wide: bool) -> Proof<()> {
        let Value::Const(units @ 1..=0x7fff_ffff) = units else {
            return Rule::Budget.refuse("something else than a number is taken off the budget");
        };
        let is_payment = op == Alu::Sub && wide;
        Rule::Budget.demand(is_payment, "the budget is computed with")?;
        self.state.replace(Value::Fuel, Value::Undefined);
        self.state.stored = false;
        self.state.flags = Flags::Paid(units as i64);
        self.set(to, Value::Paying)
    }

    fn stack_pointer(&mut self, op: Alu, from: Source, wide: bool) -> Proof<()> {
        Rule::Stack.demand(wide, "half of the stack pointer is computed with")?;
        let from = self.source(from, true)?;
        let sp = self.state.sp();
        self.state.flags = match (op, from) {
            (Alu::Cmp, Value::Limit) => {
                self.state.flags = Flags::Limit(sp);
                return Ok(());
            }
            (Alu::Add | Alu::Sub, Value::Const(by)) => {
                let by = i32::try_from(by as i64).unwrap_or(i32::MAX);
                let by = if op == Alu::Sub {
                    by.saturating_neg()
                } else {
                    by
                };
                self.state.set_sp(sp.saturating_add(by))?;
                Flags::Undefined
            }
            _ => return Rule::Stack.refuse("the stack pointer is computed with"),
        };
        Ok(())
    }

    fn alu_in_memory(
        &mut self,
        op: Alu,
        mem: Mem,
        from: Source,
        wide: bool,
        locked: bool,
    ) -> Proof<()> {
        let b = self.source(from, wide)?;
        let bytes = size(wide);
        let place = match locked {
            true => self
                .state
                .aligned(mem, bytes, self.memory, &mut self.read)?,
            false => self.place(mem, bytes)?,
        };
        let fresh = self.fresh();
        let a = access::load(&self.state, place, bytes, fresh)?;
        let result = self.computed(op, wide, a, b)?;
        if op == Alu::Cmp {
            return Ok(());
        }
        let fresh = self.fresh();
        access::store(&mut self.state, place, bytes, result, fresh, &mut self.read)
    }

    fn test(&mut self, a: Reg, b: Source, wide: bool) -> Proof<()> {
        let is_itself = b == Source::Rm(Rm::Reg(a));
        let a = self.read(Rm::Reg(a), size(wide))?;
        let b = self.source(b, wide)?;
        let (a, _) = (self.used(a)?, self.used(b)?);
        self.state.flags = match is_itself {
            // The same as comparing it with zero.
            true => Flags::Compared {
                a,
                b: Value::Const(0),
                wide,
            },
            false => Flags::Some,
        };
        Ok(())
    }

    fn scan(&mut self, to: Reg, from: Reg, wide: bool) -> Proof<()> {
        let value = self.read(Rm::Reg(from), size(wide))?;
        self.used(value)?;
        let found = self.number(if wide { 63 } else { 31 });
        let old = self.state.register(to);
        let fresh = self.fresh();
        self.set(to, old.or(found, fresh))?;
        self.state.flags = Flags::Scanned(to);
        Ok(())
    }

    fn cmov(&mut self, condition: Cc, to: Reg, from: Rm, wide: bool) -> Proof<()> {
        self.flags()?;
        let a = match (self.state.flags, condition) {
            // What it was before the scan is written over.
            (Flags::Scanned(scanned), E) if scanned == to => {
                self.number(if wide { 63 } else { 31 })
            }
            _ => self.read(Rm::Reg(to), size(wide))?,
        };
        let b = self.read(from, size(wide))?;
        let fresh = self.fresh();
        self.set(to, a.or(b, fresh))
    }

    fn mul(&mut self, to: Reg, a: Rm, b: Source, wide: bool) -> Proof<()> {
        let a = self.read(a, size(wide))?;
        let b = self.source(b, wide)?;
        let (a, b) = (self.used(a)?, self.used(b)?);
        self.state.flags = Flags::Some;
        let fresh = self.fresh();
        self.set(to, product(wide, a, b, fresh))
    }

    fn shift(&mut self, kind: Shift, to: Reg, by: Count, wide: bool) -> Proof<()> {
        let value = self.read(Rm::Reg(to), size(wide))?;
        let value = self.used(value)?;
        let fresh = self.fresh();
        let result = match by {
            Count::Imm(0) => value,
            Count::Imm(by) => shifted(kind, wide, value, by, fresh),
            Count::Cl => {
                self.used(self.state.register(RCX))?;
                shifted_somehow(kind, wide, value, fresh)
            }
        };
        // Not all of them, and none if it is by nothing.
        self.state.flags = Flags::Undefined;
        self.set(to, result)
    }

    fn unary(&mut self, to: Reg, negate: bool, wide: bool) -> Proof<()> {
        let value = self.read(Rm::Reg(to), size(wide))?;
        self.used(value)?;
        if negate {
            self.state.flags = Flags::Some;
        }
        let result = self.number(top(size(wide)));
        self.set(to, result)
    }

    fn div(&mut self, by: Reg, signed: bool, wide: bool) -> Proof<()> {
        let value = self.read(Rm::Reg(by), size(wide))?;
        let dividend = self.read(Rm::Reg(RAX), size(wide))?;
        let (value, _) = (self.used(value)?, self.used(dividend)?);
        let fresh = self.fresh();
        let number = value.number(fresh);
        let (not_zero, not_ones) = number.map_or((false, false), |number| number.excludes(wide));
        Rule::Division.demand(not_zero, "a division that may be by zero")?;
        let is_extended = match signed {
            true => not_ones && self.state.sign == Some(wide),
            false => self.state.register(RDX) == Value::Const(0),
        };
        Rule::Division.demand(is_extended, "a division that may overflow")?;
        self.state.flags = Flags::Undefined;
        for register in [RAX, RDX] {
            let part = self.number(top(size(wide)));
            self.set(register, part)?;
        }
        Ok(())
    }

    fn swap(&mut self, kind: Swap, at: Mem, with: Reg, wide: bool) -> Proof<()> {
        let bytes = size(wide);
        self.state.aligned(at, bytes, self.memory, &mut self.read)?;
        let value = self.read(Rm::Reg(with), bytes)?;
        self.used(value)?;
        let old = match kind {
            Swap::Compare => {
                let expected = self.read(Rm::Reg(RAX), bytes)?;
                self.used(expected)?;
                RAX
            }
            Swap::Add | Swap::Exchange => with,
        };
        if kind != Swap::Exchange {
            self.state.flags = Flags::Some;
        }
        // A comparison that succeeds may leave rax's upper half as it was.
        let whole = self.state.register(old).most(true).unwrap_or(u64::MAX);
        let most = match kind {
            Swap::Compare if !wide && whole > LOW => u64::MAX,
            _ => top(bytes),
        };
        let result = self.number(most);
        self.set(old, result)
    }

    /// Where control goes if `condition` holds; `None` if it cannot.
    pub(crate) fn taken(&self, condition: Cc, rate: i64) -> Proof<Option<State>> {
        let mut state = self.state.copy()?;
        Ok(state.assume(condition, rate).then_some(state))
    }
}
