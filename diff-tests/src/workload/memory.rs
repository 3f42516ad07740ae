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
