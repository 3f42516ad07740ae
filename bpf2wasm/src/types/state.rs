//! The classes of all registers and stack slots at one point.

use super::lattice::Class;
use crate::isa::insn::{FP, REGISTERS};

/// Bytes of a slot, and how many a frame has (the kernel's 512 bytes).
const SLOT: i32 = 8;
const SLOTS: usize = 64;

/// The state at one point of a function.
#[derive(Clone, Copy)]
pub(super) struct State {
    regs: [Class; REGISTERS],
    /// Slot `i` is the 8 bytes at `r10 - 8 * (i + 1)`.
    slots: [Class; SLOTS],
    /// How many slots were written so far, from r10 down; the others hold scalars.
    written: usize,
}

impl State {
    /// The state at entry, with r1… as given.
    pub(super) fn entry(args: &[Class]) -> Self {
        let mut state = State {
            regs: [Class::Scalar; REGISTERS],
            slots: [Class::Scalar; SLOTS],
            written: 0,
        };
        state.regs[1..=args.len()].copy_from_slice(args);
        state.regs[usize::from(FP)] = Class::Stack(Some(0));
        state
    }

    /// Joins `other` in; whether anything changed.
    pub(super) fn join(&mut self, other: &State) -> bool {
        self.written = self.written.max(other.written);
        let mine = self.slots[..self.written].iter_mut().chain(&mut self.regs);
        let other = other.slots[..self.written].iter().chain(&other.regs);
        let mut changed = false;
        for (mine, other) in mine.zip(other) {
            if mine != other {
                let joined = mine.join(*other);
                changed |= core::mem::replace(mine, joined) != joined;
            }
        }
        changed
    }

    pub(super) fn reg(&self, register: u8) -> Class {
        self.regs[usize::from(register)]
    }

    pub(super) fn set(&mut self, register: u8, class: Class) {
        self.regs[usize::from(register)] = class;
    }

    /// The class of the `bytes` at `offset` from r10.
    pub(super) fn load(&self, offset: i32, bytes: u32) -> Class {
        match slot(offset) {
            Some(slot) if bytes == 8 && offset % SLOT == 0 => self.slots[slot],
            _ => Class::Scalar,
        }
    }

    /// Notes a store of `class` to the `bytes` at `offset` from r10.
    pub(super) fn store(&mut self, offset: i32, bytes: u32, class: Class) {
        let whole = bytes == 8 && offset % SLOT == 0;
        self.overwrite(
            offset,
            i64::from(bytes),
            if whole { class } else { Class::Scalar },
        );
    }

    /// Notes that the `bytes` from `offset` on may hold anything of `class`.
    pub(super) fn overwrite(&mut self, offset: i32, bytes: i64, class: Class) {
        let end = i64::from(offset).saturating_add(bytes).min(0);
        let mut at = i64::from(offset.max(-SLOT * SLOTS as i32));
        while at < end {
            if let Some(slot) = slot(at as i32) {
                self.slots[slot] = class;
                self.written = self.written.max(slot + 1);
            }
            at = (at.div_euclid(8) + 1) * 8;
        }
    }

    /// Notes that all of the frame may have been written.
    pub(super) fn forget_frame(&mut self) {
        self.slots = [Class::Unknown; SLOTS];
        self.written = SLOTS;
    }
}

fn slot(offset: i32) -> Option<usize> {
    let slot = (-1 - offset).checked_div(SLOT)?;
    usize::try_from(slot)
        .ok()
        .filter(|s| *s < SLOTS && offset < 0)
}
