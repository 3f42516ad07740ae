//! Atomic operations in place.

use abi::imports::AtomicOp;
use abi::layout;

use super::address::Address;
use super::encode::Label;
use super::entry::VOLATILE;
use super::machine::{Alu, Flag, Mem, R14, RAX, Turn};
use super::value::{Source, Value};
use super::{Cold, Emitter, SCRATCH};
use crate::operator::{Condition, Op, Wide};
use crate::registers::{Place, Reg, Regs};
use crate::{Made, Refused};

fn alu(op: AtomicOp) -> Option<Alu> {
    match op {
        AtomicOp::Add => Some(Alu::Add),
        AtomicOp::Or => Some(Alu::Or),
        AtomicOp::And => Some(Alu::And),
        AtomicOp::Xor => Some(Alu::Xor),
        AtomicOp::Xchg | AtomicOp::Cmpxchg => None,
    }
}

impl Emitter<'_, '_, '_> {
    /// An atomic operation in place, where the pointer is good; else the runtime's function, which says what is wrong.
    pub(super) fn atomic(&mut self, index: u32, op: AtomicOp, bytes: u8) -> Made<()> {
        if !self.choice.memory {
            return Err(Refused::Compiler("atomics"));
        }
        let is_dropped = self.body.op(self.at + 1) == Some(Op::Drop);
        let is_simple = is_dropped && alu(op).is_some();
        let exchanges = op == AtomicOp::Cmpxchg;
        let takes_rax =
            exchanges || (!is_simple && matches!(alu(op), Some(alu) if alu != Alu::Add));
        let mut new = if exchanges { Some(self.pop()?) } else { None };
        let (mut operand, mut pointer) = (self.pop()?, self.pop()?);
        self.context_escapes |= pointer.context || operand.context;
        let known = self.known_address(&pointer, bytes);
        let lies = self.register_of(&pointer).is_some() || self.memory_of(&pointer).is_some();
        let is_there = lies && pointer.add == 0 && self.owned(&pointer).is_none();
        if takes_rax && known.is_none() && !is_there {
            // There are not registers enough for it, too.
            pointer = self.keep(&pointer)?;
        }
        if !(is_simple && operand.small().is_some()) {
            self.reg(&mut operand)?;
        }
        if let Some(new) = &mut new {
            self.context_escapes |= new.context;
            self.reg(new)?;
            self.out_of_rax(new)?;
        }
        if takes_rax {
            if !exchanges {
                self.out_of_rax(&mut operand)?;
            }
            if operand.source != Source::Reg(RAX) {
                self.claim(RAX)?;
            }
        }
        let (mut cold, m) = match known {
            Some(address) => (None, self.resolve(address)),
            None => self.atomic_address(&mut pointer, bytes)?,
        };
        let wide = bytes == 8;
        let result = match new {
            Some(new) => Some(self.compare_and_exchange(wide, m, &operand, &new)?),
            None if is_simple => {
                self.change(wide, op, m, &operand)?;
                None
            }
            None => Some(self.fetch(wide, op, m, &operand, &mut cold)?),
        };
        if let Some(from) = cold {
            let args = [Some(pointer), Some(operand), new];
            self.note_cold(index, from, args, result, wide)?;
        }
        for value in [Some(pointer), Some(operand), new].iter().flatten() {
            if result.is_none_or(|r| value.source != Source::Reg(r)) {
                self.release(value);
            }
        }
        match result {
            Some(r) => {
                self.take(r);
                let most = if wide { u64::MAX } else { u32::MAX.into() };
                self.push_reg(r, true, most)
            }
            None => self.push(Value::constant(true, 0)),
        }
    }

    /// Elsewhere, if it is in `rax`.
    fn out_of_rax(&mut self, value: &mut Value) -> Made<()> {
        if value.source == Source::Reg(RAX) {
            let to = self.temp()?;
            self.code.mov(true, to, RAX);
            self.free.insert(RAX);
            value.source = Source::Reg(to);
        }
        Ok(())
    }

    /// Where a pointer leads that is known, or placed, and good.
    fn known_address(&mut self, pointer: &Value, bytes: u8) -> Option<Address> {
        let width = u64::from(bytes);
        match pointer.source {
            Source::Constant(pointer) => {
                let at = pointer.wrapping_sub(layout::guest_ptr(0));
                let last = u64::from(self.module.memory).checked_sub(width)?;
                let is_good = at.is_multiple_of(width) && at <= last;
                let disp = i32::try_from(at).ok().filter(|_| is_good)?;
                Some(Address::in_memory(None, disp))
            }
            Source::Placed(by) => {
                // With the tag, and what it is placed by is small.
                let at = by.wrapping_sub(layout::guest_ptr(0)) as i64;
                let at = i32::try_from(at)
                    .ok()
                    .filter(|at| at % i32::from(bytes) == 0)?;
                let disp = self.in_area(at as u64, 0, bytes)?;
                Some(Address::in_area(disp))
            }
            _ => None,
        }
    }

    /// Where the pointer leads, and where to go if that is bad.
    fn atomic_address(&mut self, pointer: &mut Value, bytes: u8) -> Made<(Option<Label>, Mem)> {
        let memory = u64::from(self.module.memory);
        let width = u64::from(bytes);
        // Rotated by the width's bits, a good pointer is its tag and an index below the number of such cells.
        let cells = (memory / width) as i32;
        let bits = width.trailing_zeros() as u8;
        let bad = self.code.label();
        let from = self.memory_of(pointer);
        let from = match from {
            Some(m) => Err(m),
            None => Ok(self.reg(pointer)?),
        };
        // One that the operation may want: what it is taken from has to be elsewhere on both ways.
        let spare = self.temp()?;
        self.free.insert(spare);
        self.code.imm(SCRATCH, layout::guest_ptr(0).wrapping_neg());
        match from {
            Ok(r) => self.code.alu(Alu::Add, true, SCRATCH, r),
            Err(m) => self.code.alu_mem(Alu::Add, true, SCRATCH, m),
        }
        self.code.turn(Turn::RotateRight, true, SCRATCH, bits);
        self.code.alu_imm(Alu::Cmp, true, SCRATCH, cells);
        self.code.jump_if(Flag::of(Condition::AboveOrEqual), bad);
        match from {
            Ok(r) => self.code.mov(false, SCRATCH, r),
            Err(m) => self.code.load(false, SCRATCH, m),
        }
        let m = Mem {
            base: R14,
            index: Some(SCRATCH),
            disp: 0,
        };
        Ok((Some(bad), m))
    }

    /// An operation of which nobody asks for what was there.
    fn change(&mut self, wide: Wide, op: AtomicOp, m: Mem, operand: &Value) -> Made<()> {
        let alu = alu(op).ok_or(Refused::Compiler("atomics"))?;
        match (operand.small(), self.register_of(operand)) {
            (Some(small), _) => self.code.lock_alu_imm(alu, wide, m, small),
            (None, Some(r)) => self.code.lock_alu(alu, wide, m, r),
            (None, None) => return Err(Refused::Compiler("atomics")),
        }
        Ok(())
    }

    /// An operation that gives what was there; the register of that. Where another CPU came in between, the runtime does it:
    /// nobody pays for a loop here.
    fn fetch(
        &mut self,
        wide: Wide,
        op: AtomicOp,
        m: Mem,
        operand: &Value,
        cold: &mut Option<Label>,
    ) -> Made<Reg> {
        let alu = match alu(op) {
            Some(alu) if alu != Alu::Add => alu,
            other => {
                let to = match self.owned(operand) {
                    Some(r) => r,
                    None => {
                        let to = self.temp()?;
                        self.put(operand, to);
                        to
                    }
                };
                match other {
                    Some(_) => self.code.exchange_add(wide, m, to),
                    None => self.code.exchange(wide, m, to),
                }
                return Ok(to);
            }
        };
        let operand = self.register_of(operand);
        let operand = operand.ok_or(Refused::Compiler("atomics"))?;
        let changed = self.temp()?;
        self.code.load(wide, RAX, m);
        self.code.mov(wide, changed, RAX);
        self.code.alu(alu, wide, changed, operand);
        self.code.compare_exchange(wide, m, changed);
        let lost = *cold.get_or_insert_with(|| self.code.label());
        self.code.jump_if(Flag::of(Condition::NotEqual), lost);
        self.free.insert(changed);
        Ok(RAX)
    }

    fn compare_and_exchange(
        &mut self,
        wide: Wide,
        m: Mem,
        expected: &Value,
        new: &Value,
    ) -> Made<Reg> {
        self.put(expected, RAX);
        let new = self.register_of(new);
        let new = new.ok_or(Refused::Compiler("atomics"))?;
        self.code.compare_exchange(wide, m, new);
        if !wide {
            // If it was as expected, the upper half is whatever that had there.
            self.code.mov(false, RAX, RAX);
        }
        Ok(RAX)
    }

    /// The way on which the runtime is asked, which comes back here.
    fn note_cold(
        &mut self,
        import: u32,
        from: Label,
        args: [Option<Value>; 3],
        result: Option<Reg>,
        wide: Wide,
    ) -> Made<()> {
        let back = self.code.label();
        self.code.bind(back);
        // A call on that way changes registers that are nobody's, too, and nobody saves those.
        self.forget_copies();
        let mut lives = Regs::NONE;
        for (local, place) in self.places.iter().enumerate() {
            if let Place::Reg(r) = place
                && self.plan.is_live(local, self.at)
            {
                lives.insert(*r);
            }
        }
        for value in self.stack.get(self.settled..).unwrap_or_default() {
            // What is placed may be made of a local that is not read again itself.
            let place = value.via.map_or(Place::None, |via| self.place_of(via));
            if let Place::Reg(r) = place {
                lives.insert(r);
            }
            if let Some(r) = self.register_of(value) {
                lives.insert(r);
            }
        }
        let mut saved = Regs::NONE;
        for r in VOLATILE {
            if lives.has(r) && result != Some(r) {
                saved.insert(r);
            }
        }
        let mut first_slot = self.cold_slots.unwrap_or(0);
        if saved != Regs::NONE && self.cold_slots.is_none() {
            first_slot = self.slots;
            self.cold_slots = Some(first_slot);
            self.slots += VOLATILE.len() as u16;
        }
        self.colds.push(Cold {
            from,
            back,
            saved,
            first_slot,
            import,
            args,
            result,
            wide,
        });
        Ok(())
    }
}
