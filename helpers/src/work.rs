//! What helpers cost: a run's budget bounds what it does in them, too.
//!
//! Everything that takes time is paid for before it is done, at the prices of [`price`]. Without this, a loop of few
//! instructions could have a megabyte copied in each turn, and a budget of instructions would bound nothing.

use core::cell::Cell;

use abi::traps::Trap;

use crate::host::{Errno, Result0};

/// What things cost, in units: one is a plain operator of wasm, some four instructions of native code. A price is so that no
/// unit buys more than four times what it buys in a plain loop (PRICES.md has what was counted). A helper's call itself is paid
/// as any call is, where it stands (the crate `cost`).
pub mod price {
    /// Bytes that are copied, compared or looked at for one unit, at worst one by one.
    pub const BYTES: u64 = 4;
    /// Looking for an element, and each eight bytes of its key, which are copied, hashed and compared.
    pub const LOOKUP: u64 = 16;
    /// As above.
    pub const KEY_WORD: u64 = 2;
    /// Changing a map: locks, chains and lists.
    pub const UPDATE: u64 = 32;
    /// Each CPU whose free slots may be looked at.
    pub const FREE_LIST: u64 = 2;
    /// Each eight bytes of a value that a bloom filter hashes, five times.
    pub const BLOOM_WORD: u64 = 6;
    /// A node of a trie on the way to a key; it lies anywhere.
    pub const NODE: u64 = 16;
    /// What a trie's look-up copies first, and what a change of it copies.
    pub const PREFIX: u64 = 32;
    /// An element of a full map that is looked at to be evicted, and not: three locked instructions.
    pub const SLOT: u64 = 192;
    /// A dynptr that is looked at, and bytes that go through one.
    pub const DYNPTR: u64 = 32;
    /// A map that is asked whether a record is its own.
    pub const OWNER: u64 = 2;
    /// Calling a function of the module.
    pub const CALLBACK: u64 = 64;
    /// A try for a lock that another has: a wait of 40 to 140 cycles, and longer in a guest.
    pub const TRY: u64 = 256;
    /// An event's way into a ring, with the wake of who waits for it.
    pub const RECORD: u64 = 64;
    /// An access to kernel memory.
    pub const LOAD: u64 = 16;
    /// An access to user memory, which is opened for it and closed again.
    pub const USER: u64 = 192;
    /// An access that faults: the exception, and the search for who handles it.
    pub const FAULT: u64 = 2304;
    /// Asking the kernel for something of a task, group or namespace.
    pub const ASK: u64 = 48;
    /// A frame of a kernel stack, walked or skipped, stored and hashed. One of a user's is [`USER`].
    pub const FRAME: u64 = 64;
    /// Frames that a walk takes at least.
    pub const WALK: u64 = 16;
    /// A step of a path towards the root.
    pub const STEP: u64 = 96;
    /// A character of a format, or one that is written.
    pub const CHARACTER: u64 = 2;
    /// A number that is written or read.
    pub const NUMBER: u64 = 64;
    /// What plain pointers show: a hash.
    pub const POINTER: u64 = 128;
    /// Looking for a symbol: the kernel goes through all symbols of a module.
    pub const SYMBOL: u64 = 8192;
    /// A line in the trace log, of however many bytes.
    pub const TRACE: u64 = 6144;
}

/// The budget of a run while a helper works: what is left of it.
#[derive(Debug)]
pub struct Work {
    left: Cell<u64>,
}

impl Work {
    /// Work of a run that has `left` units.
    pub const fn new(left: u64) -> Self {
        Self {
            left: Cell::new(left),
        }
    }

    /// Work that is no run's: the control path's.
    pub const fn unlimited() -> Self {
        Self::new(u64::MAX)
    }

    /// What is left.
    pub fn left(&self) -> u64 {
        self.left.get()
    }

    /// Goes on with what functions of the module have left, which were given [`Self::left`].
    pub fn resume(&self, left: u64) {
        self.left.set(left);
    }

    /// Pays `count` units.
    ///
    /// # Errors
    ///
    /// [`Trap::Budget`] if there are not so many left.
    #[inline]
    pub fn units(&self, count: u64) -> Result<(), Trap> {
        let left = self.left.get().checked_sub(count);
        // What asks for more than there is has it all.
        self.left.set(left.unwrap_or(0));
        left.map(|_| ()).ok_or(Trap::Budget)
    }

    /// Pays for `count` bytes, before they are touched.
    ///
    /// # Errors
    ///
    /// As [`Self::units`].
    #[inline]
    pub fn bytes(&self, count: u64) -> Result<(), Trap> {
        self.units(count / price::BYTES)
    }

    /// Does what may fault. A fault is paid for before; who does not fault gets it back.
    ///
    /// # Errors
    ///
    /// As [`Self::units`].
    #[inline]
    pub fn may_fault<T>(
        &self,
        access: impl FnOnce() -> Result<T, Errno>,
    ) -> Result<Result<T, Errno>, Trap> {
        self.units(price::FAULT)?;
        let result = access();
        if result.is_ok() {
            self.left.set(self.left.get() + price::FAULT);
        }
        Ok(result)
    }
}

/// Why something comes to no end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It is refused, and the program told.
    Refused(Errno),
    /// The run ends.
    Ended(Trap),
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Self {
        Self::Refused(errno)
    }
}

impl From<Trap> for Stop {
    fn from(trap: Trap) -> Self {
        Self::Ended(trap)
    }
}

impl Stop {
    /// What the helper gives then.
    pub(crate) fn r0(self) -> Result0 {
        match self {
            Self::Refused(errno) => Ok(errno.as_r0()),
            Self::Ended(trap) => Err(trap),
        }
    }

    /// The errno, where the work is [without end](Work::unlimited).
    pub(crate) fn errno(self) -> Errno {
        match self {
            Self::Refused(errno) => errno,
            Self::Ended(_) => Errno::EAGAIN,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_done_that_cannot_be_paid() {
        let work = Work::new(10);
        assert_eq!(work.units(4), Ok(()));
        assert_eq!(work.bytes(6 * price::BYTES + 1), Ok(()));
        assert_eq!(work.left(), 0);
        assert_eq!(work.units(0), Ok(()));
        assert_eq!(work.units(1), Err(Trap::Budget));
        let work = Work::new(10);
        assert_eq!(work.units(11), Err(Trap::Budget));
        assert_eq!(work.left(), 0, "it has it all");
    }

    #[test]
    fn a_fault_is_paid_for_before_and_given_back_where_there_is_none() {
        let work = Work::new(price::FAULT + 1);
        assert_eq!(work.may_fault(|| Ok(7)), Ok(Ok(7)));
        assert_eq!(work.left(), price::FAULT + 1);
        let fault = Err::<u8, _>(Errno::EFAULT);
        assert_eq!(work.may_fault(|| fault), Ok(fault));
        assert_eq!(work.left(), 1);
        let mut is_done = false;
        let refused = work.may_fault(|| {
            is_done = true;
            Ok(())
        });
        assert_eq!((refused, is_done), (Err(Trap::Budget), false));
    }
}
