//! Basic blocks, in reverse postorder: only what can be reached, the entry first.

use alloc::vec;
use alloc::vec::Vec;

use crate::error::{Error, FlowError, Result};
use crate::isa::insn::Insn;
use crate::isa::table::Shape;

/// The reachable blocks of a function.
///
/// # Invariants
/// Block 0 is the entry. Numbers are reverse postorder: an edge to a number that is not larger goes backwards.
pub(crate) struct Blocks {
    pub(crate) list: Vec<Block>,
}

/// A block.
pub(crate) struct Block {
    /// Index of its first instruction.
    pub(crate) first: usize,
    /// Index after its last instruction, the one that [`Exit`] stands for included.
    pub(crate) end: usize,
    /// How it ends.
    pub(crate) exit: Exit,
    /// Blocks that an edge comes from; twice if two edges do.
    pub(crate) preds: Vec<usize>,
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
        let mut raw = Vec::with_capacity(starts.len());
        for (i, &first) in starts.iter().enumerate() {
            let end = starts.get(i + 1).copied().unwrap_or(insns.len());
            raw.push((first, end, exit(insns, &starts, end - 1)));
        }
        let order = reverse_postorder(&raw)?;
        let mut numbers = vec![usize::MAX; raw.len()];
        for (number, &block) in order.iter().enumerate() {
            numbers[block] = number;
        }
        let mut list: Vec<Block> = Vec::with_capacity(order.len());
        for &block in &order {
            let (first, end, exit) = &raw[block];
            let exit = exit.clone()?.renumber(&numbers);
            list.push(Block {
                first: *first,
                end: *end,
                exit,
                preds: Vec::new(),
            });
        }
        for from in 0..list.len() {
            for to in list[from].exit.targets() {
                list[to].preds.push(from);
            }
        }
        Ok(Blocks { list })
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

/// Reachable blocks in reverse postorder; the not-taken edge is followed last, so that it comes first.
fn reverse_postorder(raw: &[(usize, usize, Result<Exit>)]) -> Result<Vec<usize>> {
    let mut seen = vec![false; raw.len()];
    let mut order = Vec::with_capacity(raw.len());
    let mut stack = vec![(0, false)];
    while let Some((block, done)) = stack.pop() {
        if done {
            order.push(block);
        } else if !core::mem::replace(&mut seen[block], true) {
            stack.push((block, true));
            let exit = raw[block].2.clone()?;
            stack.extend(
                exit.targets()
                    .rev()
                    .filter(|to| !seen[*to])
                    .map(|to| (to, false)),
            );
        }
    }
    order.reverse();
    Ok(order)
}
