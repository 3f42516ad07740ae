//! Control flow.

use abi::traps::Trap;

use super::Emitter;
use super::encode::Label;
use super::machine::{Alu, Flag, RAX};
use crate::arena::List;
use crate::facts::{Fact, Moment};
use crate::operator::{Condition, Op, Wide};
use crate::registers::Reg;
use crate::{Made, Refused};

/// An instruction that is open.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    /// Where branches to it go.
    label: Label,
    is_loop: bool,
    result: Option<Wide>,
    /// Operands below it.
    height: usize,
    /// Where an `if` goes on that is not taken, until its `else`.
    otherwise: Option<Label>,
    /// Whether a branch goes to its end.
    is_used: bool,
    /// Whether the condition of an `if` is known.
    folded: Option<bool>,
    has_else: bool,
    /// Whether the part before `else` falls through.
    fell: bool,
    /// The number of what opened it.
    opener: usize,
    /// When it was opened.
    opened: Moment,
    /// When the first branch to its end was made.
    left: Moment,
}

impl Frame {
    pub(super) fn block(
        label: Label,
        result: Option<Wide>,
        height: usize,
        opener: usize,
        opened: Moment,
    ) -> Self {
        Self {
            label,
            is_loop: false,
            result,
            height,
            otherwise: None,
            is_used: false,
            folded: None,
            has_else: false,
            fell: false,
            opener,
            opened,
            left: opened,
        }
    }

    /// Whether both parts of an `if` are compiled.
    fn is_if(&self) -> bool {
        self.otherwise.is_some() || (self.has_else && self.folded.is_none())
    }

    fn takes_result(&self) -> bool {
        !self.is_loop && self.result.is_some()
    }
}

/// How many instructions a jump is followed through, and how far out it is looked for what happened there.
const NEAR: usize = 8;

impl Emitter<'_, '_, '_> {
    pub(super) fn control(&mut self, op: Op) -> Made<()> {
        match op {
            Op::Block { result, .. } => self.open(result),
            Op::Loop { number, result, .. } => self.open_loop(number, result),
            Op::If { result, .. } => self.open_if_number(result),
            Op::Else => self.otherwise(true),
            Op::End { .. } => self.end(true),
            Op::Branch(depth) => self.branch(depth),
            Op::BranchIf(depth) => self.branch_if_number(depth),
            Op::BranchTable { first, count } => self.branch_table(first, count),
            Op::Return => self.branch(self.frames.len().saturating_sub(1) as u32),
            _ => {
                let to = self.trap(Trap::Unreachable);
                self.code.jump(to);
                self.dead = Some(0);
                Ok(())
            }
        }
    }

    /// Passes over what is never reached.
    pub(super) fn skip(&mut self, op: Op) -> Made<()> {
        let depth = self.dead.unwrap_or(0);
        match op {
            Op::Block { .. } | Op::Loop { .. } | Op::If { .. } => self.dead = Some(depth + 1),
            Op::End { .. } if depth > 0 => self.dead = Some(depth - 1),
            Op::End { .. } => {
                self.dead = None;
                self.end(false)?;
            }
            Op::Else if depth == 0 => {
                self.dead = None;
                self.otherwise(false)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn frame(&mut self, at: usize) -> Made<&mut Frame> {
        self.frames.get_mut(at).ok_or(Refused::Compiler("frames"))
    }

    /// The frame that many levels out.
    fn outer(&self, depth: u32) -> Made<usize> {
        let at = self.frames.len().checked_sub(1 + depth as usize);
        at.ok_or(Refused::Compiler("depths"))
    }

    // ---- beginnings

    /// Opens a block. Operands below it depend on nothing that changes in it.
    pub(super) fn open(&mut self, result: Option<Wide>) -> Made<()> {
        self.flush_all()?;
        let label = self.code.label();
        let (height, opened) = (self.stack.len(), self.facts.moment());
        let frame = Frame::block(label, result, height, self.at, opened);
        self.frames.push(frame);
        Ok(())
    }

    fn open_loop(&mut self, number: u32, result: Option<Wide>) -> Made<()> {
        self.flush_all()?;
        for local in self.plan.set_in(number) {
            let fact = self.facts.of(local);
            self.lost(local, fact);
            self.facts.set(local, Fact::NOTHING);
        }
        self.open(result)?;
        let at = self.outer(0)?;
        let frame = self.frame(at)?;
        frame.is_loop = true;
        let label = frame.label;
        self.code.bind(label);
        self.loops += 1;
        let cost = self.body.costs.loops.get(number as usize).copied();
        self.pay(cost.ok_or(Refused::Compiler("costs"))?)
    }

    /// Nothing is known of a local any more; if it may point to the context, everything may be done with that.
    fn lost(&mut self, local: usize, fact: Fact) {
        let life = self.plan.lives.get(local);
        let is_used = life.is_some_and(|life| life.to as usize > self.at);
        self.context_escapes |= fact.is_context() && is_used;
    }

    fn open_if_number(&mut self, result: Option<Wide>) -> Made<()> {
        let mut value = self.pop()?;
        if let Some(known) = value.known() {
            self.open(result)?;
            let at = self.outer(0)?;
            self.frame(at)?.folded = Some(known != 0);
            if known == 0 {
                self.dead = Some(0);
            }
            return Ok(());
        }
        let r = self.reg(&mut value)?;
        self.code.test(false, r);
        self.release(&value);
        self.open_if(result, Condition::NotEqual)
    }

    /// `if`, flags being set. Nothing here changes them before the jump.
    pub(super) fn open_if(&mut self, result: Option<Wide>, condition: Condition) -> Made<()> {
        self.open(result)?;
        let at = self.outer(0)?;
        let has_else =
            matches!(self.body.op(self.at), Some(Op::If { otherwise, .. }) if otherwise != 0);
        let to = if has_else {
            let label = self.code.label();
            self.frame(at)?.otherwise = Some(label);
            label
        } else {
            self.thread(at)?
        };
        self.code.jump_if(Flag::of(condition.negated()), to);
        Ok(())
    }

    // ---- branches

    /// A branch goes to the end of frame `at`, or back to its beginning.
    fn uses_label(&mut self, at: usize) -> Made<Label> {
        let now = self.facts.moment();
        let inner = self.frames.len() - 1 - at;
        let mut left = now;
        for frame in self
            .frames
            .get(at + 1..)
            .unwrap_or_default()
            .iter()
            .rev()
            .take(NEAR)
        {
            if frame.is_if() {
                left = left.min(frame.opened);
            } else if frame.is_used {
                left = left.min(frame.left);
            }
        }
        let frame = self.frame(at)?;
        if !frame.is_loop && !frame.is_used {
            frame.is_used = true;
            // Whoever is inside must not go back less far; where that is not looked up, all since the beginning is doubted.
            // So it is for an `if`, of which the other part begins there.
            frame.left = if frame.is_if() || inner > NEAR {
                frame.opened
            } else {
                left
            };
        }
        Ok(frame.label)
    }

    /// Where a jump to the end of frame `at` ends up, for jumps and ends may follow.
    fn thread(&mut self, mut at: usize) -> Made<Label> {
        for _ in 0..NEAR {
            let frame = *self.frame(at)?;
            if frame.is_loop || frame.result.is_some() || at == 0 {
                break;
            }
            let end = match self.body.op(frame.opener) {
                Some(Op::Block { end, .. } | Op::If { end, .. }) => end as usize,
                _ => break,
            };
            let outer = *self.frame(at - 1)?;
            match self.body.op(end + 1) {
                Some(Op::Branch(depth)) => {
                    let Some(to) = (at - 1).checked_sub(depth as usize) else {
                        break;
                    };
                    if self.frame(to)?.takes_result() {
                        break;
                    }
                    at = to;
                }
                Some(Op::End { .. } | Op::Else)
                    if at > 1 && !outer.is_loop && outer.result.is_none() =>
                {
                    at -= 1;
                }
                _ => break,
            }
        }
        self.uses_label(at)
    }

    /// The result of frame `at` to where its end expects it.
    fn give_result(&mut self, at: usize) -> Made<()> {
        if self.frame(at)?.takes_result()
            && let Some(value) = self.stack.last().copied()
        {
            self.put_result(&value, at);
        }
        Ok(())
    }

    fn jump_to(&mut self, at: usize) -> Made<()> {
        self.give_result(at)?;
        let to = match self.frame(at)?.takes_result() {
            true => self.uses_label(at)?,
            false => self.thread(at)?,
        };
        self.code.jump(to);
        Ok(())
    }

    fn branch(&mut self, depth: u32) -> Made<()> {
        let at = self.outer(depth)?;
        self.jump_to(at)?;
        self.dead = Some(0);
        Ok(())
    }

    fn branch_if_number(&mut self, depth: u32) -> Made<()> {
        let mut value = self.pop()?;
        match value.known() {
            Some(0) => Ok(()),
            Some(_) => self.branch(depth),
            None => {
                let r = self.reg(&mut value)?;
                self.code.test(false, r);
                self.release(&value);
                self.branch_if(depth, Condition::NotEqual)
            }
        }
    }

    /// `br_if`, flags being set.
    pub(super) fn branch_if(&mut self, depth: u32, condition: Condition) -> Made<()> {
        let at = self.outer(depth)?;
        if !self.frame(at)?.takes_result() {
            let to = self.thread(at)?;
            self.code.jump_if(Flag::of(condition), to);
            return Ok(());
        }
        let on = self.code.label();
        self.code.jump_if(Flag::of(condition.negated()), on);
        self.jump_to(at)?;
        self.code.bind(on);
        Ok(())
    }

    fn branch_table(&mut self, first: u32, count: u32) -> Made<()> {
        let mut value = self.pop()?;
        let targets = self.body.targets_of(first, count);
        let known = value.known().map(|known| known.min(count.into()) as usize);
        if let Some(known) = known {
            let depth = targets.get(known).copied();
            return self.branch(depth.ok_or(Refused::Compiler("targets"))?);
        }
        let r = self.reg(&mut value)?;
        // From which index on, where to.
        let mut ranges: List<'_, (u32, u32)> = List::new(self.module.arena);
        for (case, depth) in (0..).zip(targets) {
            if ranges.last().is_none_or(|(_, last)| last != depth) {
                ranges.push((case, *depth));
            }
        }
        self.branch_by_halves(r, &ranges)?;
        self.release(&value);
        self.dead = Some(0);
        Ok(())
    }

    /// Finds the range of `r` by halves: no jump is indirect, and no table so long that its end is dear.
    fn branch_by_halves(&mut self, r: Reg, ranges: &[(u32, u32)]) -> Made<()> {
        self.module.arena.check()?;
        let (lower, upper) = ranges.split_at(ranges.len() / 2);
        let (Some((_, lowest)), Some((bound, depth))) = (lower.first(), upper.first()) else {
            let (_, depth) = ranges.first().ok_or(Refused::Compiler("targets"))?;
            let at = self.outer(*depth)?;
            return self.jump_to(at);
        };
        self.code.alu_imm(Alu::Cmp, false, r, *bound as i32);
        for (half, depth, other, condition) in [
            (lower, *lowest, upper, Condition::Below),
            (upper, *depth, lower, Condition::AboveOrEqual),
        ] {
            let at = self.outer(depth)?;
            if half.len() == 1 && !self.frame(at)?.takes_result() {
                let to = self.thread(at)?;
                self.code.jump_if(Flag::of(condition), to);
                return self.branch_by_halves(r, other);
            }
        }
        let above = self.code.label();
        self.code.jump_if(Flag::of(Condition::AboveOrEqual), above);
        self.branch_by_halves(r, lower)?;
        self.code.bind(above);
        self.branch_by_halves(r, upper)
    }

    // ---- ends

    /// `else`; `reached` if what is before it falls through.
    fn otherwise(&mut self, reached: bool) -> Made<()> {
        let at = self.outer(0)?;
        let frame = self.frame(at)?;
        frame.has_else = true;
        let (folded, height, opened) = (frame.folded, frame.height, frame.opened);
        match folded {
            Some(true) => {
                frame.fell = reached;
                self.dead = Some(0);
                return Ok(());
            }
            Some(false) => return self.drop_to(height),
            None => {}
        }
        if reached {
            self.jump_to(at)?;
        }
        self.drop_to(height)?;
        self.settled = self.stack.len();
        let label = self.frame(at)?.otherwise.take();
        self.code.bind(label.ok_or(Refused::Compiler("else"))?);
        self.forget_copies();
        self.facts.back_to(opened);
        Ok(())
    }

    /// `end`; `reached` as in [`Self::otherwise`].
    fn end(&mut self, reached: bool) -> Made<()> {
        let at = self.outer(0)?;
        let frame = *self.frame(at)?;
        let reached = match (frame.folded, frame.has_else) {
            (Some(true), true) => frame.fell,
            (Some(false), false) => true,
            _ => reached,
        };
        if at == 0 {
            return self.end_function(frame, reached);
        }
        if frame.is_used && !frame.is_loop {
            if reached {
                self.give_result(at)?;
            }
            self.drop_to(frame.height)?;
            self.code.bind(frame.label);
            self.forget_copies();
            self.meet(frame.left);
            self.frames.pop();
            if let Some(wide) = frame.result {
                self.take(RAX);
                self.push_reg(RAX, wide, u64::MAX)?;
            }
            return Ok(());
        }
        self.frames.pop();
        self.loops -= u32::from(frame.is_loop);
        if !reached {
            self.drop_to(frame.height)?;
            self.dead = Some(0);
        }
        Ok(())
    }

    /// What was set since `left` is not known any more.
    fn meet(&mut self, left: Moment) {
        let (plan, here) = (self.plan, self.at);
        let mut escapes = false;
        self.facts.meet(left, |local, fact| {
            let life = plan.lives.get(local);
            let is_used = life.is_some_and(|life| life.to as usize > here);
            escapes |= fact.is_context() && is_used;
        });
        self.context_escapes |= escapes;
    }

    fn end_function(&mut self, frame: Frame, reached: bool) -> Made<()> {
        if !reached && !frame.is_used {
            return Ok(());
        }
        if reached && frame.result.is_some() {
            let value = self.pop()?;
            self.put_result(&value, 0);
            self.release(&value);
        }
        if frame.is_used {
            self.code.bind(frame.label);
        }
        self.leave();
        Ok(())
    }
}
