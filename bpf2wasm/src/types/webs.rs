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
    pub(crate) live: &'a Live,
    /// By function, how many arguments a call passes.
    pub(crate) params: &'a [u32],
}

/// Finds the webs and chooses their widths.
pub(crate) fn webs(input: &Input<'_>) -> Webs {
    let mut sets = Sets::new(input);
    let wants = Wants::gather(input, &mut sets);
    let narrow = wants.choose();
    let mut is_narrow = |node| narrow[sets.find(node) as usize];
    let count = input.function.insns.len();
    let mut webs = Webs {
        before: vec![0; count],
        result: vec![false; count],
    };
    for number in 0..input.blocks.list.len() {
        let entry = |register| input.entry(number, register);
        let mut now = (0..COUNT).fold(0, |all, r| all | Regs::from(is_narrow(entry(r))) << r);
        for (index, register) in input.steps(number) {
            webs.before[index] = now;
            if let Some(register) = register {
                let narrow = is_narrow(input.definition(index));
                webs.result[index] = narrow;
                now = now & !(1 << register) | Regs::from(narrow) << register;
            }
        }
    }
    webs
}

impl Input<'_> {
    /// The node of `register` at the start of `block`.
    fn entry(&self, block: usize, register: usize) -> Node {
        (block * COUNT + register) as Node
    }

    /// The node of what instruction `index` writes.
    fn definition(&self, index: usize) -> Node {
        (self.blocks.list.len() * COUNT + index) as Node
    }

    fn nodes(&self) -> usize {
        self.blocks.list.len() * COUNT + self.function.insns.len()
    }

    /// The instructions of a block that do something, and the register that each writes.
    fn steps(&self, number: usize) -> impl Iterator<Item = (usize, Option<u8>)> {
        let block = &self.blocks.list[number];
        let insns = &self.function.insns;
        (block.first..block.end)
            .filter(|index| !self.live.is_dead(*index, &insns[*index]))
            .map(|index| (index, result(&insns[index])))
    }

    /// Shows a block's instructions with the nodes of all registers before each and of its result; returns those at the end.
    fn walk(
        &self,
        number: usize,
        mut see: impl FnMut(usize, &[Node; COUNT], Option<Node>),
    ) -> [Node; COUNT] {
        let mut registers = core::array::from_fn(|register| self.entry(number, register));
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
    parents: Vec<Node>,
}

impl Sets {
    /// Unites what reaches a block's start with what is read from there on.
    fn new(input: &Input<'_>) -> Self {
        let mut sets = Sets {
            parents: (0..input.nodes() as Node).collect(),
        };
        for (number, block) in input.blocks.list.iter().enumerate() {
            let registers = input.walk(number, |_, _, _| {});
            for to in block.exit.targets() {
                for (register, node) in registers.iter().enumerate() {
                    if input.live.before(to, register as u8) {
                        sets.unite(*node, input.entry(to, register));
                    }
                }
            }
        }
        sets
    }

    fn find(&mut self, mut node: Node) -> Node {
        while self.parents[node as usize] != node {
            let above = self.parents[self.parents[node as usize] as usize];
            self.parents[node as usize] = above;
            node = above;
        }
        node
    }

    fn unite(&mut self, a: Node, b: Node) {
        let (a, b) = (self.find(a), self.find(b));
        // Towards the smaller: no chain grows for ever, and the order of edges does not matter.
        self.parents[a.max(b) as usize] = a.min(b);
    }
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
    like: Vec<(Node, Node)>,
}

impl Wants {
    fn gather(input: &Input<'_>, sets: &mut Sets) -> Self {
        let count = input.nodes();
        let mut wants = Wants {
            full: vec![false; count],
            dirty: vec![false; count],
            fixed: vec![false; count],
            score: vec![0; count],
            like: Vec::new(),
        };
        for register in 1..=5 {
            let node = sets.find(input.entry(0, register)) as usize;
            wants.fixed[node] = true;
            wants.dirty[node] = true;
        }
        let (mut demands, mut zeros) = (Vec::new(), Vec::new());
        let mut note = |index: usize, registers: &[Node; COUNT], def: Option<Node>| {
            let effect = &effect(input.function, input.facts, input.params, index);
            let web = |register: u8| registers.get(usize::from(register)).copied();
            let result = def.map(|node| sets.find(node));
            for (place, read) in effect.uses().enumerate() {
                let operand = web(read.register).map(|node| sets.find(node));
                wants.note_use(operand, read, result, &mut demands);
                if read.native == Native::Same {
                    // The first operand's, where there is no result.
                    let other = result.or_else(|| web(effect.uses().next()?.register));
                    wants
                        .like
                        .extend(operand.zip(other.map(|node| sets.find(node))));
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
                wants.dirty[result as usize] |= def.zero == Zero::Never;
                wants.score[result as usize] += weight(def.native);
            }
        };
        for number in 0..input.blocks.list.len() {
            input.walk(number, &mut note);
        }
        spread(&mut wants.full, demands);
        spread(&mut wants.dirty, zeros);
        wants
    }

    /// Notes how `operand` is read on the way to `result`; the frame pointer is no web.
    fn note_use(
        &mut self,
        operand: Option<Node>,
        read: Use,
        result: Option<Node>,
        demands: &mut Vec<(Node, Node)>,
    ) {
        let Some(operand) = operand else { return };
        self.score[operand as usize] += weight(read.native);
        match (read.demand, result) {
            (Demand::Low, _) => {}
            (Demand::Result, Some(result)) => demands.push((result, operand)),
            _ => self.full[operand as usize] = true,
        }
    }

    /// Notes whether the upper half of `result` depends on that of the operand at `place`.
    fn note_zero(
        &mut self,
        operand: Option<Node>,
        place: usize,
        zero: Option<Zero>,
        result: Option<Node>,
        zeros: &mut Vec<(Node, Node)>,
    ) {
        let Some(result) = result else { return };
        if zero == Some(Zero::All) || zero == Some(Zero::First) && place == 0 {
            match operand {
                Some(operand) => zeros.push((operand, result)),
                None => self.dirty[result as usize] = true,
            }
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
            score[a as usize] += if first[b as usize] { 1 } else { -1 };
            score[b as usize] += if first[a as usize] { 1 } else { -1 };
        }
        pick(&score)
    }
}

/// How much an instruction would rather have an i32.
fn weight(native: Native) -> i32 {
    match native {
        Native::Narrow => 1,
        Native::Wide => -1,
        Native::Any | Native::Same => 0,
    }
}

/// Sets the flag of whatever an edge leads to from where it is set.
fn spread(flags: &mut [bool], mut edges: Vec<(Node, Node)>) {
    edges.sort_unstable();
    let mut pending: Vec<Node> = (0..flags.len() as Node)
        .filter(|web| flags[*web as usize])
        .collect();
    while let Some(from) = pending.pop() {
        let first = edges.partition_point(|edge| edge.0 < from);
        for &(_, to) in edges[first..].iter().take_while(|edge| edge.0 == from) {
            if !core::mem::replace(&mut flags[to as usize], true) {
                pending.push(to);
            }
        }
    }
}
