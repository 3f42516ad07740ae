//! What pointers point to: buffers, of which control flow may leave one of several open.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;

/// A function's frame's number among its buffers; others are calls that gave them: this and the call's index.
pub(super) const FRAME: usize = 0;

/// Of more than so many buffers, nothing is known of a pointer.
const MOST: usize = 16;

/// The buffers that a pointer may be to, by a number of [`Buffers`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Either(usize);

impl Either {
    /// The frame.
    pub(super) const FRAME: Self = Either(0);
}

/// All [`Either`] of a function.
pub(super) struct Buffers {
    sets: Vec<BTreeSet<usize>>,
    numbers: BTreeMap<BTreeSet<usize>, usize>,
}

impl Buffers {
    pub(super) fn new() -> Self {
        let frame = BTreeSet::from([FRAME]);
        Buffers {
            sets: vec![frame.clone()],
            numbers: BTreeMap::from([(frame, Either::FRAME.0)]),
        }
    }

    fn number(&mut self, set: BTreeSet<usize>) -> Either {
        if let Some(number) = self.numbers.get(&set) {
            return Either(*number);
        }
        let number = self.sets.len();
        self.sets.push(set.clone());
        self.numbers.insert(set, number);
        Either(number)
    }

    /// Just `buffer`.
    pub(super) fn only(&mut self, buffer: usize) -> Either {
        self.number(BTreeSet::from([buffer]))
    }

    /// Those of both; `None` if these are too many, or one is the frame, whose words are followed as those of no other buffer.
    pub(super) fn joined(&mut self, a: Either, b: Either) -> Option<Either> {
        if a == b {
            return Some(a);
        }
        let all: BTreeSet<usize> = self.of(a).union(self.of(b)).copied().collect();
        let is_known = all.len() <= MOST && !all.contains(&FRAME);
        is_known.then(|| self.number(all))
    }

    /// The buffers of `either`.
    pub(super) fn of(&self, either: Either) -> &BTreeSet<usize> {
        &self.sets[either.0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_meet_until_there_are_too_many() {
        let mut buffers = Buffers::new();
        let (a, b) = (buffers.only(1), buffers.only(2));
        let both = buffers.joined(a, b).unwrap();
        assert_eq!(buffers.of(both), &BTreeSet::from([1, 2]));
        assert_eq!(buffers.joined(both, a), Some(both));
        assert_eq!(buffers.joined(b, a), Some(both));
        assert_eq!(buffers.joined(a, Either::FRAME), None);
        let many = (3..=MOST).fold(both, |known, next| {
            let next = buffers.only(next);
            buffers.joined(known, next).unwrap()
        });
        let one_more = buffers.only(MOST + 1);
        assert_eq!(buffers.joined(many, one_more), None);
    }
}
