//! The global allocator: the kernel's in the control path, a small reserve inside a probe.
//!
//! The engine boxes the error of a trap, so a run that traps allocates. The reserve serves that
//! without the kernel's allocator, which a probe may have interrupted. If it is exhausted the
//! allocation fails (and is counted): a run never calls the kernel's allocator.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::cpu;
use crate::services;

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
    fn take(&self, layout: Layout) -> *mut u8 {
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
    fn give(&self, block: *mut u8) -> bool {
        let offset = (block as usize).wrapping_sub(self.cells.get() as usize);
        if offset >= CELLS * CELL_SIZE {
            return false;
        }
        self.taken.fetch_and(!(1 << (offset / CELL_SIZE)), Relaxed);
        true
    }
}

struct Kernel;

#[global_allocator]
static KERNEL: Kernel = Kernel;

// SAFETY: blocks come from kvmalloc, aligned as asked (see wp_alloc), or from a reserve's cells,
// which are handed out one at a time; sizes and alignments that do not fit give null.
unsafe impl GlobalAlloc for Kernel {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if let Some(cpu) = cpu::in_run() {
            return cpu.reserve.take(layout);
        }
        let block = services::alloc(layout.size(), layout.align());
        if !block.is_null() {
            count_allocation();
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, _layout: Layout) {
        if let Some(cpu) = cpu::in_run()
            && cpu.reserve.give(block)
        {
            return;
        }
        count_free();
        // SAFETY: not of a reserve (a run frees all it took before it ends), so from wp_alloc.
        unsafe { services::free(block) };
    }
}
