//! Locals, and results that go to them.

use super::value::{Source, Value};
use super::{Emitter, SCRATCH};
use crate::facts::{Fact, Known};
use crate::operator::{Op, top};
use crate::registers::{Place, Reg};
use crate::{Made, Refused};

impl Emitter<'_, '_, '_> {
    /// The register of the local that the result of this operator, and `skip` more, goes to next.
    pub(super) fn next_set(&self, skip: usize) -> Option<Reg> {
        match self.body.op(self.at + 1 + skip)? {
            Op::Set(local) | Op::Tee(local) => match self.place_of(local) {
                Place::Reg(r) => Some(r),
                _ => None,
            },
            _ => None,
        }
    }

    /// The register of the local that the result goes to, free for it.
    pub(super) fn next_target(&mut self, skip: usize) -> Made<Option<Reg>> {
        let Some(r) = self.next_set(skip) else {
            return Ok(None);
        };
        self.flush(Place::Reg(r))?;
        self.forget_register(r);
        Ok(Some(r))
    }

    /// A register for a result that is made of `a`, while `b` must stay.
    pub(super) fn target(&mut self, a: &Value, b: Option<&Value>) -> Made<Reg> {
        let taken = |emitter: &Self, r: Reg| b.is_some_and(|b| emitter.uses(b, r));
        if let Some(r) = self.next_set(0)
            && !taken(self, r)
            && let Some(r) = self.next_target(0)?
        {
            return Ok(r);
        }
        match self.owned(a) {
            Some(r) if !taken(self, r) => {
                self.set_copy(r, None);
                Ok(r)
            }
            _ => self.temp(),
        }
    }

    pub(super) fn get(&mut self, local: u16) -> Made<()> {
        let index = usize::from(local);
        let fact = self.facts.of(index);
        let wide = self.body.locals.get(index).copied();
        let wide = wide.ok_or(Refused::Compiler("locals"))?;
        let value = match fact.known {
            Known::Constant(value) => Value::constant(wide, value),
            Known::Placed(by, context) => Value {
                context,
                via: Some(local),
                ..Value::placed(by, wide)
            },
            Known::Nothing => Value {
                most: fact.most.min(top(wide)),
                ..Value::of(Source::Local(local), wide)
            },
        };
        self.push(value)
    }

    pub(super) fn set(&mut self, local: u16, value: Value) -> Made<()> {
        if value.source == Source::Local(local) && value.is_plain() {
            return Ok(());
        }
        let (index, place) = (usize::from(local), self.place_of(local));
        self.flush(place)?;
        for register in 0..self.copies.len() as u8 {
            if self.copy(Reg(register)) == Some(local) {
                self.set_copy(Reg(register), None);
            }
        }
        if let Place::Reg(r) = place {
            self.forget_register(r);
        }
        // What is known for good needs no place.
        let is_steady = self.plan.lives.get(index).is_some_and(|l| l.is_steady);
        let needs_place = match value.source {
            Source::Constant(_) => !is_steady,
            Source::Placed(_) => !is_steady || value.wide,
            _ => true,
        };
        if needs_place {
            self.put_in_place(place, &value);
        }
        self.release(&value);
        let fact = Fact {
            known: match value.source {
                Source::Constant(number) => Known::Constant(number),
                Source::Placed(by) => Known::Placed(by, value.context),
                _ => Known::Nothing,
            },
            most: value.most,
            checked: 0,
        };
        if value.wide
            && matches!(fact.known, Known::Placed(..))
            && !self.anchors.contains(&Some(local))
        {
            self.anchors.rotate_right(1);
            self.anchors[0] = Some(local);
        }
        self.facts.set(index, fact);
        if self.frames.len() <= 1 {
            self.facts.forget_changes();
        }
        Ok(())
    }

    fn put_in_place(&mut self, place: Place, value: &Value) {
        match place {
            Place::None => {}
            Place::Reg(r) if value.source == Source::Reg(r) && value.is_plain() => {}
            Place::Reg(r) => self.put_quietly(value, r),
            Place::Slot(slot) => {
                let m = self.slot(slot);
                let small = value.small().filter(|small| value.wide || *small >= 0);
                match (value.source, small) {
                    (Source::Reg(r), _) if value.is_plain() => self.code.store(true, m, r),
                    (_, Some(small)) => self.code.store_imm(8, m, small),
                    _ => {
                        self.put_quietly(value, SCRATCH);
                        self.code.store(true, m, SCRATCH);
                    }
                }
            }
        }
    }
}
