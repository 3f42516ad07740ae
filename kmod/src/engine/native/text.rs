//! The room for native code, a part of this kernel module's own text, and who has which part of it.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use helpers::host::Errno;

use crate::locks::Only;
use crate::services;

/// Bytes of the room (`WPROBE_NATIVE_TEXT`).
pub(crate) const ROOM: usize = 1 << 20;
/// Parts begin at multiples of this.
const GRANULE: usize = 64;
/// Granules of a word of the map.
const WORD: usize = u64::BITS as usize;
/// Fills what nobody has: a trap.
const FILLER: u8 = 0xcc;

/// Which granules are taken, a bit each. They are taken under [`Only::Text`], and given back without.
static TAKEN: [AtomicU64; ROOM / GRANULE / WORD] = [const { AtomicU64::new(0) }; _];

fn is_taken(granule: usize) -> bool {
    TAKEN[granule / WORD].load(Relaxed) >> (granule % WORD) & 1 != 0
}

fn mark(granules: core::ops::Range<usize>, taken: bool) {
    for granule in granules {
        let bit = 1 << (granule % WORD);
        let word = &TAKEN[granule / WORD];
        match taken {
            true => word.fetch_or(bit, Relaxed),
            false => word.fetch_and(!bit, Relaxed),
        };
    }
}

/// Granules of the room.
const GRANULES: usize = ROOM / GRANULE;

/// The first of `count` free granules in a row, from `start` on or else from the room's begin on.
fn find(count: usize, start: usize) -> Option<usize> {
    [start..GRANULES, 0..GRANULES].into_iter().find_map(|part| {
        let mut run = 0;
        for granule in part {
            run = if is_taken(granule) { 0 } else { run + 1 };
            if run == count {
                return Some(granule + 1 - count);
            }
        }
        None
    })
}

/// A part of the room. Dropped, it is free; nothing runs in it then.
pub(crate) struct Text {
    granule: usize,
    size: usize,
}

impl Text {
    /// Room for `size` bytes, at a place that nobody can tell beforehand.
    pub(super) fn new(size: usize) -> Result<Self, Errno> {
        let _held = Only::Text.hold()?;
        let start = services::entropy() as usize % GRANULES;
        let granule = find(size.div_ceil(GRANULE).max(1), start).ok_or(Errno::ENOSPC)?;
        let text = Self { granule, size };
        mark(text.granules(), true);
        Ok(text)
    }

    fn granules(&self) -> core::ops::Range<usize> {
        self.granule..self.granule + self.size.div_ceil(GRANULE).max(1)
    }

    /// Address of its first byte.
    pub(super) fn address(&self) -> u64 {
        services::native_text() + (self.granule * GRANULE) as u64
    }

    /// Writes `code` to it.
    pub(super) fn write(&self, code: &[u8]) -> Result<(), Errno> {
        let code = code.get(..self.size).ok_or(Errno::EINVAL)?;
        // SAFETY: the part is ours, and nothing has been told of it yet.
        unsafe { services::native_write(self.granule * GRANULE, code) }.map_err(Errno)
    }
}

impl Drop for Text {
    fn drop(&mut self) {
        let mut filler = Vec::new();
        if filler.try_reserve_exact(self.size).is_ok() {
            filler.resize(self.size, FILLER);
            // What cannot be written over stays there; nothing leads to it any more.
            // SAFETY: nothing runs in it any more.
            let _ = unsafe { services::native_write(self.granule * GRANULE, &filler) };
        }
        mark(self.granules(), false);
    }
}
