//! Arithmetic and conversions.

use abi::layout;

use super::machine::{Alu, Flag, Mem, One, Turn};
use super::value::{Source, Value};
use super::{Emitter, SCRATCH};
use crate::Made;
use crate::operator::{Binary, Condition, Shift, Unary, Wide, bits, cut, top};
use crate::registers::Reg;

fn alu(binary: Binary) -> Option<Alu> {
    Some(match binary {
        Binary::Add => Alu::Add,
        Binary::Sub => Alu::Sub,
        Binary::And => Alu::And,
        Binary::Or => Alu::Or,
        Binary::Xor => Alu::Xor,
        _ => return None,
    })
}

/// What `binary` of two numbers is never above.
fn most(binary: Binary, wide: Wide, a: &Value, b: &Value) -> u64 {
    let most = match binary {
        Binary::And => Some(a.most.min(b.most)),
        Binary::Add => a.most.checked_add(b.most),
        Binary::Mul => a.most.checked_mul(b.most),
        Binary::Or | Binary::Xor => {
            // All bits up to the highest.
            Some(
                u64::MAX
                    .checked_shr((a.most | b.most).leading_zeros())
                    .unwrap_or(0),
            )
        }
        _ => None,
    };
    // What does not fit has wrapped.
    most.filter(|most| *most <= top(wide)).unwrap_or(top(wide))
}

impl Emitter<'_, '_, '_> {
    pub(super) fn binary(&mut self, wide: Wide, binary: Binary) -> Made<()> {
        let (mut b, mut a) = (self.pop()?, self.pop()?);
        if let (Some(x), Some(y)) = (a.known(), b.known())
            && let Some(result) = binary.of(wide, x, y)
        {
            return self.push(Value::constant(wide, result));
        }
        if binary.commutes() && a.known().is_some() {
            core::mem::swap(&mut a, &mut b);
        }
        if let Some(number) = b.known()
            && let Some(result) = lazy(wide, binary, &a, number)
        {
            return self.push(result);
        }
        match (binary, b.known()) {
            (Binary::Mul, Some(number)) if number.is_power_of_two() => {
                let by = Value::constant(wide, number.trailing_zeros().into());
                self.shift(wide, Shift::Left, a, by)
            }
            (Binary::Mul, _) => self.multiply(wide, a, b),
            (Binary::Shift(shift), _) => self.shift(wide, shift, a, b),
            (Binary::Divide { signed, rest }, _) => self.divide(wide, signed, rest, a, b),
            (Binary::And, Some(0xffff_ffff)) if wide && a.add == 0 => self.low_half(a),
            _ => match alu(binary) {
                Some(op) => self.alu(wide, binary, op, a, b),
                None => Err(crate::Refused::Compiler("arithmetic")),
            },
        }
    }

    /// The lower half of a wide number, as a wide number.
    fn low_half(&mut self, mut a: Value) -> Made<()> {
        let to = self.target(&a, None)?;
        a.wide = false;
        a.low = true;
        self.put(&a, to);
        self.release_unless_in(&a, to);
        self.push_reg(to, true, u64::from(u32::MAX))
    }

    /// The two in the better order: what the result goes to first.
    fn order(&self, a: &mut Value, b: &mut Value) {
        let swap = match self.next_set(0) {
            Some(r) => self.uses(b, r) && !self.uses(a, r),
            None => self.owned(b).is_some() && self.owned(a).is_none(),
        };
        if swap {
            core::mem::swap(a, b);
        }
    }

    fn alu(&mut self, wide: Wide, binary: Binary, op: Alu, mut a: Value, mut b: Value) -> Made<()> {
        let most = most(binary, wide, &a, &b);
        if binary.commutes() {
            self.order(&mut a, &mut b);
        }
        if op == Alu::Add && b.known().is_none() && self.add_registers(wide, &a, &b, most)? {
            return Ok(());
        }
        if b.add != 0 || matches!(b.source, Source::Placed(_)) {
            self.reg(&mut b)?;
        }
        let to = self.target(&a, Some(&b))?;
        self.put(&a, to);
        match (b.small(), b.known(), self.memory_of(&b)) {
            (Some(-1), ..) if op == Alu::Xor => self.code.one(One::Not, wide, to),
            (Some(small), ..) => self.code.alu_imm(op, wide, to, small),
            (_, Some(number), _) => {
                self.code.imm(SCRATCH, number);
                self.code.alu(op, wide, to, SCRATCH);
            }
            (_, _, Some(m)) => self.code.alu_mem(op, wide, to, m),
            _ => {
                let r = self.reg(&mut b)?;
                self.code.alu(op, wide, to, r);
            }
        }
        self.done(to, &a, &b, wide, most)
    }

    /// A sum of two registers, which needs not be where one of them was; whether they are such.
    fn add_registers(&mut self, wide: Wide, a: &Value, b: &Value, most: u64) -> Made<bool> {
        let (Some(x), Some(y)) = (self.register_of(a), self.register_of(b)) else {
            return Ok(false);
        };
        let Some(by) = a.add.checked_add(b.add) else {
            return Ok(false);
        };
        self.context_escapes |= a.context | b.context;
        let to = match self.next_target(0)? {
            Some(r) => r,
            None => match self.owned(a).or_else(|| self.owned(b)) {
                Some(r) => r,
                None => self.temp()?,
            },
        };
        if self.temps.has(to) {
            self.take(to);
        }
        match by {
            0 if to == x => self.code.alu(Alu::Add, wide, to, y),
            0 if to == y => self.code.alu(Alu::Add, wide, to, x),
            _ => {
                let m = Mem {
                    base: x,
                    index: Some(y),
                    disp: by,
                };
                self.code.lea(wide, to, m);
            }
        }
        self.done(to, a, b, wide, most)?;
        Ok(true)
    }

    fn multiply(&mut self, wide: Wide, mut a: Value, mut b: Value) -> Made<()> {
        let most = most(Binary::Mul, wide, &a, &b);
        if let Some(by) = b.small() {
            let from = self.reg(&mut a)?;
            let to = self.target(&a, None)?;
            self.code.mul_imm(wide, to, from, by);
            return self.done(to, &a, &b, wide, most);
        }
        self.order(&mut a, &mut b);
        if b.add != 0 || matches!(b.source, Source::Placed(_)) {
            self.reg(&mut b)?;
        }
        let to = self.target(&a, Some(&b))?;
        self.put(&a, to);
        match (b.known(), self.memory_of(&b)) {
            (Some(number), _) => {
                self.code.imm(SCRATCH, number);
                self.code.mul(wide, to, SCRATCH);
            }
            (_, Some(m)) => self.code.mul_mem(wide, to, m),
            _ => {
                let r = self.reg(&mut b)?;
                self.code.mul(wide, to, r);
            }
        }
        self.done(to, &a, &b, wide, most)
    }

    /// The result is in `to`; `a` and `b` are used up.
    pub(super) fn done(
        &mut self,
        to: Reg,
        a: &Value,
        b: &Value,
        wide: Wide,
        most: u64,
    ) -> Made<()> {
        self.release_unless_in(a, to);
        self.release_unless_in(b, to);
        self.push_reg(to, wide, most)
    }

    pub(super) fn unary(&mut self, wide: Wide, unary: Unary) -> Made<()> {
        let mut a = self.pop()?;
        if let Some(number) = a.known() {
            let result = match unary {
                Unary::LeadingZeros => number.leading_zeros() - (64 - bits(wide)),
                Unary::TrailingZeros => number.trailing_zeros().min(bits(wide)),
                Unary::Ones => number.count_ones(),
            };
            return self.push(Value::constant(wide, result.into()));
        }
        let from = self.reg(&mut a)?;
        let to = self.target(&a, None)?;
        match unary {
            Unary::LeadingZeros => {
                self.code.scan(true, wide, to, from);
                self.code.imm(SCRATCH, u64::from(2 * bits(wide) - 1));
                self.code
                    .mov_if(Flag::of(Condition::Equal), wide, to, SCRATCH);
                self.code.alu_imm(Alu::Xor, wide, to, bits(wide) as i32 - 1);
            }
            Unary::TrailingZeros => {
                self.code.scan(false, wide, to, from);
                self.code.imm(SCRATCH, bits(wide).into());
                self.code
                    .mov_if(Flag::of(Condition::Equal), wide, to, SCRATCH);
            }
            Unary::Ones => {
                if from != to {
                    self.code.mov(wide, to, from);
                }
                let mask = self.temp()?;
                self.count_ones(wide, to, mask);
                self.free.insert(mask);
            }
        }
        self.release_unless_in(&a, to);
        // As far as the instructions tell by themselves.
        let most = match unary {
            Unary::LeadingZeros => 2 * bits(wide) - 1,
            Unary::TrailingZeros => bits(wide),
            Unary::Ones => 0xff,
        };
        self.push_reg(to, wide, most.into())
    }

    /// Counts the ones in `to`: of pairs of bits, of nibbles, of bytes, and their sum in the highest byte.
    fn count_ones(&mut self, wide: Wide, to: Reg, mask: Reg) {
        let code = &mut self.code;
        let part = |pattern: u64| cut(wide, pattern);
        code.mov(wide, SCRATCH, to);
        code.turn(Turn::RightUnsigned, wide, SCRATCH, 1);
        code.imm(mask, part(0x5555_5555_5555_5555));
        code.alu(Alu::And, wide, SCRATCH, mask);
        code.alu(Alu::Sub, wide, to, SCRATCH);
        code.imm(mask, part(0x3333_3333_3333_3333));
        code.mov(wide, SCRATCH, to);
        code.turn(Turn::RightUnsigned, wide, SCRATCH, 2);
        code.alu(Alu::And, wide, to, mask);
        code.alu(Alu::And, wide, SCRATCH, mask);
        code.alu(Alu::Add, wide, to, SCRATCH);
        code.mov(wide, SCRATCH, to);
        code.turn(Turn::RightUnsigned, wide, SCRATCH, 4);
        code.alu(Alu::Add, wide, to, SCRATCH);
        code.imm(mask, part(0x0f0f_0f0f_0f0f_0f0f));
        code.alu(Alu::And, wide, to, mask);
        code.imm(mask, part(0x0101_0101_0101_0101));
        code.mul(wide, to, mask);
        code.turn(Turn::RightUnsigned, wide, to, (bits(wide) - 8) as u8);
    }

    // ---- conversions

    pub(super) fn wrap(&mut self) -> Made<()> {
        let mut value = self.pop()?;
        value.wide = false;
        match value.source {
            Source::Constant(number) => return self.push(Value::constant(false, number)),
            Source::Placed(_) => value.most = u32::MAX.into(),
            _ if value.most > u32::MAX.into() || value.add != 0 => {
                value.low = true;
                value.most = u32::MAX.into();
            }
            _ => {}
        }
        self.push(value)
    }

    pub(super) fn widen(&mut self) -> Made<()> {
        let mut value = self.pop()?;
        match value.source {
            Source::Constant(number) => return self.push(Value::constant(true, number)),
            // The sum does not wrap, so it is the same in 64 bits.
            Source::Placed(by) if by < u64::from(layout::CPU_AREA) => {}
            Source::Placed(_) => return self.widen_put(value),
            _ if !value.is_plain() => return self.widen_put(value),
            _ => {}
        }
        value.wide = true;
        self.push(value)
    }

    fn widen_put(&mut self, value: Value) -> Made<()> {
        let to = self.target(&value, None)?;
        self.put(&value, to);
        self.release_unless_in(&value, to);
        self.push_reg(to, true, value.most.min(u32::MAX.into()))
    }

    pub(super) fn extend(&mut self, wide: Wide, bytes: u8) -> Made<()> {
        let mut value = self.pop()?;
        if let Some(number) = value.known() {
            let shift = 64 - 8 * u32::from(bytes);
            let number = ((number << shift) as i64 >> shift) as u64;
            return self.push(Value::constant(wide, number));
        }
        let from = self.reg(&mut value)?;
        let to = self.target(&value, None)?;
        self.code.extend(wide, bytes, to, from);
        self.release_unless_in(&value, to);
        self.push_reg(to, wide, u64::MAX)
    }
}

/// The result of an operation with a number, if that need not be computed now.
fn lazy(wide: Wide, binary: Binary, a: &Value, number: u64) -> Option<Value> {
    match binary {
        Binary::Add => add_lazily(wide, a, number),
        Binary::Sub => add_lazily(wide, a, number.wrapping_neg()),
        Binary::Or => match a.source {
            _ if number == 0 => Some(*a),
            // A tag on an address without one: no bit is in both.
            Source::Placed(by)
                if wide && by < u64::from(layout::CPU_AREA) && cut(false, number) == 0 =>
            {
                Some(Value {
                    source: Source::Placed(by.wrapping_add(number)),
                    most: u64::MAX,
                    ..*a
                })
            }
            _ => None,
        },
        _ => None,
    }
}

fn add_lazily(wide: Wide, a: &Value, number: u64) -> Option<Value> {
    if let Source::Placed(by) = a.source {
        let number = match wide {
            true => number,
            false => number as u32 as i32 as u64,
        };
        return Some(Value {
            source: Source::Placed(by.wrapping_add(number)),
            most: top(wide),
            ..*a
        });
    }
    let add = match wide {
        true => i64::from(a.add).checked_add(number as i64),
        false => Some(a.add.wrapping_add(number as i32).into()),
    };
    let add = add.and_then(|add| i32::try_from(add).ok())?;
    let most = a.most.checked_add(number).filter(|most| *most <= top(wide));
    Some(Value {
        add,
        low: a.low || (!wide && add == 0),
        most: most.unwrap_or(top(wide)),
        ..*a
    })
}
