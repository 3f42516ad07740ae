//! What code pays of its budget: a body outside its loops where it is entered, and a loop's part of it at each turn.

use abi::native::CALL;

use crate::arena::{Arena, List};

/// wasm instructions for one unit of the budget: they are cheap here.
const UNIT: u64 = 4;

/// Counts the operators of a body.
pub(crate) struct Meter<'m> {
    /// Of the body, and of each of its loops in their order, the operators.
    counts: List<'m, u64>,
    /// Of each open instruction, who pays for what is in it.
    open: List<'m, u32>,
}

impl<'m> Meter<'m> {
    pub(crate) fn new(arena: &'m Arena) -> Self {
        Self {
            counts: List::filled(arena, 1, 0),
            open: List::filled(arena, 1, 0),
        }
    }

    fn add(&mut self, count: u64) {
        let payer = self.open.last().map_or(0, |payer| *payer as usize);
        if let Some(counted) = self.counts.get_mut(payer) {
            *counted += count;
        }
    }

    /// One operator, before what it opens or ends.
    pub(crate) fn operator(&mut self) {
        self.add(1);
    }

    /// A call of a function that takes nothing off the budget itself.
    pub(crate) fn reading(&mut self) {
        self.add(CALL * UNIT);
    }

    /// A block or an `if` begins.
    pub(crate) fn block(&mut self) {
        let payer = self.open.last().map_or(0, |payer| *payer);
        self.open.push(payer);
    }

    /// A loop begins; its number.
    pub(crate) fn turn(&mut self) -> u32 {
        let number = self.counts.len() as u32;
        self.open.push(number);
        self.counts.push(0);
        number
    }

    /// What was opened last ends.
    pub(crate) fn end(&mut self) {
        self.open.pop();
    }

    /// Units that the body pays, and a turn of each loop.
    pub(crate) fn units(mut self) -> List<'m, u64> {
        for count in self.counts.iter_mut() {
            *count = *count / UNIT + 1;
        }
        self.counts
    }
}
