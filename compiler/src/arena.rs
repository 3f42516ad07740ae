//! Memory and time for compiling: memory is bounded, and asked for in a way that may fail; who waits is asked now and then whether he
//! still does.
//!
//! Lists share an [`Arena`], which says how much they may have together. One that gets no more drops what is pushed, and the
//! arena remembers that: who compiles asks it once an operator, and not at each push.

use alloc::vec::Vec;
use core::cell::Cell;
use core::fmt;
use core::ops::{Deref, DerefMut};

use crate::{Made, Refused};

/// Operators between two questions whether anybody still waits.
const PATIENCE: u32 = 1024;

/// How much memory lists may have together, and whether anybody waits for what is made in it.
pub(crate) struct Arena<'w> {
    left: Cell<usize>,
    failed: Cell<bool>,
    checks: Cell<u32>,
    is_interrupted: &'w dyn Fn() -> bool,
}

impl<'w> Arena<'w> {
    pub(crate) fn new(bytes: usize, is_interrupted: &'w dyn Fn() -> bool) -> Self {
        Self {
            left: Cell::new(bytes),
            failed: Cell::new(false),
            checks: Cell::new(0),
            is_interrupted,
        }
    }

    /// Whether every list has got what it asked for, and somebody waits.
    pub(crate) fn check(&self) -> Made<()> {
        if self.failed.get() {
            return Err(Refused::Memory);
        }
        let checks = self.checks.get() + 1;
        self.checks.set(checks % PATIENCE);
        match checks == PATIENCE && (self.is_interrupted)() {
            false => Ok(()),
            true => Err(Refused::Interrupted),
        }
    }

    /// What is left.
    #[cfg(test)]
    pub(crate) fn left(&self) -> usize {
        self.left.get()
    }
}

/// A list that grows on an [`Arena`].
pub(crate) struct List<'m, T> {
    items: Vec<T>,
    arena: &'m Arena<'m>,
}

impl<T: fmt::Debug> fmt::Debug for List<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.items.fmt(f)
    }
}

impl<'m, T: Copy> List<'m, T> {
    pub(crate) fn new(arena: &'m Arena<'m>) -> Self {
        Self {
            items: Vec::new(),
            arena,
        }
    }

    /// An empty list with room for `count`.
    pub(crate) fn with_room(arena: &'m Arena<'m>, count: usize) -> Self {
        let mut list = Self::new(arena);
        if count > 0 {
            list.grow(count);
        }
        list
    }

    /// `count` times `value`; empty, if that is too much.
    pub(crate) fn filled(arena: &'m Arena<'m>, count: usize, value: T) -> Self {
        let mut list = Self::with_room(arena, count);
        if list.items.capacity() >= count {
            list.items.resize(count, value);
        }
        list
    }

    pub(crate) fn push(&mut self, value: T) {
        if self.has_room(1) {
            self.items.push(value);
        }
    }

    pub(crate) fn extend(&mut self, values: &[T]) {
        if self.has_room(values.len()) {
            self.items.extend_from_slice(values);
        }
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        self.items.pop()
    }

    pub(crate) fn truncate(&mut self, length: usize) {
        self.items.truncate(length);
    }

    fn has_room(&mut self, count: usize) -> bool {
        let wanted = self.items.len().saturating_add(count);
        wanted <= self.items.capacity()
            || self.grow(wanted.max(self.items.capacity() / 2 * 3).max(8))
    }

    /// Room for `capacity` items in all. Until they are moved, they are there twice.
    fn grow(&mut self, capacity: usize) -> bool {
        let before = self.items.capacity() * size_of::<T>();
        let bytes = capacity.checked_mul(size_of::<T>());
        let left = bytes.and_then(|bytes| self.arena.left.get().checked_sub(bytes));
        let more = capacity.saturating_sub(self.items.len());
        match left {
            Some(left) if self.items.try_reserve_exact(more).is_ok() => {
                self.arena.left.set(left + before);
                true
            }
            _ => {
                self.arena.failed.set(true);
                false
            }
        }
    }
}

impl<T> Drop for List<'_, T> {
    fn drop(&mut self) {
        let bytes = self.items.capacity() * size_of::<T>();
        self.arena.left.set(self.arena.left.get() + bytes);
    }
}

impl<T> Deref for List<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.items
    }
}

impl<T> DerefMut for List<'_, T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.items
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_share_what_there_is_and_give_it_back() {
        let arena = Arena::new(256, &|| false);
        {
            let mut first = List::filled(&arena, 16, 7u64);
            assert_eq!((first.len(), arena.left()), (16, 128));
            first.push(8);
            assert!(matches!(arena.check(), Err(Refused::Memory)));
            assert_eq!(first.len(), 16);
        }
        assert_eq!(arena.left(), 256);
    }

    #[test]
    fn who_does_not_wait_any_more_is_found_out() {
        let asked = Cell::new(0);
        let leaves_at_the_third = || {
            asked.set(asked.get() + 1);
            asked.get() == 3
        };
        let arena = Arena::new(0, &leaves_at_the_third);
        let checks = (1..).find(|_| arena.check().is_err());
        assert_eq!(checks, Some(3 * PATIENCE));
    }

    #[test]
    fn a_list_that_gets_nothing_is_empty() {
        let arena = Arena::new(8, &|| false);
        let list = List::filled(&arena, 2, 0u64);
        assert!(list.is_empty() && arena.check().is_err());
    }
}
