//! What helpers cost: a run's budget bounds what it does in them too.
//!
//! Without this, a loop of few instructions could have a megabyte copied in each turn, and a budget of instructions
//! would bound nothing.

use core::cell::Cell;

use abi::native::CALL;
use abi::traps::Trap;

/// Bytes that are copied, compared or formatted for one unit.
const BYTES: u64 = 16;

/// The budget of a run while a helper works, in the engine's units: about one wasm instruction each.
#[derive(Debug)]
pub struct Work {
    had: u64,
    left: Cell<u64>,
}

impl Work {
    /// Work for one call, of a run that has `left` units.
    pub fn new(left: u64) -> Self {
        Self {
            had: left,
            left: Cell::new(left),
        }
    }

    /// What has been used up, for the engine to take off.
    pub fn done(&self) -> u64 {
        self.had - self.left.get()
    }

    /// What is left.
    pub fn left(&self) -> u64 {
        self.left.get()
    }

    /// Pays for the call itself.
    ///
    /// # Errors
    ///
    /// [`Trap::Budget`] if not so much is left.
    pub fn call(&self) -> Result<(), Trap> {
        self.units(CALL)
    }

    /// Pays for `count` bytes, before they are touched.
    pub(super) fn bytes(&self, count: u64) -> Result<(), Trap> {
        self.units(count / BYTES)
    }

    /// Pays for work of another kind.
    pub(super) fn units(&self, count: u64) -> Result<(), Trap> {
        let left = self.left.get().checked_sub(count);
        // What asks for more than there is has it all.
        self.left.set(left.unwrap_or(0));
        left.map(|_| ()).ok_or(Trap::Budget)
    }
}
