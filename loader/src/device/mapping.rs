//! Pages of a descriptor in this process, shared with the kernel while it writes them.
//!
//! # Invariants
//! No reference to the bytes exists: they are copied out, and positions are atomics.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64};

/// Bytes of a page on every supported machine.
pub(super) const PAGE: usize = 4096;

/// Mapped pages; dropped, they are unmapped.
#[derive(Debug)]
pub(super) struct Mapping {
    base: NonNull<u8>,
    size: usize,
}

// SAFETY: the pages belong to the process, and all access to them tolerates the kernel's writes.
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps `size` bytes of `fd` from offset `from` on.
    pub(super) fn new(
        fd: BorrowedFd<'_>,
        from: usize,
        size: usize,
        writable: bool,
    ) -> io::Result<Self> {
        let write = if writable { libc::PROT_WRITE } else { 0 };
        // SAFETY: the kernel chooses a free address, so nothing of the process is replaced.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size,
                libc::PROT_READ | write,
                libc::MAP_SHARED,
                fd.as_raw_fd(),
                from as libc::off_t,
            )
        };
        match NonNull::new(base.cast::<u8>()) {
            Some(base) if base.as_ptr() as isize != -1 => Ok(Mapping { base, size }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn at<T>(&self, offset: usize) -> *mut T {
        assert!(offset.is_multiple_of(align_of::<T>()) && offset + size_of::<T>() <= self.size);
        // SAFETY: the offset is inside the mapping.
        unsafe { self.base.add(offset) }.as_ptr().cast()
    }

    /// The 64-bit word at `offset`. Of a read-only mapping it may only be loaded.
    pub(super) fn word(&self, offset: usize) -> &AtomicU64 {
        // SAFETY: inside the mapping, aligned, lives as long as it, and only accessed atomically.
        unsafe { AtomicU64::from_ptr(self.at(offset)) }
    }

    /// The 32-bit word at `offset`, likewise.
    pub(super) fn half(&self, offset: usize) -> &AtomicU32 {
        // SAFETY: as above.
        unsafe { AtomicU32::from_ptr(self.at(offset)) }
    }

    /// Appends `len` bytes at `offset` to `to`.
    pub(super) fn copy(&self, offset: usize, len: usize, to: &mut Vec<u8>) {
        let end = offset.checked_add(len);
        assert!(end.is_some_and(|end| end <= self.size));
        to.reserve(len);
        // SAFETY: both ranges are valid for `len` bytes, which the copy initialises. If a hostile writer
        // changes them meanwhile they are any bytes, as they are anyway.
        unsafe {
            let from = self.base.add(offset).as_ptr();
            from.copy_to_nonoverlapping(to.as_mut_ptr().add(to.len()), len);
            to.set_len(to.len() + len);
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and nothing borrowed from it is left.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.size) };
    }
}
