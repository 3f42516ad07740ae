//! Comparisons, and what follows them.

use super::machine::{Alu, Flag};
use super::value::Value;
use super::{Emitter, SCRATCH};
use crate::Made;
use crate::operator::{Condition, Op, Wide};

impl Emitter<'_, '_, '_> {
    pub(super) fn compare(&mut self, wide: Wide, condition: Condition) -> Made<()> {
        let (b, a) = (self.pop()?, self.pop()?);
        self.compare_values(wide, condition, a, b)
    }

    pub(super) fn is_zero(&mut self, wide: Wide) -> Made<()> {
        let a = self.pop()?;
        self.compare_values(wide, Condition::Equal, a, Value::constant(wide, 0))
    }

    /// Compares, and does what asks for the result next.
    fn compare_values(
        &mut self,
        wide: Wide,
        mut condition: Condition,
        mut a: Value,
        mut b: Value,
    ) -> Made<()> {
        if let (Some(x), Some(y)) = (a.known(), b.known()) {
            let holds = condition.holds(wide, x, y);
            return self.push(Value::constant(false, holds.into()));
        }
        if a.known().is_some() {
            core::mem::swap(&mut a, &mut b);
            condition = condition.swapped();
        }
        let mut skip = 0;
        while self.body.op(self.at + 1 + skip) == Some(Op::IsZero(false)) {
            condition = condition.negated();
            skip += 1;
        }
        let next = self.body.op(self.at + 1 + skip);
        self.set_flags(wide, condition, &mut a, &mut b)?;
        self.release(&a);
        self.release(&b);
        let choices = match next {
            Some(Op::Select) => self.ready_choices()?,
            _ => None,
        };
        match (next, choices) {
            (Some(Op::BranchIf(depth)), _) => {
                self.at += 1 + skip;
                self.branch_if(depth, condition)
            }
            (Some(Op::If { result, .. }), _) => {
                self.at += 1 + skip;
                self.open_if(result, condition)
            }
            (_, Some((x, y))) => {
                self.at += 1 + skip;
                self.select(condition, x, y)
            }
            _ => {
                self.at += skip;
                let to = match self.next_target(0)? {
                    Some(r) => r,
                    None => self.temp()?,
                };
                self.code.set(Flag::of(condition), to);
                self.push_reg(to, false, 1)
            }
        }
    }

    fn set_flags(
        &mut self,
        wide: Wide,
        condition: Condition,
        a: &mut Value,
        b: &mut Value,
    ) -> Made<()> {
        let left = self.reg(a)?;
        let is_equality = matches!(condition, Condition::Equal | Condition::NotEqual);
        match (b.small(), b.known(), self.memory_of(b)) {
            (Some(0), ..) if is_equality => self.code.test(wide, left),
            (Some(small), ..) => self.code.alu_imm(Alu::Cmp, wide, left, small),
            (_, Some(number), _) => {
                self.code.imm(SCRATCH, number);
                self.code.alu(Alu::Cmp, wide, left, SCRATCH);
            }
            (_, _, Some(m)) => {
                self.context_escapes |= b.context;
                self.code.alu_mem(Alu::Cmp, wide, left, m);
            }
            _ => {
                let right = self.reg(b)?;
                self.code.alu(Alu::Cmp, wide, left, right);
            }
        }
        Ok(())
    }
}
