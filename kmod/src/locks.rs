//! Locks of the control path: requests that wait for them sleep.
//!
//! # Invariants
//!
//! While one is held no user memory is touched (its pages may never come) and nothing is waited for that a process decides. The order
//! is: a sandbox's, then the registry's or that of the room for native code. No path by which an object goes takes any of them.

use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;

use helpers::host::Errno;

use crate::allocations;
use crate::control;

/// `struct mutex`.
#[repr(C)]
struct RawMutex {
    opaque: [u8; 0],
}

// SAFETY: as shim/control.c defines them; nothing else in the module has these names.
unsafe extern "C" {
    safe fn wp_mutex_new() -> *mut RawMutex;
    fn wp_mutex_free(mutex: *mut RawMutex);
    safe fn wp_mutex(which: u32) -> *mut RawMutex;
    fn wp_lock(mutex: *mut RawMutex) -> bool;
    fn wp_unlock(mutex: *mut RawMutex);
}

/// The locks that there is one of.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Only {
    /// The registry's.
    Registry = 0,
    /// That of the room for native code.
    Text = 1,
}

impl Only {
    /// Waits for it.
    ///
    /// # Errors
    ///
    /// `EINTR` if the caller is being killed; `EIO` after a panic.
    pub(crate) fn hold(self) -> Result<Held<'static>, Errno> {
        // SAFETY: a mutex of C's, which is there as long as the kernel module.
        unsafe { Held::new(wp_mutex(self as u32)) }
    }
}

/// A lock of an object's own.
pub(crate) struct Mutex {
    raw: NonNull<RawMutex>,
}

// SAFETY: it is the kernel's, for any thread to lock.
unsafe impl Send for Mutex {}
// SAFETY: as above.
unsafe impl Sync for Mutex {}

impl Mutex {
    pub(crate) fn new() -> Result<Self, Errno> {
        let raw = NonNull::new(wp_mutex_new()).ok_or(Errno::ENOMEM)?;
        allocations::count_allocation();
        Ok(Self { raw })
    }

    /// As [`Only::hold`].
    pub(crate) fn hold(&self) -> Result<Held<'_>, Errno> {
        // SAFETY: it lives as long as `self`, which the result borrows.
        unsafe { Held::new(self.raw.as_ptr()) }
    }
}

impl Drop for Mutex {
    fn drop(&mut self) {
        allocations::count_free();
        // SAFETY: who held it borrowed it.
        unsafe { wp_mutex_free(self.raw.as_ptr()) };
    }
}

/// Evidence that a lock is held. The thread that took it lets go of it.
pub(crate) struct Held<'l> {
    raw: *mut RawMutex,
    lock: PhantomData<&'l ()>,
}

impl Held<'_> {
    /// # Safety
    ///
    /// The mutex is there as long as the result, and a request is being served.
    unsafe fn new(raw: *mut RawMutex) -> Result<Self, Errno> {
        // SAFETY: the caller's promise.
        if !unsafe { wp_lock(raw) } {
            return Err(Errno(EINTR));
        }
        let held = Self {
            raw,
            lock: PhantomData,
        };
        match control::is_broken() {
            true => Err(control::EIO),
            false => Ok(held),
        }
    }
}

/// "Interrupted system call".
pub(crate) const EINTR: i32 = 4;

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // SAFETY: taken by this thread (a raw pointer keeps it there), the last of those it holds.
        unsafe { wp_unlock(self.raw) };
    }
}

/// A value that is touched only under a lock.
pub(crate) struct Locked<T> {
    lock: Only,
    value: UnsafeCell<T>,
}

// SAFETY: the value is only reachable through a guard, of which there is one at a time.
unsafe impl<T: Send> Sync for Locked<T> {}

impl<T> Locked<T> {
    /// `lock` guards this value alone.
    pub(crate) const fn new(lock: Only, value: T) -> Self {
        Self {
            lock,
            value: UnsafeCell::new(value),
        }
    }

    /// As [`Only::hold`].
    pub(crate) fn lock(&self) -> Result<Guard<'_, T>, Errno> {
        let held = self.lock.hold()?;
        Ok(Guard {
            value: &self.value,
            _held: held,
        })
    }
}

/// Access to a locked value.
pub(crate) struct Guard<'l, T> {
    value: &'l UnsafeCell<T>,
    _held: Held<'l>,
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the lock is held, by this guard alone.
        unsafe { &*self.value.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above.
        unsafe { &mut *self.value.get() }
    }
}
