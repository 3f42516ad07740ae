//! Memory that the kernel moves between NUMA nodes.

use std::io;
use std::time::{Duration, Instant};

/// Pages that are touched from the last CPU, after the first one did.
const BYTES: usize = 4 << 20;
const PAGE: usize = 4096;

/// For `time`: the kernel finds that they are used from the other node.
pub fn far(time: Duration) -> io::Result<()> {
    let last = std::thread::available_parallelism()?.get() - 1;
    super::pin(0)?;
    let mut bytes = vec![1u8; BYTES];
    super::pin(last)?;
    let begin = Instant::now();
    while begin.elapsed() < time {
        for page in bytes.chunks_mut(PAGE) {
            page[0] = std::hint::black_box(page[0]).wrapping_add(1);
        }
    }
    Ok(())
}

/// A page of this process at a known address, full of text that does not end in it.
#[derive(Debug)]
pub struct UserText(*mut libc::c_void);

impl UserText {
    /// A page at `address`, where nothing is.
    pub fn at(address: usize) -> io::Result<Self> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let wanted = address as *mut libc::c_void;
        // SAFETY: a new mapping; it replaces nothing.
        let page = unsafe { libc::mmap(wanted, PAGE, protection, flags, -1, 0) };
        if page == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the page is ours, and writable.
        unsafe { page.cast::<u8>().write_bytes(b'x', PAGE) };
        Ok(Self(page))
    }
}

impl Drop for UserText {
    fn drop(&mut self) {
        // SAFETY: the page is ours, and nobody keeps a reference into it.
        unsafe { libc::munmap(self.0, PAGE) };
    }
}
