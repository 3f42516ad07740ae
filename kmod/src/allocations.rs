//! How much was allocated, and what a run may allocate.

use core::alloc::Layout;
use core::cell::UnsafeCell;
use core::ptr;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static FREES: AtomicU64 = AtomicU64::new(0);
static PROBE_ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

/// Allocations and frees since the module was loaded, and allocations that a probe asked for in vain.
pub(crate) fn counts() -> (u64, u64, u64) {
    (
        ALLOCATIONS.load(Relaxed),
        FREES.load(Relaxed),
        PROBE_ALLOCATIONS.load(Relaxed),
    )
}

/// Counts an allocation made past the global allocator (guest memory).
pub(crate) fn count_allocation() {
    ALLOCATIONS.fetch_add(1, Relaxed);
}

/// Counts the free that belongs to [`count_allocation`].
pub(crate) fn count_free() {
    FREES.fetch_add(1, Relaxed);
}

/// Counts `count` frees that the allocator did not see.
pub(crate) fn count_frees(count: u64) {
    FREES.fetch_add(count, Relaxed);
}

const CELLS: usize = 8;
const CELL_SIZE: usize = 128;

#[repr(C, align(16))]
struct Cell([u8; CELL_SIZE]);

/// What a probe on one CPU may allocate. Only that CPU touches it, with interrupts off.
pub(crate) struct Reserve {
    /// Bit i: cell i is taken.
    taken: AtomicU32,
    cells: UnsafeCell<[Cell; CELLS]>,
}

impl Reserve {
    /// A cell, or null.
    pub(crate) fn take(&self, layout: Layout) -> *mut u8 {
        let index = self.taken.load(Relaxed).trailing_ones() as usize;
        if index >= CELLS || layout.size() > CELL_SIZE || layout.align() > align_of::<Cell>() {
            PROBE_ALLOCATIONS.fetch_add(1, Relaxed);
            return ptr::null_mut();
        }
        self.taken.fetch_or(1 << index, Relaxed);
        // SAFETY: index < CELLS.
        unsafe { self.cells.get().cast::<Cell>().add(index).cast() }
    }

    /// Gives `block` back; whether it is of this reserve.
    pub(crate) fn give(&self, block: *mut u8) -> bool {
        let offset = (block as usize).wrapping_sub(self.cells.get() as usize);
        if offset >= CELLS * CELL_SIZE {
            return false;
        }
        self.taken.fetch_and(!(1 << (offset / CELL_SIZE)), Relaxed);
        true
    }
}
