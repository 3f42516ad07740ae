//! Shifts and divisions, which want certain registers.

use abi::traps::Trap;

use super::machine::{Alu, Flag, One, RAX, RCX, RDX, Turn};
use super::value::{Source, Value};
use super::{Emitter, SCRATCH};
use crate::Made;
use crate::operator::{Binary, Condition, Shift, Wide, bits, top};
use crate::registers::Reg;

fn turn(shift: Shift) -> Turn {
    match shift {
        Shift::Left => Turn::Left,
        Shift::RightUnsigned => Turn::RightUnsigned,
        Shift::RightSigned => Turn::RightSigned,
        Shift::RotateLeft => Turn::RotateLeft,
        Shift::RotateRight => Turn::RotateRight,
    }
}

impl Emitter<'_, '_, '_> {
    pub(super) fn shift(&mut self, wide: Wide, shift: Shift, a: Value, b: Value) -> Made<()> {
        match b.known() {
            Some(by) => {
                let by = by as u32 & (bits(wide) - 1);
                self.shift_by_number(wide, shift, a, by)
            }
            None => self.shift_by_cl(wide, shift, a, b),
        }
    }

    fn shift_by_number(&mut self, wide: Wide, shift: Shift, a: Value, by: u32) -> Made<()> {
        if by == 0 {
            return self.push(a);
        }
        let most = match shift {
            Shift::RightUnsigned => Some(a.most.min(top(wide)) >> by),
            Shift::Left => a.most.checked_mul(1 << by),
            _ => None,
        };
        let most = most.filter(|most| *most <= top(wide)).unwrap_or(top(wide));
        let to = self.target(&a, None)?;
        self.put(&a, to);
        match (shift, by) {
            (Shift::Left, 1) => self.code.alu(Alu::Add, wide, to, to),
            _ => self.code.turn(turn(shift), wide, to, by as u8),
        }
        self.release_unless_in(&a, to);
        self.push_reg(to, wide, most)
    }

    fn shift_by_cl(&mut self, wide: Wide, shift: Shift, mut a: Value, b: Value) -> Made<()> {
        let is_there = b.source == Source::Reg(RCX) && b.is_plain();
        if !is_there {
            if a.source == Source::Reg(RCX) {
                let to = self.temp()?;
                self.put(&a, to);
                self.release(&a);
                a = Value::reg(to, a.wide, a.most);
            }
            if b.source != Source::Reg(RCX) {
                self.claim(RCX)?;
            }
            self.put(&b, RCX);
            self.release_unless_in(&b, RCX);
        }
        self.take(RCX);
        let by = Value::reg(RCX, b.wide, b.most);
        let most = match shift {
            Shift::RightUnsigned => a.most,
            _ => top(wide),
        };
        let to = self.target(&a, Some(&by))?;
        self.put(&a, to);
        self.code.turn_by_cl(turn(shift), wide, to);
        self.done(to, &a, &by, wide, most)
    }

    pub(super) fn divide(
        &mut self,
        wide: Wide,
        signed: bool,
        rest: bool,
        a: Value,
        b: Value,
    ) -> Made<()> {
        if let Some(number) = b.known().filter(|n| !signed && n.is_power_of_two()) {
            if !rest {
                let by = number.trailing_zeros();
                return self.shift_by_number(wide, Shift::RightUnsigned, a, by);
            }
            self.push(a)?;
            self.push(Value::constant(wide, number - 1))?;
            return self.binary(wide, Binary::And);
        }
        let divisor = self.away_from_dividend(b)?;
        for r in [RAX, RDX] {
            if a.source != Source::Reg(r) {
                self.claim(r)?;
            }
        }
        self.put(&a, RAX);
        if self.owned(&a).is_none_or(|r| r != RAX && r != RDX) {
            self.release(&a);
        }
        self.take(RAX);
        self.take(RDX);
        let known = b.known();
        if known.is_none_or(|number| number == 0) {
            self.code.test(wide, divisor);
            let to = self.trap(Trap::IntegerDivision);
            self.code.jump_if(Flag::of(Condition::Equal), to);
        }
        let after = self.code.label();
        if signed && known.is_none_or(|number| number == top(wide)) {
            self.divide_by_minus_one(wide, rest, divisor, after);
        }
        match signed {
            true => {
                self.code.sign_of_rax(wide);
                self.code.one(One::DivideSigned, wide, divisor);
            }
            false => {
                self.code.zero(RDX);
                self.code.one(One::Divide, wide, divisor);
            }
        }
        self.code.bind(after);
        let (result, other) = if rest { (RDX, RAX) } else { (RAX, RDX) };
        self.free.insert(other);
        if self.temps.has(divisor) {
            self.free.insert(divisor);
        }
        self.push_reg(result, wide, u64::MAX)
    }

    /// A register with the divisor that is neither `rax` nor `rdx`.
    fn away_from_dividend(&mut self, mut b: Value) -> Made<Reg> {
        let in_way = [RAX, RDX].map(Source::Reg).contains(&b.source);
        let stays = !in_way && self.register_of(&b).is_some() && b.add == 0;
        if stays {
            return self.reg(&mut b);
        }
        self.put(&b, SCRATCH);
        self.release(&b);
        Ok(SCRATCH)
    }

    /// What the machine's division would fault at, or gives otherwise; `rax` is divided.
    fn divide_by_minus_one(&mut self, wide: Wide, rest: bool, divisor: Reg, after: super::Label) {
        let other = self.code.label();
        self.code.alu_imm(Alu::Cmp, wide, divisor, -1);
        self.code.jump_if(Flag::of(Condition::NotEqual), other);
        if rest {
            self.code.imm(RDX, 0);
        } else {
            // The least number is the one whose negation overflows.
            self.code.one(One::Negate, wide, RAX);
            let to = self.trap(Trap::IntegerDivision);
            self.code.jump_if(Flag::OVERFLOW, to);
        }
        self.code.jump(after);
        self.code.bind(other);
    }
}
