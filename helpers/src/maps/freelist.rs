//! Free slots of a map, one list a CPU, as `kernel/bpf/percpu_freelist.c`.
//!
//! A CPU takes from its own list and only then from the others', so that CPUs rarely meet. A slot is in one list at most, and knows
//! the next there: however many CPUs there are, lists take one number a slot.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use abi::traps::Trap;

use super::host_vec;
use crate::host::Errno;
use crate::lock::{Line, SpinLock};
use crate::work::{Work, price};

/// Ends a list.
const END: u32 = u32::MAX;

#[derive(Debug)]
pub(super) struct FreeList {
    /// Each CPU's first.
    heads: Vec<Line<SpinLock<u32>>>,
    /// The one after each slot, of those that are in a list; touched under that list's lock.
    next: Vec<AtomicU32>,
}

/// Bytes of host memory that lists take of which so many slots may be in one.
pub(super) fn host_bytes(slots: u32, cpus: u32) -> u64 {
    let heads = u64::from(cpus) * size_of::<Line<SpinLock<u32>>>() as u64;
    heads + u64::from(slots) * size_of::<AtomicU32>() as u64
}

impl FreeList {
    /// Slots `0..free`, spread over `cpus` lists; any of `0..slots` may be given back.
    pub(super) fn new(free: u32, slots: u32, cpus: u32) -> Result<Self, Errno> {
        let mut heads = host_vec(cpus as usize)?;
        heads.extend((0..cpus).map(|cpu| {
            let first = if cpu < free { cpu } else { END };
            Line(SpinLock::new(first))
        }));
        let after = |slot: u32| slot.checked_add(cpus).filter(|next| *next < free);
        let mut next = host_vec(slots as usize)?;
        next.extend((0..slots).map(|slot| AtomicU32::new(after(slot).unwrap_or(END))));
        Ok(Self { heads, next })
    }

    /// Pays for [`Self::take`], which looks at all lists where there is none.
    pub(super) fn pay(&self, work: &Work) -> Result<(), Trap> {
        work.units(self.heads.len() as u64 * price::FREE_LIST)
    }

    /// A free slot, `cpu`'s own first.
    pub(super) fn take(&self, cpu: u32) -> Option<u32> {
        let own = cpu as usize % self.heads.len();
        let (before, rest) = self.heads.split_at(own);
        rest.iter().chain(before).find_map(|head| {
            let mut head = head.0.lock();
            let slot = *head;
            *head = self.next.get(slot as usize)?.load(Relaxed);
            Some(slot)
        })
    }

    /// Gives `slot` back to `cpu`.
    pub(super) fn give(&self, cpu: u32, slot: u32) {
        let own = cpu as usize % self.heads.len();
        let mut head = self.heads[own].0.lock();
        self.next[slot as usize].store(*head, Relaxed);
        *head = slot;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_is_given_out_once_to_whichever_cpu_asks() {
        let list = FreeList::new(10, 13, 3).unwrap();
        let mut taken: Vec<u32> = core::iter::from_fn(|| list.take(1)).collect();
        assert_eq!(taken[..3], [1, 4, 7], "its own first");
        taken.sort_unstable();
        assert!(taken.into_iter().eq(0..10));
        list.give(2, 5);
        assert_eq!((list.take(0), list.take(0)), (Some(5), None));
        // A spare one, for which another was taken.
        list.give(1, 12);
        assert_eq!((list.take(0), list.take(0)), (Some(12), None));
    }

    #[test]
    fn more_cpus_than_slots_take_no_more_than_a_head_each() {
        let list = FreeList::new(2, 130, 128).unwrap();
        assert_eq!(host_bytes(1 << 20, 128), (4 << 20) + 128 * 64);
        assert_eq!((list.take(100), list.take(100)), (Some(0), Some(1)));
        assert_eq!(list.take(100), None);
        list.give(100, 1);
        assert_eq!(list.take(0), Some(1));
    }
}
