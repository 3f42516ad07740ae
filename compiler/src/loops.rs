//! How far loops go: to the last branch back, which may be long before their end. In translated modules what follows a loop
//! lies in it, as blocks.

use crate::Made;
use crate::arena::{Arena, List};
use crate::body::Body;
use crate::operator::Op;

/// Not a loop, or one that nobody branches back to.
pub(crate) const NEVER: u32 = 0;

/// Of each loop, by its number, the last operator from which control may come to its beginning again; or [`NEVER`].
pub(crate) fn spans<'m>(arena: &'m Arena, body: &Body<'m>) -> Made<List<'m, u32>> {
    let mut spans = List::filled(arena, body.costs.loops.len(), NEVER);
    // Of what is open, the loop's number.
    let mut open: List<'_, Option<u32>> = List::filled(arena, 1, None);
    // Loops in the order in which they begin: number, beginning.
    let mut loops: List<'_, (u32, u32)> = List::new(arena);
    let back = |open: &[Option<u32>], spans: &mut [u32], depth: u32, at: usize| {
        let target = open.len().checked_sub(1 + depth as usize);
        let target = target.and_then(|target| open.get(target).copied().flatten());
        if let Some(span) = target.and_then(|number| spans.get_mut(number as usize)) {
            *span = at as u32;
        }
    };
    for (at, op) in body.ops.iter().enumerate() {
        match *op {
            Op::Block { .. } | Op::If { .. } => open.push(None),
            Op::Loop { number, .. } => {
                open.push(Some(number));
                loops.push((number, at as u32));
            }
            Op::End { .. } => {
                open.pop();
            }
            Op::Branch(depth) | Op::BranchIf(depth) => back(&open, &mut spans, depth, at),
            Op::BranchTable { first, count } => {
                for depth in body.targets_of(first, count) {
                    back(&open, &mut spans, *depth, at);
                }
            }
            _ => {}
        }
        arena.check()?;
    }
    // Who comes to an inner loop may turn in it, and go back to the outer one's beginning from there.
    let mut inner: List<'_, (u32, u32)> = List::new(arena);
    for (number, begin) in loops.iter().rev() {
        let Some(span) = spans.get_mut(*number as usize) else {
            continue;
        };
        if *span == NEVER {
            continue;
        }
        while let Some((_, far)) = inner.last().filter(|(begin, _)| *begin <= *span) {
            *span = (*span).max(*far);
            inner.pop();
        }
        inner.push((*begin, *span));
    }
    arena.check()?;
    Ok(spans)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module::Module;

    fn spans_of(body: &str) -> std::vec::Vec<u32> {
        let wasm = wat::parse_str(std::format!("(module (func (param i32) {body}))")).unwrap();
        let arena = Arena::new(1 << 16, &|| false);
        let module = Module::read(&wasm, 0x1_0000, &arena).unwrap();
        Body::read(&module, 0).unwrap().spans.to_vec()
    }

    #[test]
    fn a_loop_goes_to_its_last_branch_back() {
        let body = "(loop (br_if 0 (local.get 0)) (block (nop)) (nop))";
        assert_eq!(spans_of(body), [2]);
        assert_eq!(spans_of("(loop (nop))"), [NEVER]);
    }

    #[test]
    fn a_loop_goes_on_as_long_as_one_in_it() {
        let body = "(loop (loop (br_if 1 (local.get 0)) (nop) (br_if 0 (local.get 0))) (nop))";
        assert_eq!(spans_of(body), [6, 6]);
        let apart = "(loop (br_if 0 (local.get 0)) (loop (br_if 0 (local.get 0))))";
        assert_eq!(spans_of(apart), [2, 5]);
    }
}
