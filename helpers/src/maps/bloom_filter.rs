//! `BPF_MAP_TYPE_BLOOM_FILTER`, as `kernel/bpf/bloom_filter.c`: a set that may claim too much, never too little.
//!
//! Nothing of it lies in guest memory.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::{Key, MapSpec, host_vec};
use crate::host::Errno;

/// `BPF_F_NUMA_NODE | BPF_F_ZERO_SEED | BPF_F_RDONLY | BPF_F_WRONLY | BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG`.
const FLAGS: u32 = 1 << 2 | 1 << 6 | 1 << 3 | 1 << 4 | 1 << 7 | 1 << 8;
/// Hash functions; `map_extra` could choose another number.
const HASHES: u32 = 5;

/// Nothing: see above.
pub(super) fn area_bytes(spec: &MapSpec) -> Result<u64, Errno> {
    if spec.key_size != 0
        || spec.value_size == 0
        || spec.max_entries == 0
        || spec.flags & !FLAGS != 0
    {
        return Err(Errno::EINVAL);
    }
    if spec.value_size as usize > super::MAX_KEY {
        return Err(Errno::E2BIG);
    }
    Ok(0)
}

#[derive(Debug)]
pub(super) struct BloomFilter {
    words: Vec<AtomicU64>,
    mask: u64,
}

/// Its bits: n * k / ln 2, as the kernel's, rounded up to a power of two.
fn bits(spec: &MapSpec) -> u64 {
    let bits = u64::from(spec.max_entries) * u64::from(HASHES) * 7 / 5;
    bits.next_power_of_two().max(64)
}

/// Bytes of host memory that it takes besides itself.
pub(super) fn host_bytes(spec: &MapSpec) -> u64 {
    bits(spec) / 8
}

impl BloomFilter {
    /// `spec` has passed [`area_bytes`].
    pub(super) fn new(spec: &MapSpec) -> Result<Self, Errno> {
        let bits = bits(spec);
        let count = (bits / 64) as usize;
        let mut words = host_vec(count)?;
        words.extend((0..count).map(|_| AtomicU64::new(0)));
        Ok(Self {
            words,
            mask: bits - 1,
        })
    }

    /// Adds a value.
    pub(super) fn push(&self, value: &Key, flags: u64) -> Result<(), Errno> {
        if flags != 0 {
            return Err(Errno::EINVAL);
        }
        for (word, bit) in self.places(value) {
            word.fetch_or(bit, Relaxed);
        }
        Ok(())
    }

    /// Whether the value may have been added.
    pub(super) fn has(&self, value: &Key) -> bool {
        self.places(value)
            .all(|(word, bit)| word.load(Relaxed) & bit != 0)
    }

    fn places<'a>(&'a self, value: &'a Key) -> impl Iterator<Item = (&'a AtomicU64, u64)> {
        (0..HASHES).map(move |seed| {
            let at = u64::from(value.hash(seed)) & self.mask;
            (&self.words[(at / 64) as usize], 1 << (at % 64))
        })
    }
}
