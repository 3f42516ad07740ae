//! What is known of locals at the operator that is being compiled, and how that changes where ways meet.
//!
//! Each change is noted, with what was known before, from the first branch on that may make it unknown again. Where the
//! ways meet, what was known at that branch is known again, unless the local was set since.

use crate::Made;
use crate::arena::{Arena, List};

/// What is known of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    Nothing,
    Constant(u64),
    /// `env.stack_base` and so much; whether that comes from the pointer to the context.
    Placed(u64, bool),
}

/// What is known of a local.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fact {
    pub(crate) known: Known,
    /// It is never above that.
    pub(crate) most: u64,
    /// So many bytes from its lower half on are inside memory.
    pub(crate) checked: u64,
}

impl Fact {
    pub(crate) const NOTHING: Self = Self {
        known: Known::Nothing,
        most: u64::MAX,
        checked: 0,
    };

    /// Whether it says that the local points to the context.
    pub(crate) fn is_context(&self) -> bool {
        matches!(self.known, Known::Placed(_, true))
    }
}

#[derive(Clone, Copy)]
struct Change {
    local: u16,
    /// Whether the local has another value, or only more is known of it.
    is_set: bool,
    before: Fact,
}

/// A moment that can be gone back to.
pub(crate) type Moment = u32;

/// What is known of each local.
pub(crate) struct Facts<'m> {
    now: List<'m, Fact>,
    changes: List<'m, Change>,
    /// In which going back each local was seen last.
    seen: List<'m, u32>,
    times: u32,
}

impl<'m> Facts<'m> {
    pub(crate) fn new(arena: &'m Arena<'m>, locals: usize) -> Made<Self> {
        let facts = Self {
            now: List::filled(arena, locals, Fact::NOTHING),
            changes: List::new(arena),
            seen: List::filled(arena, locals, 0),
            times: 0,
        };
        arena.check()?;
        Ok(facts)
    }

    pub(crate) fn of(&self, local: usize) -> Fact {
        self.now.get(local).copied().unwrap_or(Fact::NOTHING)
    }

    pub(crate) fn moment(&self) -> Moment {
        self.changes.len() as Moment
    }

    /// The local is set.
    pub(crate) fn set(&mut self, local: usize, fact: Fact) {
        self.change(local, true, fact);
    }

    /// More is known of a local, as long as this way is gone.
    pub(crate) fn learn(&mut self, local: usize, fact: Fact) {
        self.change(local, false, fact);
    }

    fn change(&mut self, local: usize, is_set: bool, fact: Fact) {
        if let Some(now) = self.now.get_mut(local) {
            self.changes.push(Change {
                local: local as u16,
                is_set,
                before: *now,
            });
            *now = fact;
        }
    }

    /// Nothing has to be gone back from any more.
    pub(crate) fn forget_changes(&mut self) {
        self.changes.truncate(0);
    }

    /// Knows what was known at `moment`. Changes of locals that were set since stay noted, once each: whoever goes back
    /// further has to know of them.
    pub(crate) fn back_to(&mut self, moment: Moment) {
        self.times += 1;
        let moment = moment as usize;
        let length = self.changes.len();
        for index in (moment..length).rev() {
            if let Some(change) = self.changes.get(index).copied()
                && let Some(now) = self.now.get_mut(usize::from(change.local))
            {
                *now = change.before;
            }
        }
        let mut kept = moment;
        for index in moment..length {
            let Some(change) = self.changes.get(index).copied() else {
                continue;
            };
            let local = usize::from(change.local);
            let Some(seen) = self.seen.get_mut(local).filter(|_| change.is_set) else {
                continue;
            };
            if core::mem::replace(seen, self.times) == self.times {
                continue;
            }
            let before = self.of(local);
            if let Some(place) = self.changes.get_mut(kept) {
                *place = Change { before, ..change };
                kept += 1;
            }
        }
        self.changes.truncate(kept);
    }

    /// Goes back to `moment` and forgets what was set since, of which `lost` is told.
    pub(crate) fn meet(&mut self, moment: Moment, mut lost: impl FnMut(usize, Fact)) {
        self.back_to(moment);
        for index in moment as usize..self.changes.len() {
            let change = self.changes.get(index).copied();
            let local = change.map(|change| usize::from(change.local));
            if let Some(local) = local
                && let Some(now) = self.now.get_mut(local)
            {
                lost(local, *now);
                *now = Fact::NOTHING;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn constant(value: u64) -> Fact {
        Fact {
            known: Known::Constant(value),
            ..Fact::NOTHING
        }
    }

    #[test]
    fn where_ways_meet_what_was_set_is_forgotten_and_what_was_learned_too() {
        let arena = Arena::new(1 << 16, &|| false);
        let mut facts = Facts::new(&arena, 3).unwrap();
        facts.set(0, constant(1));
        facts.set(1, constant(2));
        let outer = facts.moment();
        facts.learn(0, constant(3));
        let inner = facts.moment();
        facts.set(1, constant(4));
        facts.set(1, constant(5));
        facts.set(2, constant(6));
        let mut lost = 0;
        facts.meet(inner, |_, _| lost += 1);
        assert_eq!(lost, 2);
        assert_eq!(facts.of(0), constant(3));
        assert_eq!(facts.of(1), Fact::NOTHING);
        facts.meet(outer, |_, _| {});
        assert_eq!(facts.of(0), constant(1));
        assert_eq!(facts.of(1), Fact::NOTHING, "set on one of the ways");
    }

    #[test]
    fn an_else_knows_what_the_if_did() {
        let arena = Arena::new(1 << 16, &|| false);
        let mut facts = Facts::new(&arena, 1).unwrap();
        facts.set(0, constant(1));
        let opened = facts.moment();
        facts.set(0, constant(2));
        facts.back_to(opened);
        assert_eq!(facts.of(0), constant(1));
        facts.meet(opened, |_, _| {});
        assert_eq!(facts.of(0), Fact::NOTHING);
    }
}
