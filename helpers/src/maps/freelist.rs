//! Free slots of a map, one list a CPU, as `kernel/bpf/percpu_freelist.c`.
//!
//! A CPU takes from its own list and only then from the others', so that CPUs rarely meet.

use alloc::vec::Vec;

use abi::traps::Trap;

use super::host_vec;
use crate::host::Errno;
use crate::lock::{Line, SpinLock};
use crate::work::{Work, price};

#[derive(Debug)]
pub(super) struct FreeList {
    lists: Vec<Line<SpinLock<Vec<u32>>>>,
}

impl FreeList {
    /// Slots `0..slots`, spread over `cpus` lists. Each list has room for all, so that giving back
    /// never allocates.
    pub(super) fn new(slots: u32, cpus: u32) -> Result<Self, Errno> {
        let mut lists = host_vec(cpus as usize)?;
        for cpu in 0..cpus {
            let mut list = host_vec(slots as usize)?;
            list.extend((0..slots).rev().filter(|slot| slot % cpus == cpu));
            lists.push(Line(SpinLock::new(list)));
        }
        Ok(Self { lists })
    }

    /// Pays for [`Self::take`], which looks at all lists where there is none.
    pub(super) fn pay(&self, work: &Work) -> Result<(), Trap> {
        work.units(self.lists.len() as u64 * price::FREE_LIST)
    }

    /// A free slot, `cpu`'s own first.
    pub(super) fn take(&self, cpu: u32) -> Option<u32> {
        let own = cpu as usize % self.lists.len();
        let (before, rest) = self.lists.split_at(own);
        rest.iter()
            .chain(before)
            .find_map(|list| list.0.lock().pop())
    }

    /// Gives `slot` back to `cpu`.
    pub(super) fn give(&self, cpu: u32, slot: u32) {
        let own = cpu as usize % self.lists.len();
        self.lists[own].0.lock().push(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_is_given_out_once_to_whichever_cpu_asks() {
        let list = FreeList::new(10, 3).unwrap();
        let mut taken: Vec<u32> = core::iter::from_fn(|| list.take(1)).collect();
        assert_eq!(taken[..3], [1, 4, 7], "its own first");
        taken.sort_unstable();
        assert!(taken.into_iter().eq(0..10));
        list.give(2, 5);
        assert_eq!((list.take(0), list.take(0)), (Some(5), None));
    }
}
