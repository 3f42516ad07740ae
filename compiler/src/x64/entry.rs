//! How a function begins and ends.

use core::mem::offset_of;

use abi::layout;
use abi::native::{FRAME, IMPORTS, RETURN, TRAP, Vm};
use abi::traps::Trap;
use cost::UNPAID;

use super::control::Frame;
use super::machine::{
    Alu, Flag, Mem, R8, R9, R10, R11, R12, R13, R14, R15, RAX, RBP, RBX, RCX, RDI, RDX, RSI, RSP,
};
use super::value::{Source, Value};
use super::{Cold, Emitter, Room, SCRATCH};
use crate::facts::{Fact, Known};
use crate::image::Text;
use crate::operator::Condition;
use crate::places::{Registers, place};
use crate::registers::{Place, Reg, Regs};
use crate::{Made, Refused};

/// A site that is not known.
const NO_SITE: u32 = u32::MAX;
/// Where arguments come and go, behind the `Vm`.
pub(super) const ARGUMENTS: [Reg; 5] = [RSI, RDX, RCX, R8, R9];
/// Registers that operands have, if there are enough of the others: the first always.
const OPERANDS: [Reg; 3] = [RAX, RCX, RDX];
/// How many more are theirs in a function that cannot do without.
const MORE: usize = 2;
/// What a call of the runtime may change, but for scratch.
pub(super) const VOLATILE: [Reg; 8] = [RAX, RCX, RDX, RSI, RDI, R8, R9, R10];

/// A move of a register, or of what is made of it, with others at once.
#[derive(Clone, Copy)]
pub(super) struct Move {
    pub(super) to: Reg,
    pub(super) from: Reg,
    pub(super) wide: bool,
    pub(super) add: i32,
}

impl Emitter<'_, '_, '_> {
    pub(super) fn begin(&mut self) -> Made<()> {
        self.place_locals();
        self.code.push(RBP);
        self.code.mov(true, RBP, RSP);
        if self.choice.framed {
            self.frame_size_at = Some(self.code.sub_later(RSP));
        }
        if !self.choice.leaf {
            self.code.mov(true, R15, RDI);
        }
        if !self.plan.own_calls.is_empty() {
            let slot = self.slot(0);
            self.code.store(true, slot, R15);
        }
        self.place_params();
        self.load_pinned();
        self.zero_locals();
        if !self.is_called && self.body.params > 0 {
            // Only the runtime calls it, with a pointer to the copy of the context.
            let at = layout::guest_ptr(0).wrapping_sub(layout::CONTEXT_SIZE.into());
            self.has_context = true;
            self.facts.set(
                0,
                Fact {
                    known: Known::Placed(at, true),
                    ..Fact::NOTHING
                },
            );
            self.anchors[0] = Some(0);
        }
        self.facts.forget_changes();
        let label = self.code.label();
        let result = self.body.result;
        self.frames
            .push(Frame::block(label, result, 0, usize::MAX, 0));
        let entry = self.body.costs.entry;
        if self.is_called || entry > UNPAID {
            self.pay(entry)?;
        }
        if self.is_called {
            let limit = self.vm_at(offset_of!(Vm, stack_limit));
            self.code.alu_mem(Alu::Cmp, true, RSP, limit);
            let to = self.trap(Trap::StackOverflow);
            self.code.jump_if(Flag::of(Condition::Below), to);
        }
        Ok(())
    }

    fn place_locals(&mut self) {
        let choice = self.choice;
        let kept = [
            (RBX, true),
            (R12, !self.pays),
            (R13, !choice.stack),
            (R14, !choice.memory),
            (R15, choice.leaf),
        ];
        let mut usable = [RBX; 5];
        let mut count = 0;
        for (r, is_usable) in kept {
            if let Some(place) = usable.get_mut(count).filter(|_| is_usable) {
                *place = r;
                count += 1;
            }
        }
        let kept = usable.get(..count).unwrap_or_default();
        let volatile: &[Reg] = match choice.leaf {
            true => &[RSI, R8, R9, R10],
            false => &[RSI, RDI, R8, R9, R10],
        };
        // The first word is the `Vm`'s where functions of the module are called.
        self.slots = u16::from(!self.plan.own_calls.is_empty());
        let left = if choice.room == Room::Ample { MORE } else { 0 };
        let for_locals = volatile.get(..volatile.len() - left).unwrap_or_default();
        // Those that an instruction wants are operands'.
        let last: &[Reg] = match (self.plan.divides, self.plan.turns) {
            _ if choice.room > Room::Tight => &[],
            (false, false) => &[RDX, RCX],
            (false, true) => &[RDX],
            (true, false) => &[RCX],
            (true, true) => &[],
        };
        let registers = Registers {
            volatile: for_locals,
            kept,
            last,
        };
        self.places = place(self.module.arena, self.plan, &registers, &mut self.slots);
        let mut used = Regs::NONE;
        for place in self.places.iter() {
            if let Place::Reg(r) = place {
                used.insert(*r);
            }
        }
        let all = Regs::of(volatile).or(Regs::of(kept));
        self.temps = all.or(Regs::of(&OPERANDS)).without(used);
        self.free = self.temps;
    }

    /// Parameters to where they lie: first those in memory, then the others at once.
    fn place_params(&mut self) {
        let mut moves = [None; 5];
        let params = self.body.params as u16;
        for ((local, from), entry) in (0..params).zip(ARGUMENTS).zip(&mut moves) {
            // Of a narrow one the upper half is zero, whatever the caller left there.
            let wide = self.body.locals.get(usize::from(local)) == Some(&true);
            match self.place_of(local) {
                Place::None => {}
                Place::Slot(slot) => {
                    if !wide {
                        self.code.mov(false, from, from);
                    }
                    let m = self.slot(slot);
                    self.code.store(true, m, from);
                }
                Place::Reg(to) => {
                    *entry = Some(Move {
                        to,
                        from,
                        wide,
                        add: 0,
                    });
                }
            }
        }
        self.move_at_once(moves);
    }

    /// Moves, none of which sees what another writes.
    pub(super) fn move_at_once(&mut self, mut moves: [Option<Move>; 5]) {
        for entry in &mut moves {
            *entry = entry.filter(|m| m.to != m.from || !m.wide || m.add != 0);
        }
        loop {
            let waits = |m: &Move| {
                let reads = |other: &Move| other.from == m.to && other.to != m.to;
                moves.iter().flatten().any(reads)
            };
            let ready = moves.iter().position(|m| m.is_some_and(|m| !waits(&m)));
            match ready.and_then(|ready| moves.get_mut(ready)?.take()) {
                Some(m) => self.make(m),
                None => {
                    // Only circles are left, if anything is.
                    let Some(from) = moves.iter().flatten().next().map(|m| m.from) else {
                        return;
                    };
                    self.code.mov(true, SCRATCH, from);
                    for m in moves.iter_mut().flatten().filter(|m| m.from == from) {
                        m.from = SCRATCH;
                    }
                }
            }
        }
    }

    fn make(&mut self, m: Move) {
        match m.add {
            0 => self.code.mov(m.wide, m.to, m.from),
            add => self.code.lea(m.wide, m.to, Mem::at(m.from, add)),
        }
    }

    /// Reads what is kept in registers.
    pub(super) fn load_pinned(&mut self) {
        let pinned = [
            (self.choice.memory, R14, offset_of!(Vm, memory)),
            (self.choice.stack, R13, offset_of!(Vm, stack)),
        ];
        for (is_pinned, r, field) in pinned {
            if is_pinned {
                let m = self.vm_at(field);
                self.code.load(true, r, m);
            }
        }
        self.load_fuel();
    }

    fn zero_locals(&mut self) {
        for local in 0..self.body.locals.len() {
            let life = self.plan.lives.get(local);
            let place = self.place_of(local as u16);
            if local >= self.body.params {
                self.facts.set(
                    local,
                    Fact {
                        known: Known::Constant(0),
                        most: 0,
                        checked: 0,
                    },
                );
            }
            if !life.is_some_and(|life| life.is_zeroed) {
                continue;
            }
            match place {
                Place::Reg(r) => self.code.zero(r),
                Place::Slot(slot) => {
                    let m = self.slot(slot);
                    self.code.store_imm(8, m, 0);
                }
                Place::None => {}
            }
        }
    }

    // ---- the budget

    /// Reads what is left of the budget.
    pub(super) fn load_fuel(&mut self) {
        if self.pays {
            let m = self.vm_at(offset_of!(Vm, fuel));
            self.code.load(true, R12, m);
        }
    }

    /// Writes what is left of the budget to where a callee and the runtime find it.
    pub(super) fn store_fuel(&mut self) {
        if self.pays {
            let m = self.vm_at(offset_of!(Vm, fuel));
            self.code.store(true, m, R12);
        }
    }

    /// Pays for what is in no loop, or for a turn of one.
    pub(super) fn pay(&mut self, cost: u64) -> Made<()> {
        if cost == 0 {
            return Ok(());
        }
        let cost = i32::try_from(cost);
        let cost = cost.map_err(|_| Refused::Unsupported("such a dear function"))?;
        self.code.alu_imm(Alu::Sub, true, R12, cost);
        let to = self.trap(Trap::Budget);
        self.code.jump_if(Flag::of(Condition::Below), to);
        Ok(())
    }

    // ---- the end

    /// The register that the function's result is in where it ends.
    pub(super) fn result_register(&self) -> Reg {
        // The `Vm` may still be asked for what is left of the budget.
        match self.choice.leaf && self.pays {
            true => RAX,
            false => RDI,
        }
    }

    /// Ends the function, with its result in its register.
    pub(super) fn leave(&mut self) {
        self.store_fuel();
        match self.body.result {
            Some(_) if self.result_register() == RAX => self.code.mov(true, RDI, RAX),
            Some(_) => {}
            None => self.code.imm(RDI, 0),
        }
        match self.choice.framed {
            true => self.code.leave(),
            false => self.code.pop(RBP),
        }
        let at = self.code.jump_out();
        self.calls.push((at, RETURN));
    }

    /// What ends the run with `trap`.
    pub(super) fn trap(&mut self, trap: Trap) -> super::Label {
        let index = Trap::ALL.iter().position(|one| *one == trap);
        let entry = index.and_then(|index| self.traps.get_mut(index));
        match entry {
            Some(Some(label)) => *label,
            Some(entry) => *entry.insert(self.code.label()),
            None => self.code.label(),
        }
    }

    pub(super) fn finish(mut self, text: &mut Text<'_>) -> Made<()> {
        for index in 0..self.colds.len() {
            if let Some(cold) = self.colds.get(index).copied() {
                self.cold(cold)?;
            }
        }
        for (trap, label) in Trap::ALL.iter().zip(self.traps) {
            let Some(label) = label else { continue };
            self.code.bind(label);
            if !self.choice.leaf {
                self.code.mov(true, RDI, R15);
            }
            self.code.imm(RSI, *trap as u64);
            self.code.imm(RDX, NO_SITE.into());
            let at = self.code.call();
            self.calls.push((at, TRAP));
            self.code.trap();
        }
        let size = (u32::from(self.slots) * 8).next_multiple_of(16);
        if size > FRAME {
            return Err(Refused::Frame(size));
        }
        if let Some(at) = self.frame_size_at {
            self.code.patch(at, size);
        }
        let context = match self.has_context && !self.context_escapes {
            true => self.context_read,
            false => u32::MAX,
        };
        let bytes = self.code.finish()?;
        text.append(&bytes, context, &self.calls, &self.own);
        Ok(())
    }

    /// Asks the runtime about an atomic operation. Its results, and what else is changed, are as on the way in place.
    fn cold(&mut self, cold: Cold) -> Made<()> {
        self.code.bind(cold.from);
        self.store_fuel();
        for (r, slot) in cold.saved.iter().zip(cold.first_slot..) {
            let m = self.slot(slot);
            self.code.store(true, m, r);
        }
        self.arguments(cold.args.iter().flatten());
        self.code.mov(true, RDI, R15);
        let at = self.code.call();
        self.calls.push((at, IMPORTS + cold.import));
        if let Some(r) = cold.result {
            self.code.mov(cold.wide, R11, RAX);
            self.restore(cold);
            self.code.mov(true, r, R11);
        } else {
            self.restore(cold);
        }
        self.load_fuel();
        self.code.jump(cold.back);
        Ok(())
    }

    fn restore(&mut self, cold: Cold) {
        for (r, slot) in cold.saved.iter().zip(cold.first_slot..) {
            let m = self.slot(slot);
            self.code.load(true, r, m);
        }
    }

    /// The value to the register of the result.
    pub(super) fn put_result(&mut self, value: &Value, frame: usize) {
        let to = match frame {
            0 => self.result_register(),
            _ => RAX,
        };
        if to == self.vm && matches!(value.source, Source::Placed(_)) {
            // It is made with the help of the `Vm`.
            self.put(value, RAX);
            self.code.mov(true, to, RAX);
            return;
        }
        self.put(value, to);
    }
}
