//! Where formatted text goes.

use abi::traps::Trap;

use crate::guest::GuestSlice;
use crate::work::{Work, price};

/// `MAX_BPRINTF_BUF`: of strings, as of a line in the trace log.
pub(super) const MAX_LINE: usize = 1024;

/// Where formatted text goes: so many bytes as fit, all are counted.
pub(super) struct Sink<'a> {
    pub(super) to: Target<'a>,
    pub(super) length: usize,
}

pub(super) enum Target<'a> {
    /// Only counted.
    Nowhere,
    /// Guest memory; the last byte is kept for the NUL.
    Guest(GuestSlice<'a>),
    /// Host memory.
    Line(&'a mut [u8; MAX_LINE]),
}

impl Sink<'_> {
    pub(super) fn byte(&mut self, byte: u8) {
        match &mut self.to {
            Target::Nowhere => {}
            Target::Guest(to) if self.length + 1 < to.len() => to.set(self.length, byte),
            Target::Line(to) if self.length < to.len() => to[self.length] = byte,
            Target::Guest(_) | Target::Line(_) => {}
        }
        self.length += 1;
    }

    /// Pays for `count` bytes, before they are written.
    pub(super) fn pay(&self, work: &Work, count: usize) -> Result<(), Trap> {
        work.units(count as u64 * price::CHARACTER)
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.byte(*byte));
    }

    pub(super) fn pad(&mut self, count: usize, with: u8) {
        (0..count).for_each(|_| self.byte(with));
    }
}
