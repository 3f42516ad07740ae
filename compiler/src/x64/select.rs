//! One of two numbers.

use super::machine::Flag;
use super::value::Value;
use super::{Emitter, SCRATCH};
use crate::operator::Condition;
use crate::registers::Reg;
use crate::{Made, Refused};

impl Emitter<'_, '_, '_> {
    /// `select` on a number.
    pub(super) fn select_on_number(&mut self) -> Made<()> {
        let mut condition = self.pop()?;
        if let Some(known) = condition.known() {
            let (b, a) = (self.pop()?, self.pop()?);
            let (keep, drop) = if known != 0 { (a, b) } else { (b, a) };
            self.release(&drop);
            return self.push(keep);
        }
        // First, for there are three registers for three operands.
        let r = self.reg(&mut condition)?;
        let (a, b) = self.choices()?;
        self.code.test(false, r);
        self.release(&condition);
        self.select(Condition::NotEqual, a, b)
    }

    /// What a select is between, so that moving it changes no flag.
    fn choices(&mut self) -> Made<(Value, Value)> {
        let (mut b, mut a) = (self.pop()?, self.pop()?);
        for value in [&mut a, &mut b] {
            if !value.is_flagless() {
                self.own_reg(value)?;
            }
        }
        Ok((a, b))
    }

    /// The two values of a select, if they are as [`Self::choices`] makes them already.
    pub(super) fn ready_choices(&mut self) -> Made<Option<(Value, Value)>> {
        let top = self.stack.len().saturating_sub(2);
        let ready = self.stack.get(top..).unwrap_or_default();
        if ready.len() < 2 || !ready.iter().all(Value::is_flagless) {
            return Ok(None);
        }
        self.choices().map(Some)
    }

    /// `a` if the condition on the flags holds, else `b`.
    pub(super) fn select(&mut self, condition: Condition, mut a: Value, mut b: Value) -> Made<()> {
        let (wide, most) = (a.wide, a.most.max(b.most));
        let mut condition = condition;
        let mut swap = |a: &mut Value, b: &mut Value| {
            core::mem::swap(a, b);
            condition = condition.negated();
        };
        let mut set = None;
        if let Some(r) = self.next_set(0) {
            let (in_a, in_b) = (self.uses(&a, r), self.uses(&b, r));
            if in_a && !in_b {
                swap(&mut a, &mut b);
            }
            if !(in_a && in_b) {
                set = self.next_target(0)?;
            }
        }
        if set.is_none() && self.owned(&a).is_some() && self.owned(&b).is_none() {
            swap(&mut a, &mut b);
        }
        let to: Reg = match (set, self.owned(&b)) {
            (Some(r), _) | (None, Some(r)) => r,
            (None, None) => self.temp()?,
        };
        let flag = Flag::of(condition);
        if self.memory_of(&a).is_none() && self.register_of(&a).is_none() {
            self.put(&a, SCRATCH);
            self.put(&b, to);
            self.code.mov_if(flag, wide, to, SCRATCH);
        } else {
            self.put(&b, to);
            match (self.memory_of(&a), self.register_of(&a)) {
                (Some(m), _) => self.code.mov_if_mem(flag, wide, to, m),
                (None, Some(r)) => self.code.mov_if(flag, wide, to, r),
                (None, None) => return Err(Refused::Compiler("select")),
            }
        }
        self.context_escapes |= a.context;
        self.release_unless_in(&a, to);
        self.release_unless_in(&b, to);
        if self.temps.has(to) {
            self.take(to);
        }
        self.push_reg(to, wide, most)
    }
}
