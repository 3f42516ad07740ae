//! What is only reached by way of a question of what there is: `bpf_core_*_exists`, `bpf_ksym_exists`. Programs ask before they call
//! what is not everywhere.

use alloc::vec;
use alloc::vec::Vec;

use crate::cfg::{Block, Blocks, Exit};
use crate::isa::insn::{Insn, Operand, Ref};
use crate::isa::table::{Form, Shape};
use crate::object::Function;

/// By register, whether it holds an answer.
type Answers = u16;
/// What calls leave of them: r6 on.
const KEPT: Answers = !0x3f;

/// By instruction, whether it is only reached by one of a branch's two ways that an answer decides. `is_question` says it of what
/// an instruction loads.
pub(crate) fn guarded(
    function: &Function,
    blocks: &Blocks,
    is_question: impl Fn(Ref) -> bool,
) -> Vec<bool> {
    let mut guarded = vec![false; function.insns.len()];
    for (from, taken, not) in decided(function, blocks, is_question) {
        for way in [taken, not].into_iter().filter(|_| taken != not) {
            let reached = reached_without(blocks, (from, way));
            let blocks = blocks.list.iter().zip(reached);
            for (block, _) in blocks.filter(|(_, reached)| !reached) {
                guarded[block.first..block.end].fill(true);
            }
        }
    }
    guarded
}

/// The branches that an answer decides: from which block, where to.
fn decided(
    function: &Function,
    blocks: &Blocks,
    is_question: impl Fn(Ref) -> bool,
) -> Vec<(usize, usize, usize)> {
    let mut known: Vec<Answers> = vec![0; blocks.list.len()];
    let mut pending = vec![true; blocks.list.len()];
    let mut decided = Vec::new();
    while pending.contains(&true) {
        for (number, block) in blocks.list.iter().enumerate() {
            if !core::mem::take(&mut pending[number]) {
                continue;
            }
            let end = after(function, block, known[number], &is_question);
            for to in block.exit.targets() {
                pending[to] |= known[to] | end != known[to];
                known[to] |= end;
            }
        }
    }
    for (number, block) in blocks.list.iter().enumerate() {
        let end = after(function, block, known[number], &is_question);
        if let Exit::Branch(index, taken, not) = block.exit
            && reads(&function.insns[index], end)
        {
            decided.push((number, taken, not));
        }
    }
    decided
}

fn reads(insn: &Insn, answers: Answers) -> bool {
    let source = insn.operand().register().map_or(0, |r| 1 << r);
    answers & (1 << insn.dst | source) != 0
}

/// What holds answers after `block`.
fn after(
    function: &Function,
    block: &Block,
    mut answers: Answers,
    is_question: &impl Fn(Ref) -> bool,
) -> Answers {
    for insn in &function.insns[block.first..block.end] {
        let asks = || insn.reference.is_some_and(is_question);
        let answer = match (insn.row.form, &insn.row.shape, insn.operand()) {
            (_, Shape::Helper | Shape::Local | Shape::Kfunc, _) => {
                answers &= KEPT;
                continue;
            }
            (Form::Wide, ..) | (_, Shape::Move, Operand::Imm(_)) => asks(),
            (_, Shape::Move, Operand::Reg(from)) => answers & 1 << from != 0,
            (Form::Binary | Form::Unary, ..) => reads(insn, answers) || asks(),
            (Form::Load, ..) => false,
            _ => continue,
        };
        answers &= !(1 << insn.dst);
        answers |= Answers::from(answer) << insn.dst;
    }
    answers
}

/// Which blocks are reached if one edge is not there.
fn reached_without(blocks: &Blocks, edge: (usize, usize)) -> Vec<bool> {
    let mut reached = vec![false; blocks.list.len()];
    reached[0] = true;
    let mut pending = vec![0];
    while let Some(from) = pending.pop() {
        for to in blocks.list[from].exit.targets() {
            if (from, to) != edge && !core::mem::replace(&mut reached[to], true) {
                pending.push(to);
            }
        }
    }
    reached
}
