//! A key, read once.
//!
//! A guest can change its memory while a helper works; a key is therefore copied before it is hashed,
//! so that the hash and the bytes belong together.

use core::mem::MaybeUninit;

use crate::guest::GuestSlice;
use crate::host::Errno;

/// Bytes of a key at most: what fits the kernel's eBPF stack, where programs build their keys.
pub const MAX_KEY: usize = 512;
const MAX_WORDS: usize = MAX_KEY / 8;

/// A key as words, padded with zero bytes.
///
/// # Invariants
///
/// The first `count` words are initialised.
pub struct Key {
    words: [MaybeUninit<u64>; MAX_WORDS],
    count: usize,
}

impl Key {
    /// A key of no bytes: room for one that is [read](Self::read_guest), for a key is too large to be moved about.
    #[inline]
    pub fn empty() -> Self {
        Self {
            words: [MaybeUninit::uninit(); MAX_WORDS],
            count: 0,
        }
    }

    /// Copies a key out of guest memory.
    ///
    /// # Errors
    ///
    /// `E2BIG` if it is longer than [`MAX_KEY`].
    pub fn from_guest(from: GuestSlice<'_>) -> Result<Self, Errno> {
        let mut key = Self::empty();
        key.read_guest(from)?;
        Ok(key)
    }

    /// Becomes a copy of a key in guest memory.
    ///
    /// # Errors
    ///
    /// `E2BIG` if it is longer than [`MAX_KEY`].
    #[inline]
    pub fn read_guest(&mut self, from: GuestSlice<'_>) -> Result<(), Errno> {
        self.read_words(from.len(), |at| from.word_at(at))
    }

    /// Copies a key out of host memory.
    ///
    /// # Errors
    ///
    /// `E2BIG` if it is longer than [`MAX_KEY`].
    pub fn from_host(from: &[u8]) -> Result<Self, Errno> {
        let mut key = Self::empty();
        key.read_words(from.len(), |at| {
            let rest = &from[at..from.len().min(at + 8)];
            let mut bytes = [0; 8];
            bytes[..rest.len()].copy_from_slice(rest);
            u64::from_ne_bytes(bytes)
        })?;
        Ok(key)
    }

    #[inline]
    fn read_words(&mut self, len: usize, word_at: impl Fn(usize) -> u64) -> Result<(), Errno> {
        if len > MAX_KEY {
            return Err(Errno::E2BIG);
        }
        let count = len.div_ceil(8);
        for (i, word) in self.words[..count].iter_mut().enumerate() {
            word.write(word_at(i * 8));
        }
        self.count = count;
        Ok(())
    }

    /// The words.
    pub fn words(&self) -> &[u64] {
        let words = &self.words[..self.count];
        // SAFETY: the first `count` words are initialised; MaybeUninit<u64> has the layout of u64.
        unsafe { core::slice::from_raw_parts(words.as_ptr().cast(), words.len()) }
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
