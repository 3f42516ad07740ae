//! A function's blocks, and an order to walk them in: each behind all that lead to it, but for edges that go back.

use alloc::vec::Vec;

use crate::decode::decode;
use crate::insn::{Flow, Op};
use crate::layout::{Callee, Layout, Span, push};
use crate::refusal::{Broken, NO_MEMORY, Refusal, Rule};

/// Where control may leave its straight way.
#[derive(Clone, Copy, Debug)]
struct Jump {
    at: u32,
    to: Option<u32>,
    /// It does not go on behind.
    ends: bool,
}

/// A set of offsets.
struct Offsets {
    base: u32,
    words: Vec<u64>,
}

impl Offsets {
    fn new(span: Span) -> Result<Self, Broken> {
        let count = (span.end - span.start) as usize / 64 + 1;
        let mut words = Vec::new();
        words.try_reserve_exact(count).map_err(|_| NO_MEMORY)?;
        words.resize(count, 0);
        let base = span.start;
        Ok(Self { base, words })
    }

    fn has(&self, offset: u32) -> bool {
        let Some(at) = offset.checked_sub(self.base) else {
            return false;
        };
        let word = self.words.get(at as usize / 64);
        word.is_some_and(|word| word >> (at % 64) & 1 != 0)
    }

    fn add(&mut self, offset: u32) {
        let at = offset.wrapping_sub(self.base);
        if let Some(word) = self.words.get_mut(at as usize / 64) {
            *word |= 1 << (at % 64);
        }
    }

    fn list(&self) -> Result<Vec<u32>, Broken> {
        let mut list = Vec::new();
        for (base, word) in (self.base..).step_by(64).zip(&self.words) {
            let mut rest = *word;
            while rest != 0 {
                push(&mut list, base + rest.trailing_zeros())?;
                rest &= rest - 1;
            }
        }
        Ok(list)
    }
}

/// A function's blocks. Each begins at the function's start, or where a jump leads to.
pub(crate) struct Graph {
    /// Where they begin.
    pub(crate) leaders: Vec<u32>,
    jumps: Vec<Jump>,
    /// Of each block, its first jump.
    first: Vec<u32>,
    /// Blocks in the order of the walk.
    pub(crate) order: Vec<u32>,
    /// Of each block, its place in the order; those that nothing leads to have none.
    pub(crate) position: Vec<u32>,
    /// Of each block, whether an edge goes back to it.
    pub(crate) is_header: Vec<bool>,
}

/// No place in the order.
const NOWHERE: u32 = u32::MAX;

fn filled<T: Clone>(value: T, count: usize) -> Result<Vec<T>, Broken> {
    let mut list = Vec::new();
    list.try_reserve_exact(count).map_err(|_| NO_MEMORY)?;
    list.resize(count, value);
    Ok(list)
}

impl Graph {
    pub(crate) fn of(layout: &Layout<'_>, index: u32, span: Span) -> Result<Self, Refusal> {
        let refused = |broken: Broken, at| broken.at(Some(index), at);
        let mut graph = Self {
            leaders: Vec::new(),
            jumps: Vec::new(),
            first: Vec::new(),
            order: Vec::new(),
            position: Vec::new(),
            is_header: Vec::new(),
        };
        let starts = graph.find_jumps(layout, span);
        let starts = starts.map_err(|(broken, at)| refused(broken, at))?;
        let mut leaders = Offsets::new(span).map_err(|broken| refused(broken, span.start))?;
        leaders.add(span.start);
        for jump in &graph.jumps {
            let Some(to) = jump.to else { continue };
            if !starts.has(to) {
                let what = "a jump to what is no instruction of its function";
                return Err(refused(Rule::Jump.broken(what), jump.at));
            }
            leaders.add(to);
        }
        let ordered = graph.order_blocks(&leaders);
        ordered.map_err(|broken| refused(broken, span.start))?;
        Ok(graph)
    }

    /// The block that begins at `offset`.
    pub(crate) fn block(&self, offset: u32) -> Option<usize> {
        self.leaders.binary_search(&offset).ok()
    }

    /// Notes all jumps; where instructions begin.
    fn find_jumps(&mut self, layout: &Layout<'_>, span: Span) -> Result<Offsets, (Broken, u32)> {
        let mut starts = Offsets::new(span).map_err(|broken| (broken, span.start))?;
        let mut at = span.start;
        while at < span.end {
            let insn = decode(layout.from(at));
            let insn = insn.ok_or((Rule::Decode.broken("no instruction that is known"), at))?;
            starts.add(at);
            let end = at + insn.length;
            if let Some(jump) = jump(layout, insn.op, at, end) {
                push(&mut self.jumps, jump).map_err(|broken| (broken, at))?;
            }
            at = end;
        }
        Ok(starts)
    }

    fn order_blocks(&mut self, leaders: &Offsets) -> Result<(), Broken> {
        self.leaders = leaders.list()?;
        let count = self.leaders.len();
        let mut jump = 0;
        for leader in &self.leaders {
            while self.jumps.get(jump).is_some_and(|jump| jump.at < *leader) {
                jump += 1;
            }
            push(&mut self.first, jump as u32)?;
        }
        self.position = filled(NOWHERE, count)?;
        self.is_header = filled(false, count)?;
        self.walk(count)?;
        self.order.reverse();
        for (place, block) in (0..).zip(&self.order) {
            if let Some(position) = self.position.get_mut(*block as usize) {
                *position = place;
            }
        }
        Ok(())
    }

    /// Visits all blocks that the first leads to; the order is that of leaving them.
    fn walk(&mut self, count: usize) -> Result<(), Broken> {
        let mut is_seen = filled(false, count)?;
        let mut is_open = filled(false, count)?;
        // A block, and the number of its next way on.
        let mut path = Vec::new();
        push(&mut path, (0usize, 0usize))?;
        while let Some((block, way)) = path.last_mut() {
            let (block, this) = (*block, *way);
            *way += 1;
            if this == 0 {
                set(&mut is_seen, block);
                set(&mut is_open, block);
            }
            match self.way(block, this) {
                Some(Some(next)) if is_open.get(next) == Some(&true) => {
                    set(&mut self.is_header, next);
                }
                Some(Some(next)) if is_seen.get(next) == Some(&false) => {
                    push(&mut path, (next, 0))?;
                }
                Some(_) => {}
                None => {
                    path.pop();
                    if let Some(open) = is_open.get_mut(block) {
                        *open = false;
                    }
                    push(&mut self.order, block as u32)?;
                }
            }
        }
        Ok(())
    }

    /// Way number `way` out of a block: `Some(None)` leads out of the function.
    fn way(&self, block: usize, way: usize) -> Option<Option<usize>> {
        let first = *self.first.get(block)? as usize;
        let next = self.leaders.get(block + 1).copied();
        let is_inside = |jump: &&Jump| next.is_none_or(|next| jump.at < next);
        let before = way
            .checked_sub(1)
            .and_then(|way| self.jumps.get(first + way));
        if before.filter(is_inside).is_some_and(|jump| jump.ends) {
            return None;
        }
        match self.jumps.get(first + way).filter(is_inside) {
            Some(jump) => Some(jump.to.and_then(|to| self.block(to))),
            // Behind the last, into the next block, once.
            None if way == 0 || before.filter(is_inside).is_some() => {
                next.map(|next| self.block(next))
            }
            None => None,
        }
    }
}

fn set(list: &mut [bool], at: usize) {
    if let Some(place) = list.get_mut(at) {
        *place = true;
    }
}

fn jump(layout: &Layout<'_>, op: Op, at: u32, end: u32) -> Option<Jump> {
    let ends = Jump {
        at,
        to: None,
        ends: true,
    };
    match op {
        Op::Undefined => Some(ends),
        Op::Go { flow, by, far } => match (flow, layout.outside(end, far)) {
            (Flow::Call, Some(Callee::Import(_)) | None) => None,
            (Flow::Call, Some(_)) | (Flow::Jump, Some(_)) => Some(ends),
            (flow, _) => Some(Jump {
                at,
                to: Some(end.wrapping_add_signed(by)),
                ends: flow == Flow::Jump,
            }),
        },
        _ => None,
    }
}
