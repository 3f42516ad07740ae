//! What is found out about a function before code is made: how long each local lives, and what loops change.
//!
//! One walk forward notes accesses; one backward, from each use to what is before it, finds which locals live where a loop
//! begins: those live all through the loop, to the last branch back. Branches back add nothing to that, for what lives at an outer loop's beginning
//! lives all through that one, with all that is in it.

use crate::arena::{Arena, List};
use crate::body::Body;
use crate::loops::NEVER;
use crate::module::{Kind, Module};
use crate::operator::{Binary, Op};
use crate::{Made, Refused};

/// When a local lives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Life {
    /// From this operator on; what nobody asks for lives nowhere.
    pub(crate) from: u32,
    pub(crate) to: u32,
    /// How often it is used, as loops turn.
    pub(crate) weight: u64,
    /// Whether its first value, zero, is used.
    pub(crate) is_zeroed: bool,
    /// Set once at most, and that outside of all blocks.
    pub(crate) is_steady: bool,
    sets: u8,
}

impl Life {
    const NOWHERE: Self = Self {
        from: u32::MAX,
        to: 0,
        weight: 0,
        is_zeroed: false,
        is_steady: true,
        sets: 0,
    };

    pub(crate) fn is_anywhere(&self) -> bool {
        self.from != u32::MAX
    }
}

/// Sets of locals, in words.
struct Sets<'m> {
    words: usize,
    bits: List<'m, u64>,
}

impl<'m> Sets<'m> {
    fn new(arena: &'m Arena<'m>, locals: usize) -> Self {
        Self {
            words: locals.div_ceil(64).max(1),
            bits: List::new(arena),
        }
    }

    fn row(&self, row: usize) -> &[u64] {
        let from = row * self.words;
        let row = self.bits.get(from..from + self.words);
        row.unwrap_or_default()
    }

    fn row_mut(&mut self, row: usize) -> &mut [u64] {
        let from = row * self.words;
        let row = self.bits.get_mut(from..from + self.words);
        row.unwrap_or_default()
    }

    fn insert(&mut self, row: usize, local: u16) {
        if let Some(word) = self.row_mut(row).get_mut(usize::from(local) / 64) {
            *word |= 1 << (local % 64);
        }
    }

    fn remove(&mut self, row: usize, local: u16) {
        if let Some(word) = self.row_mut(row).get_mut(usize::from(local) / 64) {
            *word &= !(1 << (local % 64));
        }
    }

    /// Adds row `from` to row `to`.
    fn add(&mut self, to: usize, from: usize) {
        for word in 0..self.words {
            let added = self.row(from).get(word).copied().unwrap_or(0);
            if let Some(word) = self.row_mut(to).get_mut(word) {
                *word |= added;
            }
        }
    }

    fn copy(&mut self, to: usize, from: usize) {
        self.row_mut(to).fill(0);
        self.add(to, from);
    }

    fn push_empty(&mut self) {
        for _ in 0..self.words {
            self.bits.push(0);
        }
    }

    fn truncate(&mut self, rows: usize) {
        self.bits.truncate(rows * self.words);
    }

    fn rows(&self) -> usize {
        self.bits.len() / self.words
    }
}

fn members(row: &[u64]) -> impl Iterator<Item = usize> {
    row.iter().enumerate().flat_map(|(index, word)| {
        let word = *word;
        (0..64)
            .filter(move |bit| word >> bit & 1 != 0)
            .map(move |bit| index * 64 + bit)
    })
}

/// What is known of a function beforehand.
pub(crate) struct Plan<'m> {
    pub(crate) lives: List<'m, Life>,
    /// Numbers of the operators that call anybody, but what is done in place.
    pub(crate) calls: List<'m, u32>,
    /// Those that call a function of the module, which saves nothing.
    pub(crate) own_calls: List<'m, u32>,
    pub(crate) has_atomics: bool,
    /// There are divisions.
    pub(crate) divides: bool,
    /// There are shifts by what is not known.
    pub(crate) turns: bool,
    /// Accesses of memory, as loops turn.
    pub(crate) accesses: u64,
    /// Which locals are set in each loop, by its number.
    sets: Sets<'m>,
}

impl<'m> Plan<'m> {
    pub(crate) fn new(module: &Module<'_, 'm>, body: &Body<'m>) -> Made<Self> {
        let arena = module.arena;
        let mut plan = Self {
            lives: List::filled(arena, body.locals.len(), Life::NOWHERE),
            calls: List::new(arena),
            own_calls: List::new(arena),
            has_atomics: false,
            divides: false,
            turns: false,
            accesses: 0,
            sets: Sets::new(arena, body.locals.len()),
        };
        // One for what is in no loop, then one a loop.
        for _ in 0..=body.costs.loops.len() {
            plan.sets.push_empty();
        }
        plan.note_accesses(module, body);
        arena.check()?;
        plan.find_lives(arena, body)?;
        for (index, life) in plan.lives.iter_mut().enumerate() {
            if index < body.params && life.is_anywhere() {
                life.from = 0;
                life.is_zeroed = false;
            }
        }
        arena.check()?;
        Ok(plan)
    }

    /// Locals that are set in loop `number`.
    pub(crate) fn set_in(&self, number: u32) -> impl Iterator<Item = usize> {
        members(self.sets.row(number as usize + 1))
    }

    pub(crate) fn is_live(&self, local: usize, at: usize) -> bool {
        let life = self.lives.get(local);
        life.is_some_and(|life| life.from as usize <= at && at <= life.to as usize)
    }

    fn note_accesses(&mut self, module: &Module<'_, 'm>, body: &Body<'m>) {
        // Loops that go on here: the row of what is set in them, and how far.
        let mut turning: List<'_, (u32, u32)> = List::new(module.arena);
        let mut blocks = 0u32;
        for (at, op) in body.ops.iter().enumerate() {
            while let Some((ended, _)) = turning.last().filter(|(_, span)| (*span as usize) < at) {
                let ended = *ended as usize;
                turning.pop();
                let outer = turning.last().map_or(0, |(outer, _)| *outer);
                self.sets.add(outer as usize, ended);
            }
            let inner = turning.last().map_or(0, |(inner, _)| *inner);
            let weight = 8u64.pow((turning.len() as u32).min(8));
            match *op {
                Op::Block { .. } | Op::If { .. } => blocks += 1,
                Op::Loop { number, .. } => {
                    blocks += 1;
                    let span = body.spans.get(number as usize).copied();
                    if let Some(span) = span.filter(|span| *span != NEVER) {
                        turning.push((number + 1, span));
                    }
                }
                Op::End { .. } => blocks = blocks.saturating_sub(1),
                Op::Get(local) => self.access(local, at, weight),
                Op::Set(local) | Op::Tee(local) => {
                    self.access(local, at, weight);
                    self.sets.insert(inner as usize, local);
                    if let Some(life) = self.lives.get_mut(usize::from(local)) {
                        life.sets = (life.sets + if blocks == 0 { 1 } else { 2 }).min(2);
                        life.is_steady = life.sets < 2;
                    }
                }
                Op::Load { .. } | Op::Store { .. } => {
                    self.accesses = self.accesses.saturating_add(weight);
                }
                Op::Call(index) => self.call(module, index, at),
                Op::Binary(_, Binary::Divide { .. }) => self.divides = true,
                Op::Binary(_, Binary::Shift(_)) => {
                    let by = at.checked_sub(1).and_then(|before| body.op(before));
                    self.turns |= !matches!(by, Some(Op::Const { .. }));
                }
                _ => {}
            }
        }
    }

    fn access(&mut self, local: u16, at: usize, weight: u64) {
        if let Some(life) = self.lives.get_mut(usize::from(local)) {
            life.from = life.from.min(at as u32);
            life.to = at as u32;
            life.weight = life.weight.saturating_add(weight);
        }
    }

    fn call(&mut self, module: &Module<'_, 'm>, index: u32, at: usize) {
        match module.import_of(index).map(|import| import.kind) {
            None => {
                self.own_calls.push(at as u32);
                self.calls.push(at as u32);
            }
            Some(Kind::Atomic(..)) => self.has_atomics = true,
            Some(Kind::Cpu) => {}
            Some(Kind::Host | Kind::Reading | Kind::Trap) => self.calls.push(at as u32),
        }
    }

    /// Walks back, and lets what lives where a loop begins live all through it.
    fn find_lives(&mut self, arena: &'m Arena<'m>, body: &Body<'m>) -> Made<()> {
        // Row 0: what lives here. Then two for each that is open: what lives where branches to it lead, and where its
        // `else` begins.
        let mut live = Sets::new(arena, body.locals.len());
        live.push_empty();
        let target = |live: &Sets<'_>, depth: u32| {
            let open = (live.rows() - 1) / 2;
            let open = open.checked_sub(1 + depth as usize);
            open.map(|open| 1 + 2 * open)
                .ok_or(Refused::Compiler("depths"))
        };
        for (at, op) in body.ops.iter().enumerate().rev() {
            match *op {
                Op::End { is_loop } => {
                    let label = live.rows();
                    live.push_empty();
                    live.push_empty();
                    if !is_loop {
                        live.copy(label, 0);
                    }
                }
                Op::Else => {
                    let label = target(&live, 0)?;
                    live.copy(label + 1, 0);
                    live.copy(0, label);
                }
                Op::If { otherwise, .. } => {
                    let label = target(&live, 0)?;
                    live.add(0, if otherwise == 0 { label } else { label + 1 });
                    live.truncate(label);
                }
                Op::Block { .. } => {
                    let label = target(&live, 0)?;
                    live.truncate(label);
                }
                Op::Loop { number, .. } => {
                    let label = target(&live, 0)?;
                    live.truncate(label);
                    let span = body.spans.get(number as usize).copied();
                    for local in members(live.row(0)) {
                        if let Some(life) = self.lives.get_mut(local) {
                            life.from = life.from.min(at as u32);
                            life.to = life.to.max(span.unwrap_or(NEVER));
                        }
                    }
                }
                Op::Branch(depth) => {
                    let label = target(&live, depth)?;
                    live.copy(0, label);
                }
                Op::BranchIf(depth) => {
                    let label = target(&live, depth)?;
                    live.add(0, label);
                }
                Op::BranchTable { first, count } => {
                    live.row_mut(0).fill(0);
                    for depth in body.targets_of(first, count) {
                        let label = target(&live, *depth)?;
                        live.add(0, label);
                    }
                }
                Op::Return | Op::Unreachable => live.row_mut(0).fill(0),
                Op::Get(local) => live.insert(0, local),
                Op::Set(local) | Op::Tee(local) => live.remove(0, local),
                _ => {}
            }
        }
        for local in members(live.row(0)) {
            if let Some(life) = self.lives.get_mut(local) {
                life.from = 0;
                life.is_zeroed = true;
            }
        }
        Ok(())
    }
}
