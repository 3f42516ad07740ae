//! Locals are taken apart: uses of one that never see the same value become locals of their own, which can lie in different
//! registers. A translated module has a local or two for each register of eBPF, which hold one thing after another.
//!
//! One walk backward finds what lives where a loop begins, as [`crate::plan`] does. A second one gives each local that lives a
//! node: uses and the sets that they see have one, and so have both ends of a branch. What is in one node then is one local.
//!
//! **Invariant:** it is always right to leave two nodes of a local together; so it is done where there are too many.

use crate::Made;
use crate::arena::{Arena, List};
use crate::body::{Body, MAX_LOCALS};
use crate::operator::Op;

/// Locals of a function that is taken apart at most: what is done at a branch is done for each.
const MOST: usize = 64;
/// Blocks in one another at most, likewise.
const DEEPEST: usize = 64;

/// No node: it does not live.
const NONE: u32 = u32::MAX;

/// What lives somewhere, a bit for each local.
type Live = u64;

/// What is the same number, as a forest whose trees are the nodes.
struct Nodes<'m> {
    parents: List<'m, u32>,
}

impl Nodes<'_> {
    fn new_node(&mut self) -> u32 {
        let node = self.parents.len() as u32;
        self.parents.push(node);
        node
    }

    fn root(&mut self, mut node: u32) -> u32 {
        while let Some(parent) = self.parents.get(node as usize).copied() {
            if parent == node {
                break;
            }
            // Halves the way for whoever comes next.
            let above = self.parents.get(parent as usize).copied();
            let above = above.unwrap_or(parent);
            if let Some(place) = self.parents.get_mut(node as usize) {
                *place = above;
            }
            node = above;
        }
        node
    }

    fn join(&mut self, a: u32, b: u32) {
        let (a, b) = (self.root(a), self.root(b));
        if let Some(parent) = self.parents.get_mut(a.max(b) as usize) {
            *parent = a.min(b);
        }
    }
}

/// Takes the locals of `body` apart.
pub(crate) fn split<'m>(arena: &'m Arena, body: &mut Body<'m>) -> Made<()> {
    let (count, depth) = (body.locals.len(), depth(body));
    if count == 0 || count > MOST || depth > DEEPEST {
        return Ok(());
    }
    let (headers, ends) = headers(arena, body)?;
    let mut rows = List::with_room(arena, count * (1 + 2 * depth));
    for _ in 0..count {
        rows.push(NONE);
    }
    let mut walk = Walk {
        count,
        nodes: Nodes {
            parents: List::new(arena),
        },
        rows,
        of: List::filled(arena, body.ops.len(), NONE),
        headers,
        ends,
    };
    arena.check()?;
    if walk.back(body) {
        arena.check()?;
        rename(arena, body, walk);
    }
    arena.check()
}

/// How deep blocks lie in one another, the function's own among them.
fn depth(body: &Body<'_>) -> usize {
    let (mut depth, mut deepest) = (1usize, 1);
    for op in body.ops.iter() {
        match op {
            Op::Block { .. } | Op::Loop { .. } | Op::If { .. } => depth += 1,
            Op::End { .. } => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// Of each loop, by its number, what may live where it begins; and the numbers of loops in the order in which they end.
fn headers<'m>(arena: &'m Arena, body: &Body<'m>) -> Made<(List<'m, Live>, List<'m, u32>)> {
    let mut headers = List::filled(arena, body.costs.loops.len(), 0);
    // What lives here; then two for each that is open, as in the plan.
    let mut rows: List<'_, Live> = List::filled(arena, 1, 0);
    for op in body.ops.iter().rev() {
        let live = rows.first().copied().unwrap_or(0);
        let target = |depth: u32| label(rows.len(), 1, depth);
        let at = |row: usize| rows.get(row).copied().unwrap_or(0);
        let live = match *op {
            Op::End { is_loop } => {
                rows.push(if is_loop { 0 } else { live });
                rows.push(0);
                live
            }
            Op::Else => {
                let row = target(0);
                let after = at(row);
                if let Some(place) = rows.get_mut(row + 1) {
                    *place = live;
                }
                after
            }
            Op::If { otherwise, .. } => {
                let row = target(0);
                let other = at(row + usize::from(otherwise != 0));
                rows.truncate(row);
                live | other
            }
            Op::Block { .. } => {
                rows.truncate(target(0));
                live
            }
            Op::Loop { number, .. } => {
                if let Some(header) = headers.get_mut(number as usize) {
                    *header = live;
                }
                rows.truncate(target(0));
                live
            }
            Op::Branch(depth) => at(target(depth)),
            Op::BranchIf(depth) => live | at(target(depth)),
            Op::BranchTable { first, count } => {
                let depths = body.targets_of(first, count).iter();
                depths.fold(0, |live, depth| live | at(target(*depth)))
            }
            Op::Return | Op::Unreachable => 0,
            Op::Get(local) => live | 1 << local,
            Op::Set(local) | Op::Tee(local) => live & !(1 << local),
            _ => live,
        };
        if let Some(place) = rows.first_mut() {
            *place = live;
        }
        arena.check()?;
    }
    // What lives at an outer loop's beginning may live all through that one.
    let mut ends = List::new(arena);
    let mut open: List<'_, Option<u32>> = List::new(arena);
    for (at, op) in body.ops.iter().enumerate() {
        match op {
            Op::Block { .. } | Op::If { .. } => open.push(None),
            Op::Loop { number, .. } => {
                let span = |number: u32| body.spans.get(number as usize).copied();
                let goes_on = |number: &u32| span(*number) >= Some(at as u32);
                let outer = open.iter().rev().flatten().copied().find(goes_on);
                let outer = outer.and_then(|outer| headers.get(outer as usize).copied());
                if let Some(header) = headers.get_mut(*number as usize) {
                    *header |= outer.unwrap_or(0);
                }
                open.push(Some(*number));
            }
            Op::End { is_loop } => {
                let ended = open.pop().flatten().filter(|_| *is_loop);
                if let Some(number) = ended {
                    ends.push(number);
                }
            }
            _ => {}
        }
    }
    arena.check()?;
    Ok((headers, ends))
}

/// The first row of the label that many levels out, of `rows` rows, of which the first `below` are none's and each label has two.
fn label(rows: usize, below: usize, depth: u32) -> usize {
    let open = rows.saturating_sub(below) / 2;
    // The function itself has none: whoever leaves it, of whom nothing lives, finds no row.
    match open.checked_sub(1 + depth as usize) {
        Some(open) => below + 2 * open,
        None => usize::MAX - 1,
    }
}

/// Operators that a value is followed back through at most.
const NEAR: usize = 8;

/// Where the operators begin that make the value which operator `at` takes.
fn begin_of(body: &Body<'_>, at: usize) -> Option<usize> {
    let mut wanted = 1;
    for at in (at.saturating_sub(NEAR)..at).rev() {
        wanted += match body.op(at)? {
            Op::Get(_) | Op::Const { .. } => -1,
            Op::Binary(..) | Op::Compare(..) => 1,
            Op::Unary(..)
            | Op::Load { .. }
            | Op::Wrap
            | Op::Widen
            | Op::Extend { .. }
            | Op::IsZero(_) => 0,
            _ => return None,
        };
        if wanted == 0 {
            return Some(at);
        }
    }
    None
}

struct Walk<'m> {
    count: usize,
    nodes: Nodes<'m>,
    /// Of each local its node, here; then of each that is open at its label, and where its `else` begins.
    rows: List<'m, u32>,
    /// Of each operator that is about a local, the node.
    of: List<'m, u32>,
    headers: List<'m, Live>,
    /// Numbers of loops, the one that ends last being the last.
    ends: List<'m, u32>,
}

impl Walk<'_> {
    fn cell(&self, row: usize, local: usize) -> u32 {
        let at = row.saturating_mul(self.count).saturating_add(local);
        self.rows.get(at).copied().unwrap_or(NONE)
    }

    fn set_cell(&mut self, row: usize, local: usize, node: u32) {
        if let Some(place) = self
            .rows
            .get_mut(row.saturating_mul(self.count).saturating_add(local))
        {
            *place = node;
        }
    }

    fn target(&self, depth: u32) -> usize {
        label(self.rows.len() / self.count, 1, depth)
    }

    fn truncate(&mut self, row: usize) {
        self.rows.truncate(row.saturating_mul(self.count));
    }

    /// What lives at `row` lives here; and `only` that, or else what lives anyway, too.
    fn come_from(&mut self, row: usize, only: bool) {
        for local in 0..self.count {
            let (here, there) = (self.cell(0, local), self.cell(row, local));
            match (here, there) {
                _ if only => self.set_cell(0, local, there),
                (NONE, _) => self.set_cell(0, local, there),
                (_, NONE) => {}
                _ => self.nodes.join(here, there),
            }
        }
    }

    fn copy(&mut self, to: usize) {
        for local in 0..self.count {
            let here = self.cell(0, local);
            self.set_cell(to, local, here);
        }
    }

    /// Walks back over all operators; whether each loop's beginning was as it had been found.
    fn back(&mut self, body: &Body<'_>) -> bool {
        // Where the value of the last set begins, and that set's node.
        let mut tied = None;
        for at in (0..body.ops.len()).rev() {
            let Some(op) = body.op(at) else { return false };
            match op {
                Op::End { is_loop } => {
                    self.end(is_loop);
                    // Each use has one; what loops need besides is bounded, too.
                    if self.nodes.parents.len() > 2 * body.ops.len() + MOST {
                        return false;
                    }
                }
                Op::Else => {
                    let row = self.target(0);
                    self.copy(row + 1);
                    self.come_from(row, true);
                }
                Op::If { otherwise, .. } => {
                    let row = self.target(0);
                    self.come_from(row + usize::from(otherwise != 0), false);
                    self.truncate(row);
                }
                Op::Block { .. } => self.truncate(self.target(0)),
                Op::Loop { .. } => {
                    let row = self.target(0);
                    for local in 0..self.count {
                        let (here, there) = (self.cell(0, local), self.cell(row, local));
                        match (here, there) {
                            (NONE, _) => {}
                            (_, NONE) => return false,
                            _ => self.nodes.join(here, there),
                        }
                    }
                    self.truncate(row);
                }
                Op::Branch(depth) => self.come_from(self.target(depth), true),
                Op::BranchIf(depth) => self.come_from(self.target(depth), false),
                Op::BranchTable { first, count } => {
                    self.come_from(usize::MAX / self.count, true);
                    let mut last = None;
                    for depth in body.targets_of(first, count) {
                        if last.replace(*depth) != Some(*depth) {
                            self.come_from(self.target(*depth), false);
                        }
                    }
                }
                Op::Return | Op::Unreachable => self.come_from(usize::MAX / self.count, true),
                Op::Get(local) => {
                    let mut node = self.cell(0, local.into());
                    if node == NONE {
                        node = self.nodes.new_node();
                        self.set_cell(0, local.into(), node);
                    }
                    self.note(at, node);
                    if let Some((_, set)) = tied.filter(|(begin, _)| *begin == at) {
                        self.nodes.join(node, set);
                    }
                }
                Op::Set(local) | Op::Tee(local) => {
                    let node = self.cell(0, local.into());
                    self.note(at, node);
                    // What is made of its own former value, which nobody sees any more, stays where that was.
                    let begin = begin_of(body, at).filter(|_| node != NONE);
                    let is_own = |begin: &usize| body.op(*begin) == Some(Op::Get(local));
                    tied = begin.filter(is_own).map(|begin| (begin, node));
                    self.set_cell(0, local.into(), NONE);
                }
                _ => {}
            }
        }
        true
    }

    fn note(&mut self, at: usize, node: u32) {
        if let Some(place) = self.of.get_mut(at) {
            *place = node;
        }
    }

    /// The label of what ends here: a loop's is its beginning. What lives there and behind it is taken for the same.
    fn end(&mut self, is_loop: bool) {
        let number = if is_loop { self.ends.pop() } else { None };
        let live = number.and_then(|number| self.headers.get(number as usize));
        let live = live.copied().unwrap_or(0);
        for local in 0..self.count {
            let behind = self.cell(0, local);
            let node = match (is_loop, live >> local & 1 != 0) {
                (false, _) => behind,
                (true, false) => NONE,
                (true, true) if behind != NONE => behind,
                (true, true) => self.nodes.new_node(),
            };
            self.rows.push(node);
        }
        for _ in 0..self.count {
            self.rows.push(NONE);
        }
    }
}

/// Gives each node a local: the first of a local keeps its number, as does what lives at the function's beginning.
fn rename<'m>(arena: &'m Arena, body: &mut Body<'m>, mut walk: Walk<'m>) {
    let mut names: List<'m, u16> = List::filled(arena, walk.nodes.parents.len(), u16::MAX);
    let mut is_taken: Live = 0;
    for local in 0..walk.count {
        // A parameter's number is the caller's.
        is_taken |= u64::from(local < body.params) << local;
        let node = walk.cell(0, local);
        if node != NONE {
            let root = walk.nodes.root(node) as usize;
            if let Some(name) = names.get_mut(root) {
                *name = local as u16;
            }
            is_taken |= 1 << local;
        }
    }
    for at in 0..body.ops.len() {
        let Some(op) = body.op(at) else { continue };
        let (Op::Get(local) | Op::Set(local) | Op::Tee(local)) = op else {
            continue;
        };
        let node = walk.of.get(at).copied().unwrap_or(NONE);
        if node == NONE {
            // What nobody asks for.
            body.replace(
                at,
                if op == Op::Set(local) {
                    Op::Drop
                } else {
                    Op::Nop
                },
            );
            continue;
        }
        let root = walk.nodes.root(node) as usize;
        let mut name = names.get(root).copied().unwrap_or(local);
        if name == u16::MAX {
            name = local;
            if is_taken >> local & 1 != 0 && body.locals.len() < MAX_LOCALS {
                let wide = body.locals.get(usize::from(local)).copied();
                name = body.locals.len() as u16;
                body.locals.push(wide.unwrap_or(true));
            }
            is_taken |= 1 << local;
            if let Some(place) = names.get_mut(root) {
                *place = name;
            }
        }
        body.replace(
            at,
            match op {
                Op::Get(_) => Op::Get(name),
                Op::Set(_) => Op::Set(name),
                _ => Op::Tee(name),
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::Module;

    /// Which locals are got and set, in their order, once they are taken apart.
    fn locals_of(body: &str) -> std::vec::Vec<u16> {
        let wasm = wat::parse_str(std::format!(
            "(module (func (param i32) (result i32) (local i32) {body}))"
        ));
        let wasm = wasm.unwrap();
        let arena = Arena::new(1 << 16, &|| false);
        let module = Module::read(&wasm, 0x1_0000, &arena).unwrap();
        let mut body = Body::read(&module, 0).unwrap();
        split(&arena, &mut body).unwrap();
        let local = |op: &Op| match op {
            Op::Get(local) | Op::Set(local) | Op::Tee(local) => Some(*local),
            _ => None,
        };
        body.ops.iter().filter_map(local).collect()
    }

    #[test]
    fn what_is_set_anew_is_another_local() {
        let body = "(local.set 1 (i32.const 1)) (drop (local.get 1)) (local.set 1 (i32.const 2)) (local.get 1)";
        assert_eq!(locals_of(body), [1, 1, 2, 2]);
        let param =
            "(drop (local.get 0)) (local.set 0 (i32.const 2)) (drop (local.get 1)) (local.get 0)";
        assert_eq!(locals_of(param), [0, 2, 1, 2]);
    }

    #[test]
    fn what_nobody_asks_for_is_not_set() {
        let body = "(local.set 1 (i32.const 1)) (local.set 1 (i32.const 2)) (local.get 1)";
        assert_eq!(locals_of(body), [1, 1]);
    }

    #[test]
    fn where_ways_meet_there_is_one() {
        let body = "(if (local.get 0) (then (local.set 1 (i32.const 1))) (else (local.set 1 (i32.const 2)))) (local.get 1)";
        assert_eq!(locals_of(body), [0, 1, 1, 1]);
    }

    #[test]
    fn what_goes_round_a_loop_is_one() {
        let body = "(local.set 1 (i32.const 9)) (loop (local.set 1 (i32.sub (local.get 1) (local.get 0))) (br_if 0 (local.get 1))) (i32.const 0)";
        assert_eq!(locals_of(body), [1, 1, 0, 1, 1]);
        // Set before it is asked for in each turn: what was there before the loop is another.
        let apart = "(local.set 1 (i32.const 9)) (drop (local.get 1)) (loop (local.set 1 (local.get 0)) (br_if 0 (local.get 1))) (i32.const 0)";
        assert_eq!(locals_of(apart), [1, 1, 0, 2, 2]);
    }
}
