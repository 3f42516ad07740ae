//! Values on the operand stack, and the registers they have.

use core::mem::offset_of;

use abi::native::Vm;

use super::machine::{Alu, Mem, RBP};
use super::{Emitter, NO_REGISTER, SCRATCH};
use crate::facts::Known;
use crate::operator::{Wide, cut, top};
use crate::registers::{Place, Reg};
use crate::{Made, Refused};

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Constant(u64),
    Local(u16),
    Reg(Reg),
    Slot(u16),
    /// `env.stack_base` plus so much.
    Placed(u64),
}

/// A value, perhaps not computed yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value {
    pub(super) source: Source,
    pub(super) wide: Wide,
    /// To be added to what is there.
    pub(super) add: i32,
    /// Narrow, and the upper half of what is there is not zero.
    pub(super) low: bool,
    /// Made of the pointer to the context.
    pub(super) context: bool,
    /// A local that holds what is placed.
    pub(super) via: Option<u16>,
    /// It is never above that.
    pub(super) most: u64,
}

impl Value {
    pub(super) fn of(source: Source, wide: Wide) -> Self {
        Self {
            source,
            wide,
            add: 0,
            low: false,
            context: false,
            via: None,
            most: top(wide),
        }
    }

    pub(super) fn constant(wide: Wide, value: u64) -> Self {
        let value = cut(wide, value);
        Self {
            most: value,
            ..Self::of(Source::Constant(value), wide)
        }
    }

    /// A narrow address.
    pub(super) fn placed(by: u64, wide: Wide) -> Self {
        Self::of(Source::Placed(by), wide)
    }

    pub(super) fn reg(r: Reg, wide: Wide, most: u64) -> Self {
        let value = Self::of(Source::Reg(r), wide);
        Self {
            most: value.most.min(most),
            ..value
        }
    }

    pub(super) fn known(&self) -> Option<u64> {
        match self.source {
            Source::Constant(value) => Some(value),
            _ => None,
        }
    }

    /// The number, if an instruction has room for it.
    pub(super) fn small(&self) -> Option<i32> {
        match (self.known()?, self.wide) {
            (value, true) => i32::try_from(value as i64).ok(),
            (value, false) => Some(value as i32),
        }
    }

    /// Whether moving it changes no flag, and it can be moved under a condition as it is.
    pub(super) fn is_flagless(&self) -> bool {
        self.is_plain() && !matches!(self.source, Source::Placed(_))
    }

    /// Whether nothing has to be done to what is there.
    pub(super) fn is_plain(&self) -> bool {
        self.add == 0 && !self.low
    }
}

/// Operands at the top of the stack that may depend on registers.
const WINDOW: usize = 16;
/// Words of a frame at most, and a little more: what needs more is refused at its end.
const MAX_SLOTS: u16 = 2 * (abi::native::FRAME / 8) as u16;

impl Emitter<'_, '_, '_> {
    // ---- the stack

    pub(super) fn push(&mut self, value: Value) -> Made<()> {
        self.stack.push(value);
        if self.stack.len() - self.settled > WINDOW {
            self.spill(self.settled)?;
            self.settled += 1;
        }
        Ok(())
    }

    pub(super) fn push_reg(&mut self, r: Reg, wide: Wide, most: u64) -> Made<()> {
        self.push(Value::reg(r, wide, most))
    }

    pub(super) fn pop(&mut self) -> Made<Value> {
        let value = self.stack.pop().ok_or(Refused::Compiler("operands"))?;
        self.settled = self.settled.min(self.stack.len());
        Ok(value)
    }

    pub(super) fn drop_to(&mut self, height: usize) -> Made<()> {
        while self.stack.len() > height {
            let value = self.pop()?;
            self.release(&value);
        }
        Ok(())
    }

    // ---- places

    pub(super) fn vm_at(&self, field: usize) -> Mem {
        Mem::at(self.vm, field as i32)
    }

    pub(super) fn slot(&self, slot: u16) -> Mem {
        Mem::at(RBP, -8 * (i32::from(slot) + 1))
    }

    pub(super) fn new_slot(&mut self) -> Made<u16> {
        if let Some(slot) = self.free_slots.pop() {
            return Ok(slot);
        }
        if self.slots >= MAX_SLOTS {
            return Err(Refused::Frame(u32::from(self.slots) * 8));
        }
        self.slots += 1;
        Ok(self.slots - 1)
    }

    pub(super) fn place_of(&self, local: u16) -> Place {
        let place = self.places.get(usize::from(local)).copied();
        place.unwrap_or(Place::None)
    }

    /// Where it lies, if in the frame and as it is.
    pub(super) fn memory_of(&self, value: &Value) -> Option<Mem> {
        match value.source {
            Source::Slot(slot) if value.add == 0 => Some(self.slot(slot)),
            Source::Local(local) if value.add == 0 => match self.place_of(local) {
                Place::Slot(slot) => Some(self.slot(slot)),
                _ => None,
            },
            _ => None,
        }
    }

    /// The register that it is in, perhaps with something to add.
    pub(super) fn register_of(&self, value: &Value) -> Option<Reg> {
        match value.source {
            Source::Reg(r) => Some(r),
            Source::Local(local) => match self.place_of(local) {
                Place::Reg(r) => Some(r),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether it is in a register that is its own.
    pub(super) fn owned(&self, value: &Value) -> Option<Reg> {
        match value.source {
            Source::Reg(r) if self.temps.has(r) => Some(r),
            _ => None,
        }
    }

    /// Whether it depends on `r`.
    pub(super) fn uses(&self, value: &Value, r: Reg) -> bool {
        let via = value.via.map(|local| self.place_of(local));
        self.register_of(value) == Some(r) || via == Some(Place::Reg(r))
    }

    // ---- registers

    pub(super) fn set_copy(&mut self, r: Reg, local: Option<u16>) {
        if let Some(copy) = self.copies.get_mut(usize::from(r.0)) {
            *copy = local;
        }
    }

    pub(super) fn copy(&self, r: Reg) -> Option<u16> {
        self.copies.get(usize::from(r.0)).copied().flatten()
    }

    pub(super) fn forget_copies(&mut self) {
        self.copies = [None; 16];
    }

    /// `r` is written, or somebody's.
    pub(super) fn take(&mut self, r: Reg) {
        self.free.remove(r);
        self.set_copy(r, None);
    }

    pub(super) fn release(&mut self, value: &Value) {
        match value.source {
            Source::Reg(r) if self.temps.has(r) => self.free.insert(r),
            Source::Slot(slot) => self.free_slots.push(slot),
            _ => {}
        }
    }

    pub(super) fn release_unless_in(&mut self, value: &Value, r: Reg) {
        if value.source != Source::Reg(r) {
            self.release(value);
        }
    }

    /// A register for an operand.
    pub(super) fn temp(&mut self) -> Made<Reg> {
        let unused = self.free.iter().find(|r| self.copy(*r).is_none());
        if let Some(r) = unused.or_else(|| self.free.iter().next()) {
            self.take(r);
            return Ok(r);
        }
        for at in self.settled..self.stack.len() {
            let owned = self.stack.get(at).and_then(|value| self.owned(value));
            if let Some(r) = owned {
                self.spill(at)?;
                self.take(r);
                return Ok(r);
            }
        }
        Err(Refused::Compiler(NO_REGISTER))
    }

    /// Takes `r`, wherever the operand in it has to go.
    pub(super) fn claim(&mut self, r: Reg) -> Made<()> {
        for at in self.settled..self.stack.len() {
            if self.stack.get(at).map(|value| value.source) == Some(Source::Reg(r)) {
                self.spill(at)?;
            }
        }
        self.take(r);
        Ok(())
    }

    /// Lets entry `at` of the stack depend on no register. Changes no flag.
    pub(super) fn spill(&mut self, at: usize) -> Made<()> {
        let Some(mut value) = self.stack.get(at).copied() else {
            return Ok(());
        };
        match value.source {
            Source::Constant(_) | Source::Placed(_) => value.via = None,
            Source::Slot(_) if value.is_plain() => {}
            _ => value = self.keep(&value)?,
        }
        if let Some(entry) = self.stack.get_mut(at) {
            *entry = value;
        }
        Ok(())
    }

    /// The value in a word of the frame. Changes no flag, unless it is placed.
    pub(super) fn keep(&mut self, value: &Value) -> Made<Value> {
        let from = self.owned(value).unwrap_or(SCRATCH);
        self.put(value, from);
        self.release(value);
        let slot = self.new_slot()?;
        let m = self.slot(slot);
        self.code.store(true, m, from);
        Ok(Value {
            most: value.most,
            ..Value::of(Source::Slot(slot), value.wide)
        })
    }

    /// Nothing on the stack may depend on what is at `place` any more.
    pub(super) fn flush(&mut self, place: Place) -> Made<()> {
        for at in self.settled..self.stack.len() {
            let Some(value) = self.stack.get(at).copied() else {
                continue;
            };
            let depends = match value.source {
                Source::Local(local) => self.place_of(local) == place,
                _ => value.via.is_some_and(|local| self.place_of(local) == place),
            };
            if depends {
                self.spill(at)?;
            }
        }
        Ok(())
    }

    /// Nothing on the stack may depend on any register.
    pub(super) fn flush_all(&mut self) -> Made<()> {
        for at in self.settled..self.stack.len() {
            self.spill(at)?;
        }
        self.settled = self.stack.len();
        self.forget_copies();
        Ok(())
    }

    /// The locals in `r` change.
    pub(super) fn forget_register(&mut self, r: Reg) {
        for index in 0..self.copies.len() {
            let copy = self.copies.get(index).copied().flatten();
            if copy.is_some_and(|local| self.place_of(local) == Place::Reg(r)) {
                self.set_copy(Reg(index as u8), None);
            }
        }
    }

    // ---- from values to registers

    /// A register near what is placed, and how far that is from it.
    pub(super) fn anchor(&self, by: u64, via: Option<u16>) -> Option<(Reg, i32)> {
        let near = |local: u16| {
            let index = usize::from(local);
            let Known::Placed(at, _) = self.facts.of(index).known else {
                return None;
            };
            let (true, Place::Reg(r)) = (self.body.locals.get(index)?, self.place_of(local)) else {
                return None;
            };
            let distance = i32::try_from(by.wrapping_sub(at) as i64).ok()?;
            Some((r, distance))
        };
        let lives = |local: &u16| {
            let index = usize::from(*local);
            let life = self.plan.lives.get(index);
            self.plan.is_live(index, self.at)
                && life.is_some_and(|life| (life.from as usize) < self.at)
        };
        let anchors = self.anchors.iter().flatten().copied();
        via.and_then(near)
            .or_else(|| anchors.filter(lives).find_map(near))
    }

    /// The value, all of it, into `to`. Changes no flag, unless it is placed.
    pub(super) fn put(&mut self, value: &Value, to: Reg) {
        self.context_escapes |= value.context;
        self.put_quietly(value, to);
    }

    /// As [`Self::put`], where nobody looks behind a pointer to the context.
    pub(super) fn put_quietly(&mut self, value: &Value, to: Reg) {
        let from = match value.source {
            Source::Constant(number) => return self.code.imm(to, number),
            Source::Placed(by) => return self.put_placed(value, by, to),
            Source::Reg(r) => r,
            Source::Slot(_) | Source::Local(_) => match self.register_of(value) {
                Some(r) => r,
                None => {
                    let plain = Value { add: 0, ..*value };
                    match self.memory_of(&plain) {
                        Some(m) => self.code.load(value.wide, to, m),
                        // A local that nobody sets or gets.
                        None => self.code.imm(to, 0),
                    }
                    if value.add != 0 {
                        self.code.lea(value.wide, to, Mem::at(to, value.add));
                    }
                    return;
                }
            },
        };
        if value.add != 0 {
            self.code.lea(value.wide, to, Mem::at(from, value.add));
        } else if from != to || value.low {
            self.code.mov(value.wide, to, from);
        }
    }

    fn put_placed(&mut self, value: &Value, by: u64, to: Reg) {
        let m = self.vm_at(offset_of!(Vm, stack_base));
        if !value.wide {
            self.code.load(false, to, m);
            if by as u32 != 0 {
                self.code.lea(false, to, Mem::at(to, by as i32));
            }
            return;
        }
        match self.anchor(by, value.via) {
            Some((r, 0)) => self.code.mov(true, to, r),
            Some((r, distance)) => self.code.lea(true, to, Mem::at(r, distance)),
            None => {
                self.code.imm(to, by);
                self.code.alu_mem(Alu::Add, true, to, m);
            }
        }
    }

    /// A register with the value, which nobody writes; of a narrow one, the upper half may be anything.
    pub(super) fn reg(&mut self, value: &mut Value) -> Made<Reg> {
        if value.add == 0
            && let Some(r) = self.register_of(value)
        {
            self.context_escapes |= value.context;
            return Ok(r);
        }
        self.own_reg(value)
    }

    /// A register of its own with the value.
    pub(super) fn own_reg(&mut self, value: &mut Value) -> Made<Reg> {
        let to = match self.owned(value) {
            Some(r) => r,
            None => self.temp()?,
        };
        self.put(value, to);
        self.release_unless_in(value, to);
        self.take(to);
        *value = Value {
            most: value.most,
            ..Value::of(Source::Reg(to), value.wide)
        };
        Ok(to)
    }

    /// A register with the value, the upper half of a narrow one zero.
    pub(super) fn extended_reg(&mut self, value: &mut Value) -> Made<Reg> {
        if value.is_plain() {
            return self.reg(value);
        }
        let Source::Local(local) = value.source else {
            return self.own_reg(value);
        };
        if value.add != 0 {
            return self.own_reg(value);
        }
        let copy = self.free.iter().find(|r| self.copy(*r) == Some(local));
        if let Some(r) = copy {
            self.free.remove(r);
            *value = Value {
                most: value.most,
                ..Value::of(Source::Reg(r), value.wide)
            };
            return Ok(r);
        }
        let r = self.own_reg(value)?;
        self.set_copy(r, Some(local));
        Ok(r)
    }
}
