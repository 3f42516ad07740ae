//! What is freed later: closing a descriptor waits neither for runs that may see what it held, nor for other requests.
//!
//! A worker (`shim/control.c`) waits for runs, once for all there is, and frees; [`flush`] waits for the worker.

use alloc::boxed::Box;
use core::ops::Deref;
use core::ptr::NonNull;

// SAFETY: as shim/control.c defines them; nothing else in the module has these names.
unsafe extern "C" {
    fn wp_defer(node: *mut Node);
    safe fn wp_reclaim();
    safe fn wp_flush();
}

/// `struct llist_node`, and how to free what it is in.
#[repr(C)]
pub(crate) struct Node {
    next: *mut Node,
    free: unsafe extern "C" fn(NonNull<Node>),
}

#[repr(C)]
struct Boxed<T> {
    node: Node,
    value: T,
}

/// A value that is dropped by the worker, when no run that may have seen it is left.
pub(crate) struct Later<T: Send + Sync + 'static> {
    boxed: NonNull<Boxed<T>>,
}

// SAFETY: it owns the value as a box does.
unsafe impl<T: Send + Sync> Send for Later<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for Later<T> {}

impl<T: Send + Sync> Later<T> {
    pub(crate) fn new(value: T) -> Self {
        let node = Node {
            next: core::ptr::null_mut(),
            free: free::<T>,
        };
        let boxed = Box::new(Boxed { node, value });
        Self {
            boxed: NonNull::from(Box::leak(boxed)),
        }
    }
}

/// # Safety
///
/// `node` is that of a `Boxed<T>` that nothing else leads to.
unsafe extern "C" fn free<T>(node: NonNull<Node>) {
    // SAFETY: it came from a box; the node lies at its beginning.
    drop(unsafe { Box::from_raw(node.cast::<Boxed<T>>().as_ptr()) });
}

impl<T: Send + Sync> Deref for Later<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: there until the worker frees it, after the drop.
        unsafe { &self.boxed.as_ref().value }
    }
}

impl<T: Send + Sync> Drop for Later<T> {
    fn drop(&mut self) {
        // SAFETY: nothing leads to it any more but the list it goes to.
        unsafe { wp_defer(self.boxed.cast::<Node>().as_ptr()) };
    }
}

/// Frees what is on a list of the worker's.
///
/// # Safety
///
/// `first` is null or the first of a list of nodes that were given to `wp_defer`, which nothing else leads to; runs that may have seen
/// them have ended.
pub(crate) unsafe fn free_all(first: *mut Node) {
    let mut next = NonNull::new(first);
    while let Some(node) = next {
        // SAFETY: the caller's promise; it is read before it is freed.
        unsafe {
            next = NonNull::new((*node.as_ptr()).next);
            ((*node.as_ptr()).free)(node);
        }
    }
}

/// Has the worker look for what is gone.
pub(crate) fn reclaim() {
    wp_reclaim();
}

/// Returns when all that was let go of before is freed. Not to be called where the worker may wait for the caller: under the
/// registry's lock.
pub(crate) fn flush() {
    wp_flush();
}
