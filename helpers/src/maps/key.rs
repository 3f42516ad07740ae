//! A key, read once.
//!
//! A guest can change its memory while a helper works; a key is therefore copied before it is hashed,
//! so that the hash and the bytes belong together.

use core::mem::MaybeUninit;
use core::sync::atomic::Ordering::Relaxed;

use crate::guest::GuestSlice;
use crate::host::Errno;

/// Bytes of a key at most: what fits the kernel's eBPF stack, where programs build their keys.
pub const MAX_KEY: usize = 512;
const MAX_WORDS: usize = MAX_KEY / 8;

/// A key as words, padded with zero bytes.
///
/// # Invariants
///
/// The first `count` words are initialised, and `count` is at most `MAX_WORDS`.
pub struct Key {
    words: MaybeUninit<[u64; MAX_WORDS]>,
    count: usize,
}

impl Key {
    /// Room for a key that is [read](Self::read_guest) into it: one is too large to be moved about.
    #[inline]
    pub fn room() -> MaybeUninit<Self> {
        MaybeUninit::uninit()
    }

    /// Copies a key out of guest memory.
    ///
    /// # Errors
    ///
    /// `E2BIG` if it is longer than [`MAX_KEY`].
    pub fn from_guest(from: GuestSlice<'_>) -> Result<Self, Errno> {
        let mut room = Self::room();
        Self::read_guest(&mut room, from)?;
        // SAFETY: it was read.
        Ok(unsafe { room.assume_init() })
    }

    /// Copies a key out of guest memory into `room`.
    ///
    /// # Errors
    ///
    /// `E2BIG` if it is longer than [`MAX_KEY`].
    #[inline]
    pub fn read_guest<'r>(
        room: &'r mut MaybeUninit<Self>,
        from: GuestSlice<'_>,
    ) -> Result<&'r Self, Errno> {
        let len = from.len();
        // Most keys are a word, or half of one.
        let word = match (from.as_atomic64(), from.as_atomic32()) {
            (Some(word), _) => word.load(Relaxed),
            (None, Some(half)) => u64::from(half.load(Relaxed).to_le()).to_le(),
            (None, None) => return Self::read_words(room, from),
        };
        Self::fill(room, len, core::iter::once(word))
    }

    #[inline(never)]
    fn read_words<'r>(
        room: &'r mut MaybeUninit<Self>,
        from: GuestSlice<'_>,
    ) -> Result<&'r Self, Errno> {
        let len = from.len();
        Self::fill(room, len, (0..len).step_by(8).map(|at| from.word_at(at)))
    }

    /// Copies a key out of host memory.
    ///
    /// # Errors
    ///
    /// `E2BIG` if it is longer than [`MAX_KEY`].
    pub fn from_host(from: &[u8]) -> Result<Self, Errno> {
        let mut room = Self::room();
        let words = from.chunks(8).map(|chunk| {
            let mut bytes = [0; 8];
            bytes[..chunk.len()].copy_from_slice(chunk);
            u64::from_ne_bytes(bytes)
        });
        Self::fill(&mut room, from.len(), words)?;
        // SAFETY: it was filled.
        Ok(unsafe { room.assume_init() })
    }

    /// Makes the key of `len` bytes that are in `words`.
    #[inline]
    fn fill(
        room: &mut MaybeUninit<Self>,
        len: usize,
        words: impl Iterator<Item = u64>,
    ) -> Result<&Self, Errno> {
        if len > MAX_KEY {
            return Err(Errno::E2BIG);
        }
        let key = room.as_mut_ptr();
        let mut count = 0;
        for word in words.take(MAX_WORDS) {
            // SAFETY: inside the room, for count < MAX_WORDS: that many words are taken at most.
            unsafe { (&raw mut (*key).words).cast::<u64>().add(count).write(word) };
            count += 1;
        }
        // SAFETY: inside the room; with this all of it is initialised that has to be.
        unsafe {
            (&raw mut (*key).count).write(count);
            Ok(room.assume_init_ref())
        }
    }

    /// The words.
    pub fn words(&self) -> &[u64] {
        // SAFETY: the first `count` words are initialised, of which there are at most as many.
        unsafe { core::slice::from_raw_parts(self.words.as_ptr().cast(), self.count) }
    }

    /// The first four bytes as a number: an array's index.
    pub fn index(&self) -> u32 {
        self.words().first().map_or(0, |word| *word as u32)
    }

    /// A hash of the bytes. Seeded, so that a guest cannot aim at one bucket.
    pub fn hash(&self, seed: u32) -> u32 {
        let mut state = u64::from(seed) ^ 0x9E37_79B9_7F4A_7C15;
        for word in self.words() {
            // The finalizer of splitmix64, once a word.
            state = (state ^ word).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            state = (state ^ (state >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            state ^= state >> 31;
        }
        state as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::tests::memory;
    use std::vec;

    #[test]
    fn guest_and_host_keys_agree_at_every_length_and_alignment() {
        let memory = memory(1024);
        let bytes: std::vec::Vec<u8> = (0..=255).cycle().take(MAX_KEY).collect();
        for len in [0, 1, 3, 4, 7, 8, 9, 16, 23, MAX_KEY] {
            for offset in 0..8 {
                let slice = memory.at(offset, len as u64).unwrap();
                slice.write(&bytes);
                let guest = Key::from_guest(slice).unwrap();
                let host = Key::from_host(&bytes[..len]).unwrap();
                assert_eq!(guest.words(), host.words());
                assert_eq!(guest.hash(1), host.hash(1));
            }
        }
    }

    #[test]
    fn long_keys_are_refused() {
        assert_eq!(
            Key::from_host(&vec![0; MAX_KEY + 1]).err(),
            Some(Errno::E2BIG)
        );
    }
}
