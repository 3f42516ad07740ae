//! Basic blocks, in reverse postorder: only what can be reached, the entry first.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use crate::error::{Error, FlowError, Result};
use crate::isa::insn::Insn;
use crate::isa::table::Shape;

/// The reachable blocks of a function.
///
/// # Invariants
/// Block 0 is the entry. Numbers are reverse postorder: an edge to a number that is not larger goes backwards.
pub(crate) struct Blocks {
    pub(crate) list: Vec<Block>,
    /// Where the edges to each block come from, block after block.
    preds: Vec<usize>,
}

/// A block.
pub(crate) struct Block {
    /// Index of its first instruction.
    pub(crate) first: usize,
    /// Index after its last instruction, the one that [`Exit`] stands for included.
    pub(crate) end: usize,
    /// How it ends.
    pub(crate) exit: Exit,
    /// Which of [`Blocks::preds`] are its.
    preds: Range<usize>,
}

/// How a block ends; edges are block numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Returns r0.
    Return,
    /// Goes on at one block.
    Jump(usize),
    /// The instruction with this index decides: taken, not taken.
    Branch(usize, usize, usize),
}

impl Exit {
    /// The blocks control may go to.
    pub(crate) fn targets(self) -> impl DoubleEndedIterator<Item = usize> {
        let (a, b) = match self {
            Exit::Return => (None, None),
            Exit::Jump(to) => (Some(to), None),
            Exit::Branch(_, taken, not) => (Some(taken), Some(not)),
        };
        a.into_iter().chain(b)
    }

    fn renumber(self, numbers: &[usize]) -> Self {
        match self {
            Exit::Return => Exit::Return,
            Exit::Jump(to) => Exit::Jump(numbers[to]),
            Exit::Branch(insn, taken, not) => Exit::Branch(insn, numbers[taken], numbers[not]),
        }
    }
}

impl Blocks {
    /// Splits a function into blocks.
    pub(crate) fn new(insns: &[Insn]) -> Result<Self> {
        if insns.is_empty() {
            return Err(Error::new(FlowError::Empty));
        }
        let starts = leaders(insns)?;
        let order = reverse_postorder(insns, &starts)?;
        let mut numbers = vec![usize::MAX; starts.len()];
        for (number, (block, _)) in order.iter().enumerate() {
            numbers[*block] = number;
        }
        let block = |(block, exit): (usize, Exit)| Block {
            first: starts[block],
            end: end(insns, &starts, block),
            exit: exit.renumber(&numbers),
            preds: 0..0,
        };
        let mut blocks = Blocks {
            list: order.into_iter().map(block).collect(),
            preds: Vec::new(),
        };
        blocks.add_preds();
        Ok(blocks)
    }

    /// The blocks that an edge to `block` comes from; twice if two edges do.
    pub(crate) fn preds(&self, block: usize) -> &[usize] {
        &self.preds[self.list[block].preds.clone()]
    }

    fn add_preds(&mut self) {
        let mut counts = vec![0; self.list.len()];
        for to in self.list.iter().flat_map(|block| block.exit.targets()) {
            counts[to] += 1;
        }
        let mut start = 0;
        for (block, count) in self.list.iter_mut().zip(counts) {
            block.preds = start..start;
            start += count;
        }
        self.preds = vec![0; start];
        for from in 0..self.list.len() {
            for to in self.list[from].exit.targets() {
                let preds = &mut self.list[to].preds;
                self.preds[preds.end] = from;
                preds.end += 1;
            }
        }
    }
}

/// Index of the instruction a jump goes to.
fn target(insns: &[Insn], insn: &Insn) -> Result<Option<usize>> {
    let Some(slot) = insn.target() else {
        return Ok(None);
    };
    let bad = || Error::at(insn.slot as usize, FlowError::Target(slot));
    let wanted = u32::try_from(slot).map_err(|_| bad())?;
    insns
        .binary_search_by_key(&wanted, |i| i.slot)
        .map(Some)
        .map_err(|_| bad())
}

/// Indices of the instructions that begin a block, increasing.
fn leaders(insns: &[Insn]) -> Result<Vec<usize>> {
    let mut is_leader = vec![false; insns.len() + 1];
    is_leader[0] = true;
    for (i, insn) in insns.iter().enumerate() {
        if let Some(to) = target(insns, insn)? {
            is_leader[to] = true;
            is_leader[i + 1] = true;
        } else if matches!(insn.row.shape, Shape::Exit) {
            is_leader[i + 1] = true;
        }
    }
    Ok((0..insns.len()).filter(|i| is_leader[*i]).collect())
}

/// How the block that ends with instruction `last` ends; edges are indices into `starts`.
fn exit(insns: &[Insn], starts: &[usize], last: usize) -> Result<Exit> {
    let insn = &insns[last];
    let block = |index: usize| starts.binary_search(&index).ok();
    let off = || Error::at(insn.slot as usize, FlowError::FallsOff);
    let jump = target(insns, insn)?.and_then(block);
    match (&insn.row.shape, jump) {
        (Shape::Exit, _) => Ok(Exit::Return),
        (Shape::Goto, Some(to)) => Ok(Exit::Jump(to)),
        (_, Some(to)) => Ok(Exit::Branch(last, to, block(last + 1).ok_or_else(off)?)),
        (_, None) => Ok(Exit::Jump(block(last + 1).ok_or_else(off)?)),
    }
}

/// Index after the last instruction of a block.
fn end(insns: &[Insn], starts: &[usize], block: usize) -> usize {
    starts.get(block + 1).copied().unwrap_or(insns.len())
}

/// Reachable blocks in reverse postorder, and how they end; the not-taken edge is followed last, so that it comes first.
fn reverse_postorder(insns: &[Insn], starts: &[usize]) -> Result<Vec<(usize, Exit)>> {
    let mut seen = vec![false; starts.len()];
    let mut order = Vec::with_capacity(starts.len());
    // Blocks to go to, and blocks all of whose successors were gone to.
    let mut stack = vec![(0, None)];
    while let Some((block, done)) = stack.pop() {
        if let Some(exit) = done {
            order.push((block, exit));
        } else if !core::mem::replace(&mut seen[block], true) {
            let exit = exit(insns, starts, end(insns, starts, block) - 1)?;
            stack.push((block, Some(exit)));
            let targets = exit.targets().rev().filter(|to| !seen[*to]);
            stack.extend(targets.map(|to| (to, None)));
        }
    }
    order.reverse();
    Ok(order)
}
