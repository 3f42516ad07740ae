//! Loads and stores, and when they need no check.

use core::mem::offset_of;

use abi::layout;
use abi::native::Vm;
use abi::traps::Trap;

use super::machine::{Alu, Flag, Mem, R13, R14};
use super::value::{Source, Value};
use super::{Emitter, SCRATCH};
use crate::facts::Fact;
use crate::operator::{Condition, Wide};
use crate::registers::Reg;
use crate::{Made, Refused};

/// A checked address: relative to memory, or to the stack.
#[derive(Clone, Copy)]
pub(super) struct Address {
    in_area: bool,
    index: Option<Reg>,
    disp: i32,
}

impl Address {
    pub(super) fn in_area(disp: i32) -> Self {
        Self {
            in_area: true,
            index: None,
            disp,
        }
    }

    pub(super) fn in_memory(index: Option<Reg>, disp: i32) -> Self {
        Self {
            in_area: false,
            index,
            disp,
        }
    }
}

impl Emitter<'_, '_, '_> {
    pub(super) fn load(&mut self, wide: Wide, bytes: u8, signed: bool, offset: u32) -> Made<()> {
        let mut value = self.pop()?;
        let Some(address) = self.address(&mut value, offset, bytes)? else {
            return self.out_of_bounds();
        };
        let to = self.target(&value, None)?;
        let m = self.resolve(address);
        self.code.load_extended(wide, bytes, signed, to, m);
        self.release_unless_in(&value, to);
        let most = match signed {
            true => u64::MAX,
            false => u64::MAX >> (64 - 8 * u32::from(bytes)),
        };
        self.push_reg(to, wide, most)
    }

    pub(super) fn store(&mut self, bytes: u8, offset: u32) -> Made<()> {
        let (mut value, mut at) = (self.pop()?, self.pop()?);
        let number = match value.known() {
            Some(number) if bytes < 8 => Some(number as i32),
            _ => value.small(),
        };
        if number.is_none() {
            self.reg(&mut value)?;
        }
        let Some(address) = self.address(&mut at, offset, bytes)? else {
            return self.out_of_bounds();
        };
        let m = self.resolve(address);
        match (number, self.register_of(&value)) {
            (Some(number), _) => self.code.store_imm(bytes, m, number),
            (None, Some(r)) => self.code.store_bytes(bytes, m, r),
            (None, None) => return Err(Refused::Compiler("store")),
        }
        self.release(&value);
        self.release(&at);
        Ok(())
    }

    /// An access that is never inside.
    fn out_of_bounds(&mut self) -> Made<()> {
        let to = self.trap(Trap::OutOfBounds);
        self.code.jump(to);
        self.dead = Some(0);
        Ok(())
    }

    /// Checks `bytes` bytes at `value + offset`; `None` if they are never inside.
    fn address(&mut self, value: &mut Value, offset: u32, bytes: u8) -> Made<Option<Address>> {
        let end = u64::from(offset) + u64::from(bytes);
        if let Source::Placed(by) = value.source
            && let Some(disp) = self.in_area(by, offset, bytes)
        {
            return Ok(Some(Address::in_area(disp)));
        }
        let memory = u64::from(self.module.memory);
        let Some(last) = memory.checked_sub(end) else {
            return Ok(None);
        };
        if let Some(known) = value.known()
            && known <= last
            && let Ok(disp) = i32::try_from(known + u64::from(offset))
        {
            return Ok(Some(Address::in_memory(None, disp)));
        }
        let disp = i32::try_from(offset);
        let disp = disp.map_err(|_| Refused::Unsupported("offsets of two gigabytes"))?;
        let index = self.checked(value, end, last)?;
        Ok(Some(Address::in_memory(Some(index), disp)))
    }

    /// A register with an index that is not above `last`, so that memory up to `end` behind it is inside.
    fn checked(&mut self, value: &mut Value, end: u64, last: u64) -> Made<Reg> {
        let local = match value.source {
            Source::Local(local) if value.add == 0 => Some(usize::from(local)),
            _ => None,
        };
        let most = value.most;
        let index = self.extended_reg(value)?;
        let fact = local.map(|local| self.facts.of(local));
        if most <= last || fact.is_some_and(|fact| fact.checked >= end) {
            return Ok(index);
        }
        self.code
            .alu_imm(Alu::Cmp, false, index, last as u32 as i32);
        let to = self.trap(Trap::OutOfBounds);
        self.code.jump_if(Flag::of(Condition::Above), to);
        if let (Some(local), Some(fact)) = (local, fact) {
            let checked = Fact {
                checked: end,
                ..fact
            };
            self.facts.learn(local, checked);
            if self.frames.len() <= 1 {
                self.facts.forget_changes();
            }
        }
        Ok(index)
    }

    /// How far from the stack's base such an access lies, if it lies in the CPU's own area.
    pub(super) fn in_area(&mut self, by: u64, offset: u32, bytes: u8) -> Option<i32> {
        let placed = i64::from(by as u32 as i32);
        let first = -i64::from(layout::CONTEXT_SIZE);
        let end = i64::from(layout::STACK_SIZE + layout::KEYS_SIZE);
        let at = placed + i64::from(offset);
        // The address itself too, so that its sum did not wrap.
        if !(first..end).contains(&placed) || at + i64::from(bytes) > end {
            return None;
        }
        if at < 0 {
            // What lies above the context is the stack.
            let read = at + i64::from(bytes) + i64::from(layout::CONTEXT_SIZE);
            self.context_read = self.context_read.max(read as u32);
        }
        i32::try_from(at).ok()
    }

    /// How much an address's register is worth, here in loops.
    fn weight(&self) -> u64 {
        4u64.pow(self.loops.min(8))
    }

    /// The place itself, for the next instruction.
    pub(super) fn resolve(&mut self, address: Address) -> Mem {
        let weight = self.weight();
        let (uses, pinned, r, field) = match address.in_area {
            true => (
                &mut self.stack_uses,
                self.choice.stack,
                R13,
                offset_of!(Vm, stack),
            ),
            false => (
                &mut self.memory_uses,
                self.choice.memory,
                R14,
                offset_of!(Vm, memory),
            ),
        };
        *uses = uses.saturating_add(weight);
        let base = if pinned {
            r
        } else {
            let m = self.vm_at(field);
            self.code.load(true, SCRATCH, m);
            SCRATCH
        };
        Mem {
            base,
            index: address.index,
            disp: address.disp,
        }
    }
}
