//! Guest memory as the host sees it: an allegation until checked.
//!
//! # Invariants
//!
//! A [`GuestSlice`] lies wholly inside its [`GuestMemory`]. The guest, on this and other CPUs, may
//! change the bytes at any time; so they are only touched by relaxed atomic accesses (which is also
//! what makes the sharing defined behaviour), never through a reference, and a value that is checked
//! is read once.

use core::marker::PhantomData;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};

use abi::layout;
use abi::traps::Trap;

/// A sandbox's linear memory.
#[derive(Debug)]
pub struct GuestMemory {
    base: NonNull<u8>,
    size: u32,
}

// SAFETY: the memory is shared between CPUs by design; all accesses go through atomics.
unsafe impl Send for GuestMemory {}
// SAFETY: as above.
unsafe impl Sync for GuestMemory {}

impl GuestMemory {
    /// Wraps `size` bytes at `base`.
    ///
    /// # Safety
    ///
    /// `base` is 8-byte aligned and valid for reads and writes of `size` bytes while the value and
    /// anything borrowed from it live, and no Rust reference to those bytes exists meanwhile.
    pub const unsafe fn new(base: NonNull<u8>, size: u32) -> Self {
        Self { base, size }
    }

    /// Its size in bytes.
    pub fn size(&self) -> u32 {
        self.size
    }

    /// The `len` bytes that a guest's `pointer` alleges to point to. No bytes are always there.
    ///
    /// # Errors
    ///
    /// [`Trap::BadPointer`] if the pointer has no tag or the range leaves the memory.
    pub fn slice(&self, pointer: u64, len: u64) -> Result<GuestSlice<'_>, Trap> {
        if len == 0 {
            return Ok(GuestSlice::new(self.base, 0));
        }
        let offset = layout::guest_offset(pointer).ok_or(Trap::BadPointer)?;
        self.at(offset, len).ok_or(Trap::BadPointer)
    }

    /// The `len` bytes at `offset`, if they are there.
    pub fn at(&self, offset: u32, len: u64) -> Option<GuestSlice<'_>> {
        let end = u64::from(offset).checked_add(len)?;
        if end > u64::from(self.size) {
            return None;
        }
        // SAFETY: offset + len <= size, and `base` is valid for `size` bytes.
        let start = unsafe { self.base.add(offset as usize) };
        Some(GuestSlice::new(start, len as usize))
    }
}

/// A checked range of guest memory.
#[derive(Clone, Copy, Debug)]
pub struct GuestSlice<'m> {
    start: NonNull<u8>,
    len: usize,
    memory: PhantomData<&'m GuestMemory>,
}

impl<'m> GuestSlice<'m> {
    fn new(start: NonNull<u8>, len: usize) -> Self {
        Self {
            start,
            len,
            memory: PhantomData,
        }
    }

    /// How many bytes.
    pub fn len(self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.len == 0
    }

    /// The first byte's address, for host primitives that write `len` bytes themselves.
    pub fn as_ptr(self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// The first `len` bytes, or all there are.
    pub fn first(self, len: usize) -> Self {
        Self::new(self.start, self.len.min(len))
    }

    /// The bytes from `at` on; none if there are none.
    pub fn from(self, at: usize) -> Self {
        let at = at.min(self.len);
        // SAFETY: at <= len, so the result is inside the range or just past its end.
        let start = unsafe { self.start.add(at) };
        Self::new(start, self.len - at)
    }

    /// The range as bytes.
    #[inline]
    fn bytes(self) -> &'m [AtomicU8] {
        // SAFETY: so many bytes inside guest memory, which is only accessed atomically.
        unsafe { core::slice::from_raw_parts(self.start.as_ptr().cast(), self.len) }
    }

    /// The bytes before the first aligned word, the words, and the bytes behind them.
    fn parts(self) -> (&'m [AtomicU8], &'m [AtomicU64], &'m [AtomicU8]) {
        // SAFETY: bytes that are only accessed atomically may be, eight at a time.
        unsafe { self.bytes().align_to() }
    }

    /// The range as aligned words, if it is nothing but that.
    #[inline]
    pub(crate) fn as_words(self) -> Option<&'m [AtomicU64]> {
        let address = self.start.as_ptr().cast::<AtomicU64>();
        // SAFETY: so many aligned words inside guest memory, which is only accessed atomically.
        let words = || unsafe { core::slice::from_raw_parts(address, self.len / 8) };
        (address as usize | self.len).is_multiple_of(8).then(words)
    }

    /// The range as aligned 32-bit words, if it is nothing but that.
    #[inline]
    pub(crate) fn as_words32(self) -> Option<&'m [AtomicU32]> {
        let address = self.start.as_ptr().cast::<AtomicU32>();
        // SAFETY: as in `as_words`.
        let words = || unsafe { core::slice::from_raw_parts(address, self.len / 4) };
        (address as usize | self.len).is_multiple_of(4).then(words)
    }

    /// The range as one atomic 32-bit cell, if it is four aligned bytes.
    #[inline]
    pub fn as_atomic32(self) -> Option<&'m AtomicU32> {
        self.as_words32()?.as_array::<1>().map(|[cell]| cell)
    }

    /// The range as one atomic 64-bit cell, if it is eight aligned bytes.
    #[inline]
    pub fn as_atomic64(self) -> Option<&'m AtomicU64> {
        self.as_words()?.as_array::<1>().map(|[cell]| cell)
    }

    /// Copies as many bytes out as both sides have, word by word where aligned.
    #[inline]
    pub fn read(self, to: &mut [u8]) {
        let from = self.first(to.len());
        let to = &mut to[..from.len];
        match from.as_words() {
            Some(words) => {
                let each = words.iter().zip(to.as_chunks_mut::<8>().0);
                each.for_each(|(word, to)| *to = word.load(Relaxed).to_ne_bytes());
            }
            None => from.read_bytes(to),
        }
    }

    /// As [`Self::read`], of as many bytes.
    fn read_bytes(self, to: &mut [u8]) {
        let (before, words, after) = self.parts();
        let (first, rest) = to.split_at_mut(before.len());
        let (middle, last) = rest.split_at_mut(words.len() * 8);
        let bytes = |(to, byte): (&mut u8, &AtomicU8)| *to = byte.load(Relaxed);
        first.iter_mut().zip(before).for_each(bytes);
        let each = middle.as_chunks_mut::<8>().0.iter_mut().zip(words);
        each.for_each(|(to, word)| *to = word.load(Relaxed).to_ne_bytes());
        last.iter_mut().zip(after).for_each(bytes);
    }

    /// Copies as many bytes in as both sides have, word by word where aligned.
    #[inline]
    pub fn write(self, from: &[u8]) {
        let to = self.first(from.len());
        let from = &from[..to.len];
        match to.as_words() {
            Some(words) => {
                let each = words.iter().zip(from.as_chunks::<8>().0);
                each.for_each(|(word, from)| word.store(u64::from_ne_bytes(*from), Relaxed));
            }
            None => to.write_halves(from),
        }
    }

    /// As [`Self::write`], of as many bytes: numbers and names are often half aligned.
    fn write_halves(self, from: &[u8]) {
        match self.as_words32() {
            Some(halves) => {
                let each = halves.iter().zip(from.as_chunks::<4>().0);
                each.for_each(|(half, from)| half.store(u32::from_ne_bytes(*from), Relaxed));
            }
            None => self.write_bytes(from),
        }
    }

    /// As [`Self::write`], of as many bytes.
    fn write_bytes(self, from: &[u8]) {
        let (before, words, after) = self.parts();
        let (first, rest) = from.split_at(before.len());
        let (middle, last) = rest.split_at(words.len() * 8);
        let bytes = |(to, byte): (&AtomicU8, &u8)| to.store(*byte, Relaxed);
        before.iter().zip(first).for_each(bytes);
        let each = words.iter().zip(middle.as_chunks::<8>().0);
        each.for_each(|(to, word)| to.store(u64::from_ne_bytes(*word), Relaxed));
        after.iter().zip(last).for_each(bytes);
    }

    /// Copies as many bytes from `from` as both have. The ranges may overlap where this one begins no later.
    #[inline]
    pub fn copy_from(self, from: GuestSlice<'_>) {
        let (to, from) = (self.first(from.len), from.first(self.len));
        let Some(words) = to.as_words() else {
            return to.copy_bytes_from(from);
        };
        let Some(from) = from.as_words() else {
            return to.copy_bytes_from(from);
        };
        let each = words.iter().zip(from);
        each.for_each(|(to, word)| to.store(word.load(Relaxed), Relaxed));
    }

    /// As [`Self::copy_from`], of as many bytes.
    fn copy_bytes_from(self, from: GuestSlice<'_>) {
        let bytes = |to: &[AtomicU8], from: &[AtomicU8]| {
            let each = to.iter().zip(from);
            each.for_each(|(to, byte)| to.store(byte.load(Relaxed), Relaxed));
        };
        let (before, words, after) = self.parts();
        let (from_before, from_words, from_after) = from.parts();
        // Ranges of one length; or else they are aligned differently.
        if (before.len(), words.len()) != (from_before.len(), from_words.len()) {
            let rest = self.copy_halves_from(from);
            return bytes(&self.bytes()[rest..], &from.bytes()[rest..]);
        }
        bytes(before, from_before);
        let each = words.iter().zip(from_words);
        each.for_each(|(to, word)| to.store(word.load(Relaxed), Relaxed));
        bytes(after, from_after);
    }

    /// As [`Self::copy_bytes_from`], what is half aligned on both sides, as in a ring behind a length: all but the last bytes.
    /// How many were copied.
    fn copy_halves_from(self, from: GuestSlice<'_>) -> usize {
        let len = self.len & !3;
        let (to, from) = (self.first(len).as_words32(), from.first(len).as_words32());
        let (Some(to), Some(from)) = (to, from) else {
            return 0;
        };
        // Four at a time, for records are long.
        let ((to, to_rest), (from, from_rest)) = (to.as_chunks::<4>(), from.as_chunks::<4>());
        for (to, from) in to.iter().zip(from) {
            // All are read before any is written; ranges may overlap.
            let halves = from.each_ref().map(|half| half.load(Relaxed));
            to.iter()
                .zip(halves)
                .for_each(|(to, half)| to.store(half, Relaxed));
        }
        let each = to_rest.iter().zip(from_rest);
        each.for_each(|(to, half)| to.store(half.load(Relaxed), Relaxed));
        len
    }

    /// Sets every byte to zero.
    pub fn clear(self) {
        let (before, words, after) = self.parts();
        before.iter().for_each(|byte| byte.store(0, Relaxed));
        words.iter().for_each(|word| word.store(0, Relaxed));
        after.iter().for_each(|byte| byte.store(0, Relaxed));
    }

    /// The byte at `at`; 0 past the end.
    pub fn byte(self, at: usize) -> u8 {
        self.bytes().get(at).map_or(0, |byte| byte.load(Relaxed))
    }

    /// Sets the byte at `at`, if there is one.
    pub fn set(self, at: usize, value: u8) {
        if let Some(byte) = self.bytes().get(at) {
            byte.store(value, Relaxed);
        }
    }

    /// How many bytes precede the first NUL, if there is one.
    pub fn find_nul(self) -> Option<usize> {
        let is_nul = |byte: &AtomicU8| byte.load(Relaxed) == 0;
        let (before, words, after) = self.parts();
        if let Some(at) = before.iter().position(is_nul) {
            return Some(at);
        }
        for (at, word) in (before.len()..).step_by(8).zip(words) {
            let word = u64::from_le(word.load(Relaxed));
            // The lowest bit that this sets is in the first byte that is zero.
            let zeros = word.wrapping_sub(0x0101_0101_0101_0101) & !word & 0x8080_8080_8080_8080;
            if zeros != 0 {
                return Some(at + zeros.trailing_zeros() as usize / 8);
            }
        }
        let last = self.len - after.len();
        after.iter().position(is_nul).map(|at| last + at)
    }

    /// The eight bytes from `at` on as a number; bytes past the end read as zero.
    pub fn word_at(self, at: usize) -> u64 {
        let word = self.from(at).first(8);
        if let Some(word) = word.as_atomic64() {
            return word.load(Relaxed);
        }
        let mut bytes = [0; 8];
        let each = bytes.iter_mut().zip(word.bytes());
        each.for_each(|(to, byte)| *to = byte.load(Relaxed));
        u64::from_ne_bytes(bytes)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::boxed::Box;
    use std::vec;
    use std::vec::Vec;

    /// Guest memory for tests, leaked.
    pub(crate) fn memory(size: u32) -> GuestMemory {
        let words: Box<[u64]> = vec![0; size as usize / 8].into_boxed_slice();
        let base = NonNull::new(Box::into_raw(words).cast::<u8>()).unwrap();
        // SAFETY: freshly leaked, so valid for ever, aligned to 8, and nobody else knows it.
        unsafe { GuestMemory::new(base, size) }
    }

    #[test]
    fn ranges_that_leave_the_memory_are_refused() {
        let memory = memory(64);
        let at = |offset, len| {
            memory
                .slice(layout::guest_ptr(offset), len)
                .map(|s| s.len())
        };
        assert_eq!(at(0, 64), Ok(64));
        assert_eq!(at(63, 1), Ok(1));
        for (offset, len) in [
            (0, 65),
            (64, 1),
            (u32::MAX, 1),
            (8, u64::MAX),
            (u32::MAX, u64::MAX),
        ] {
            assert_eq!(at(offset, len), Err(Trap::BadPointer), "{offset} {len}");
        }
    }

    #[test]
    fn untagged_pointers_are_refused_unless_nothing_is_accessed() {
        let memory = memory(64);
        for pointer in [0, 8, layout::map_handle(0), u64::MAX] {
            assert_eq!(memory.slice(pointer, 1).err(), Some(Trap::BadPointer));
            assert!(memory.slice(pointer, 0).unwrap().is_empty());
        }
    }

    #[test]
    fn copies_agree_with_slices_at_every_alignment() {
        let memory = memory(64);
        let pattern: Vec<u8> = (1..=40).collect();
        for start in 0..9 {
            for len in 0..=pattern.len() {
                memory.at(0, 64).unwrap().clear();
                let slice = memory.at(start, len as u64).unwrap();
                slice.write(&pattern[..len]);
                let mut back = vec![0; len];
                slice.read(&mut back);
                assert_eq!(back, &pattern[..len]);
                let mut all = [0; 64];
                memory.at(0, 64).unwrap().read(&mut all);
                assert_eq!(all.iter().filter(|b| **b != 0).count(), len);
            }
        }
    }

    #[test]
    fn strings_end_at_their_first_nul_at_every_alignment() {
        let memory = memory(64);
        for start in 0..9 {
            for len in 0..30_u32 {
                let slice = memory.at(start, len.into()).unwrap();
                memory.at(0, 64).unwrap().write(&[0x80; 64]);
                assert_eq!(slice.find_nul(), None);
                for nul in 0..len as usize {
                    slice.write(&[1; 30]);
                    slice.set(nul, 0);
                    slice.set(nul + 5, 0);
                    assert_eq!(slice.find_nul(), Some(nul), "{start} {len}");
                }
            }
        }
    }

    #[test]
    fn bytes_move_between_any_two_alignments() {
        let memory = memory(128);
        let pattern: Vec<u8> = (1..=40).collect();
        for (from, to) in (0..9).flat_map(|from| (0..9).map(move |to| (from, 64 + to))) {
            for len in 0..=pattern.len() {
                memory.at(0, 128).unwrap().clear();
                let source = memory.at(from, len as u64).unwrap();
                source.write(&pattern);
                let copy = memory.at(to, len as u64).unwrap();
                copy.copy_from(source);
                let mut all = [0; 64];
                memory.at(64, 64).unwrap().read(&mut all);
                let start = to as usize - 64;
                assert_eq!(all[start..start + len], pattern[..len]);
                assert_eq!(all.iter().filter(|byte| **byte != 0).count(), len);
            }
        }
    }

    #[test]
    fn words_past_the_end_read_as_zero() {
        let memory = memory(64);
        memory.at(0, 16).unwrap().write(&[0xff; 16]);
        let slice = memory.at(3, 5).unwrap();
        assert_eq!(slice.word_at(0), 0xff_ffff_ffff);
        assert_eq!(slice.word_at(8), 0);
    }
}
