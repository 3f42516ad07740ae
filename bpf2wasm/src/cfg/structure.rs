//! Structured control flow from the dominator tree: Ramsey, "Beyond Relooper" (ICFP 2022), without
//! its recursion, so that the depth of a program's nesting is not this program's stack.
//!
//! A block's code is followed by the code of the blocks it dominates. One that several forward edges reach (a merge) is
//! placed behind a wasm `block` that ends where it begins; one that a backward edge reaches is a `loop`.

use alloc::vec;
use alloc::vec::Vec;

use super::blocks::{Blocks, Exit};
use super::dominators::{dominates, immediate};

/// What a function's wasm looks like, as a list of openings, ends, code and branches.
pub(crate) struct Structured {
    pub(crate) ops: Vec<Op>,
    /// Whether the graph is irreducible and every jump goes through a dispatch loop.
    pub(crate) dispatch: bool,
}

/// A step of a function's body. Depths are wasm's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// Opens a `loop`.
    Loop,
    /// Opens a `block`.
    Block,
    /// Opens an `if` on the branch instruction with this index.
    If(usize),
    /// Closes the innermost of these.
    End,
    /// The instructions of a block, the branch at its end excepted.
    Code(usize),
    /// `br`.
    Br(u32),
    /// `br_if` on the branch instruction with this index, or (`false`) on its opposite.
    BrIf(usize, bool, u32),
    /// Returns r0.
    Return,
    /// Sets the dispatch variable.
    SetNext(usize),
    /// `br_table` on the dispatch variable over this many labels.
    Dispatch(usize),
}

/// What encloses the current position.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Frame {
    /// A `block` that ends where this one begins.
    Before(usize),
    /// The `loop` of this header.
    Loop(usize),
    /// An `if`.
    If,
}

enum Work {
    /// A block and all it dominates.
    Tree(usize),
    /// A block's own code and branches.
    Code(usize),
    /// Closes the innermost frame.
    End,
}

/// The steps of a reducible function; `None` if it is not.
pub(super) fn reducible(blocks: &Blocks) -> Option<Vec<Op>> {
    let idom = immediate(blocks);
    for (from, block) in blocks.list.iter().enumerate() {
        let mut backward = block.exit.targets().filter(|to| *to <= from);
        if !backward.all(|to| dominates(&idom, to, from)) {
            return None;
        }
    }
    Some(Structurer::new(blocks, &idom).run())
}

struct Structurer<'a> {
    blocks: &'a Blocks,
    /// By block, the merges it immediately dominates, increasing.
    merges: Vec<Vec<usize>>,
    is_merge: Vec<bool>,
    is_loop: Vec<bool>,
    ops: Vec<Op>,
    frames: Vec<Frame>,
    work: Vec<Work>,
}

impl<'a> Structurer<'a> {
    fn new(blocks: &'a Blocks, idom: &[usize]) -> Self {
        let count = blocks.list.len();
        let mut merges = vec![Vec::new(); count];
        let (mut is_merge, mut is_loop) = (vec![false; count], vec![false; count]);
        for number in 0..count {
            let preds = blocks.preds(number);
            let forward = preds.iter().filter(|p| **p < number).count();
            is_loop[number] = forward < preds.len();
            is_merge[number] = forward > 1;
            if is_merge[number] {
                merges[idom[number]].push(number);
            }
        }
        let ops = Vec::with_capacity(3 * count);
        let (frames, mut work) = (Vec::with_capacity(count), Vec::with_capacity(count));
        work.push(Work::Tree(0));
        Structurer {
            blocks,
            merges,
            is_merge,
            is_loop,
            ops,
            frames,
            work,
        }
    }

    fn run(mut self) -> Vec<Op> {
        while let Some(work) = self.work.pop() {
            match work {
                Work::Tree(block) => self.tree(block),
                Work::Code(block) => self.code(block),
                Work::End => {
                    self.frames.pop();
                    self.ops.push(Op::End);
                }
            }
        }
        self.ops
    }

    fn open(&mut self, frame: Frame, op: Op) {
        self.frames.push(frame);
        self.ops.push(op);
    }

    fn tree(&mut self, block: usize) {
        if self.is_loop[block] {
            self.open(Frame::Loop(block), Op::Loop);
            self.work.push(Work::End);
        }
        let merges = core::mem::take(&mut self.merges[block]);
        for &merge in merges.iter().rev() {
            self.open(Frame::Before(merge), Op::Block);
            self.work.push(Work::Tree(merge));
            self.work.push(Work::End);
        }
        self.work.push(Work::Code(block));
    }

    fn code(&mut self, block: usize) {
        self.ops.push(Op::Code(block));
        match self.blocks.list[block].exit {
            Exit::Return => self.ops.push(Op::Return),
            Exit::Jump(to) => self.go(block, to),
            Exit::Branch(_, taken, not) if taken == not => self.go(block, taken),
            Exit::Branch(insn, taken, not) => {
                if self.is_jump(block, taken) {
                    self.ops
                        .push(Op::BrIf(insn, true, self.depth(block, taken)));
                    self.go(block, not);
                } else if self.is_jump(block, not) {
                    self.ops.push(Op::BrIf(insn, false, self.depth(block, not)));
                    self.go(block, taken);
                } else {
                    self.open(Frame::If, Op::If(insn));
                    self.work
                        .extend([Work::Tree(not), Work::End, Work::Tree(taken)]);
                }
            }
        }
    }

    /// Continues at `to`: by a branch, or with its code right here.
    fn go(&mut self, from: usize, to: usize) {
        if !self.is_jump(from, to) {
            self.work.push(Work::Tree(to));
            return;
        }
        let falls_through = self.frames.last() == Some(&Frame::Before(to))
            && matches!(self.work.last(), Some(Work::End));
        if !falls_through {
            self.ops.push(Op::Br(self.depth(from, to)));
        }
    }

    /// Whether the edge needs a wasm branch.
    fn is_jump(&self, from: usize, to: usize) -> bool {
        to <= from || self.is_merge[to]
    }

    fn depth(&self, from: usize, to: usize) -> u32 {
        let wanted = if to <= from {
            Frame::Loop(to)
        } else {
            Frame::Before(to)
        };
        let depth = self.frames.iter().rev().position(|f| *f == wanted);
        depth.expect("the target of every edge encloses its source in a reducible graph") as u32
    }
}
