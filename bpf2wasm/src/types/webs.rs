//! Which registers are i32 where: webs (Chow and Hennessy's live ranges), each with a width.
//!
//! A web is all definitions of a register that reach a common use, and their uses. It is an i32 local where either every
//! definition leaves the upper 32 bits zero, or no use looks at them; and where that saves conversions. Webs of one register and
//! width share a local: where one is read, the others are dead.
//!
//! # Invariants
//! A narrow web that is read in full has zeros in its upper half: `i64.extend_i32_u` gives its value.

use alloc::vec;
use alloc::vec::Vec;

use super::constants::Constants;
use super::infer::Facts;
use super::liveness::{Live, Regs};
use super::uses::{Demand, Native, Use, Zero, effect, result};
use crate::cfg::Blocks;
use crate::isa::insn::FP;
use crate::object::Function;

/// Registers that webs are made of: all but the frame pointer.
const COUNT: usize = FP as usize;

/// A web, or a definition before webs are known.
type Node = u32;

/// The widths of a function's registers.
pub(crate) struct Webs {
    /// By instruction, the registers that are narrow before it.
    before: Vec<Regs>,
    /// By instruction, whether what it writes is narrow.
    result: Vec<bool>,
}

impl Webs {
    /// Whether instruction `index` reads `register` as an i32.
    pub(crate) fn reads_narrow(&self, index: usize, register: u8) -> bool {
        self.before[index] & 1 << register != 0
    }

    /// Whether instruction `index` writes an i32.
    pub(crate) fn writes_narrow(&self, index: usize) -> bool {
        self.result[index]
    }
}

/// What webs are found from.
pub(crate) struct Input<'a> {
    pub(crate) function: &'a Function,
    pub(crate) blocks: &'a Blocks,
    pub(crate) facts: &'a Facts,
    pub(crate) constants: &'a Constants,
    pub(crate) live: &'a Live,
    /// By function, how many arguments a call passes.
    pub(crate) params: &'a [u32],
}

/// Finds the webs and chooses their widths.
pub(crate) fn webs(input: &Input<'_>) -> Webs {
    let nodes = Nodes::new(input);
    let sets = Sets::new(&nodes);
    let narrow = Wants::gather(&nodes, &sets).choose();
    let is_narrow = |node| narrow[sets.web(node)];
    let count = input.function.insns.len();
    let mut webs = Webs {
        before: vec![0; count],
        result: vec![false; count],
    };
    for number in 0..input.blocks.list.len() {
        let entries = nodes.entries(number).into_iter().enumerate();
        let mut now = entries.fold(0, |all, (r, node)| all | Regs::from(is_narrow(node)) << r);
        for (index, register) in nodes.steps(number) {
            webs.before[index] = now;
            if let Some(register) = register {
                let narrow = is_narrow(nodes.definition(index));
                webs.result[index] = narrow;
                now = now & !(1 << register) | Regs::from(narrow) << register;
            }
        }
    }
    webs
}

/// What can be part of a web: a register at a block's start, if it is read from there on, and every definition.
struct Nodes<'a> {
    input: &'a Input<'a>,
    /// By block, the node of its first register that is read.
    first: Vec<Node>,
    /// The node of what instruction 0 writes.
    definitions: Node,
}

/// What nobody reads.
const DEAD: Node = 0;

impl<'a> Nodes<'a> {
    fn new(input: &'a Input<'a>) -> Self {
        let mut next = DEAD + 1;
        let blocks = 0..input.blocks.list.len();
        let first = blocks.map(|block| {
            let first = next;
            next += input.live.before(block).count_ones();
            first
        });
        Nodes {
            first: first.collect(),
            definitions: next,
            input,
        }
    }

    /// The nodes of all registers at the start of `block`.
    fn entries(&self, block: usize) -> [Node; COUNT] {
        let live = self.input.live.before(block);
        let mut next = self.first[block];
        core::array::from_fn(|register| {
            if live & 1 << register == 0 {
                return DEAD;
            }
            next += 1;
            next - 1
        })
    }

    /// The node of what instruction `index` writes.
    fn definition(&self, index: usize) -> Node {
        self.definitions + index as Node
    }

    fn count(&self) -> Node {
        self.definition(self.input.function.insns.len())
    }

    /// The instructions of a block that do something, and the register that each writes.
    fn steps(&self, number: usize) -> impl Iterator<Item = (usize, Option<u8>)> {
        let block = &self.input.blocks.list[number];
        let insns = &self.input.function.insns;
        (block.first..block.end)
            .filter(|index| !self.input.live.is_dead(*index, &insns[*index]))
            .map(|index| (index, result(&insns[index])))
    }

    /// Shows a block's instructions with the nodes of all registers before each and of its result; returns those at the end.
    fn walk(
        &self,
        number: usize,
        mut see: impl FnMut(usize, &[Node; COUNT], Option<Node>),
    ) -> [Node; COUNT] {
        let mut registers = self.entries(number);
        for (index, written) in self.steps(number) {
            let node = self.definition(index);
            see(index, &registers, written.map(|_| node));
            if let Some(register) = written {
                registers[usize::from(register)] = node;
            }
        }
        registers
    }
}

/// Disjoint sets of nodes: the webs.
struct Sets {
    /// By node, its web.
    webs: Vec<Node>,
    count: usize,
}

impl Sets {
    /// Unites what reaches a block's start with what is read from there on.
    fn new(nodes: &Nodes<'_>) -> Self {
        let mut parents: Vec<Node> = (0..nodes.count()).collect();
        for (number, block) in nodes.input.blocks.list.iter().enumerate() {
            let registers = nodes.walk(number, |_, _, _| {});
            for to in block.exit.targets() {
                for (node, entry) in registers.iter().zip(nodes.entries(to)) {
                    if entry != DEAD {
                        unite(&mut parents, *node, entry);
                    }
                }
            }
        }
        Sets::number(parents)
    }

    /// Numbers the sets. A parent is never larger than its children, so it has its number before them.
    fn number(mut parents: Vec<Node>) -> Self {
        let mut count = 0;
        for node in 0..parents.len() {
            let parent = parents[node] as usize;
            parents[node] = if parent == node {
                count += 1;
                count - 1
            } else {
                parents[parent]
            };
        }
        Sets {
            webs: parents,
            count: count as usize,
        }
    }

    /// The web of `node`.
    fn web(&self, node: Node) -> usize {
        self.webs[node as usize] as usize
    }
}

fn find(parents: &mut [Node], mut node: Node) -> Node {
    while parents[node as usize] != node {
        let above = parents[parents[node as usize] as usize];
        parents[node as usize] = above;
        node = above;
    }
    node
}

fn unite(parents: &mut [Node], a: Node, b: Node) {
    let (a, b) = (find(parents, a), find(parents, b));
    // Towards the smaller: no chain grows for ever, and the order of edges does not matter.
    parents[a.max(b) as usize] = a.min(b);
}

/// What instructions want of the webs.
struct Wants {
    /// Some use looks at the upper half.
    full: Vec<bool>,
    /// Some definition may leave something there.
    dirty: Vec<bool>,
    /// A parameter: the caller chose its width.
    fixed: Vec<bool>,
    /// How many instructions would rather have it narrow, less those that would rather have it wide.
    score: Vec<i32>,
    /// Webs that would rather be of the same width.
    like: Vec<(usize, usize)>,
}

impl Wants {
    fn gather(nodes: &Nodes<'_>, sets: &Sets) -> Self {
        let (input, count) = (nodes.input, sets.count);
        let mut wants = Wants {
            full: vec![false; count],
            dirty: vec![false; count],
            fixed: vec![false; count],
            score: vec![0; count],
            like: Vec::with_capacity(count),
        };
        for node in &nodes.entries(0)[1..=5] {
            let web = sets.web(*node);
            wants.fixed[web] = true;
            wants.dirty[web] = true;
        }
        let (mut demands, mut zeros) = (Edges::new(count), Edges::new(count));
        let mut note = |index: usize, registers: &[Node; COUNT], def: Option<Node>| {
            let effect = &effect(input.function, input.facts, input.params, index);
            let web = |register: u8| Some(sets.web(*registers.get(usize::from(register))?));
            let result = def.map(|node| sets.web(node));
            for (place, read) in effect.uses().enumerate() {
                if let Some(number) = input.constants.register(index, read.register) {
                    wants.note_number(number, place, effect.def.map(|d| d.zero), result);
                    continue;
                }
                let operand = web(read.register);
                wants.note_use(operand, read, result, &mut demands);
                if read.native == Native::Same {
                    // The first operand's, where there is no result.
                    let other = result.or_else(|| web(effect.uses().next()?.register));
                    wants.like.extend(operand.zip(other));
                }
                wants.note_zero(
                    operand,
                    place,
                    effect.def.map(|d| d.zero),
                    result,
                    &mut zeros,
                );
            }
            if let (Some(def), Some(result)) = (effect.def, result) {
                wants.dirty[result] |= def.zero == Zero::Never;
                wants.score[result] += weight(def.native);
            }
        };
        for number in 0..input.blocks.list.len() {
            nodes.walk(number, &mut note);
        }
        demands.spread(&mut wants.full);
        zeros.spread(&mut wants.dirty);
        wants
    }

    /// Notes how `operand` is read on the way to `result`; the frame pointer is no web.
    fn note_use(
        &mut self,
        operand: Option<usize>,
        read: Use,
        result: Option<usize>,
        demands: &mut Edges,
    ) {
        let Some(operand) = operand else { return };
        self.score[operand] += weight(read.native);
        match (read.demand, result) {
            (Demand::Low, _) => {}
            (Demand::Result, Some(result)) => demands.add(result, operand),
            _ => self.full[operand] = true,
        }
    }

    /// Notes whether the upper half of `result` depends on that of the operand at `place`.
    fn note_zero(
        &mut self,
        operand: Option<usize>,
        place: usize,
        zero: Option<Zero>,
        result: Option<usize>,
        zeros: &mut Edges,
    ) {
        let Some(result) = result else { return };
        if depends(zero, place) {
            match operand {
                Some(operand) => zeros.add(operand, result),
                None => self.dirty[result] = true,
            }
        }
    }

    /// Notes whether the upper half of `result` depends on that of the known number at `place`.
    fn note_number(
        &mut self,
        number: i64,
        place: usize,
        zero: Option<Zero>,
        result: Option<usize>,
    ) {
        let Some(result) = result else { return };
        if depends(zero, place) && u32::try_from(number).is_err() {
            self.dirty[result] = true;
        }
    }

    /// Which webs are narrow.
    fn choose(&self) -> Vec<bool> {
        let allowed = |web: usize| !(self.fixed[web] || self.dirty[web] && self.full[web]);
        let pick = |score: &[i32]| -> Vec<bool> {
            (0..score.len())
                .map(|web| allowed(web) && score[web] >= 0)
                .collect()
        };
        // What the others are decides where they do not care themselves; once is enough to be cheap.
        let first = pick(&self.score);
        let mut score = self.score.clone();
        for &(a, b) in self.like.iter().filter(|(a, b)| a != b) {
            score[a] += if first[b] { 1 } else { -1 };
            score[b] += if first[a] { 1 } else { -1 };
        }
        pick(&score)
    }
}

/// Whether a result whose upper half is zero as `zero` says depends on that of the operand at `place`.
fn depends(zero: Option<Zero>, place: usize) -> bool {
    zero == Some(Zero::All) || zero == Some(Zero::First) && place == 0
}

/// How much an instruction would rather have an i32.
fn weight(native: Native) -> i32 {
    match native {
        Native::Narrow => 1,
        Native::Wide => -1,
        Native::Any | Native::Same => 0,
    }
}

/// Edges between webs, by where they come from.
struct Edges {
    /// By web, where its list of edges begins: an index into `list`, from 1; 0: there are none.
    heads: Vec<u32>,
    /// Where each edge leads, and the next edge from the same web.
    list: Vec<(u32, u32)>,
}

impl Edges {
    fn new(webs: usize) -> Self {
        Edges {
            heads: vec![0; webs],
            list: Vec::with_capacity(webs),
        }
    }

    fn add(&mut self, from: usize, to: usize) {
        self.list.push((to as u32, self.heads[from]));
        self.heads[from] = self.list.len() as u32;
    }

    /// Sets the flag of whatever an edge leads to from where it is set.
    fn spread(&self, flags: &mut [bool]) {
        let mut pending: Vec<usize> = (0..flags.len()).filter(|web| flags[*web]).collect();
        while let Some(from) = pending.pop() {
            let mut edge = self.heads[from];
            while let Some((to, next)) = edge.checked_sub(1).map(|at| self.list[at as usize]) {
                if !core::mem::replace(&mut flags[to as usize], true) {
                    pending.push(to as usize);
                }
                edge = next;
            }
        }
    }
}
