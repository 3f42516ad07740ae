//! The global allocator: the kernel's in the control path, a small reserve inside a probe.
//!
//! The engine boxes the error of a trap, so a run that traps allocates. The reserve serves that
//! without the kernel's allocator, which a probe may have interrupted. If it is exhausted the
//! allocation fails (and is counted): a run never calls the kernel's allocator.

use core::alloc::{GlobalAlloc, Layout};

use crate::allocations::{count_allocation, count_free};
use crate::cpu;
use crate::services;

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

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if let Some(cpu) = cpu::in_run()
            && cpu.reserve.give(block)
        {
            return;
        }
        count_free();
        // SAFETY: not of a reserve (a run frees all it took before it ends), so from wp_alloc.
        unsafe { services::free(block, layout.size()) };
    }
}
