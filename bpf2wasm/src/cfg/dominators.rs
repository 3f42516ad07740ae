//! Immediate dominators, by Cooper, Harvey and Kennedy, "A Simple, Fast Dominance Algorithm" (2001).

use alloc::vec;
use alloc::vec::Vec;

use super::blocks::Blocks;

/// The immediate dominator of every block; the entry is its own.
pub(super) fn immediate(blocks: &Blocks) -> Vec<usize> {
    const NONE: usize = usize::MAX;
    let mut idom = vec![NONE; blocks.list.len()];
    idom[0] = 0;
    let mut changed = true;
    while changed {
        changed = false;
        for number in 1..idom.len() {
            let preds = blocks.preds(number).iter().copied();
            let known = preds.filter(|p| idom[*p] != NONE);
            let new = known.reduce(|a, b| intersect(&idom, a, b)).unwrap_or(0);
            changed |= core::mem::replace(&mut idom[number], new) != new;
        }
    }
    idom
}

fn intersect(idom: &[usize], mut a: usize, mut b: usize) -> usize {
    while a != b {
        if a > b {
            a = idom[a];
        } else {
            b = idom[b];
        }
    }
    a
}

/// Whether `a` dominates `b`.
pub(super) fn dominates(idom: &[usize], a: usize, mut b: usize) -> bool {
    while b > a {
        b = idom[b];
    }
    a == b
}
