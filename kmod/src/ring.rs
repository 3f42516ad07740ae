//! Event rings as user space sees them: a perf event array's ring, one a CPU, and the windows that
//! descriptors of both layouts are mapped and polled through.
//!
//! # Invariants
//!
//! A ring is in its map from [`Ring::open`] until it is dropped; its pages are freed [later], when no run can see them
//! any more. Mappings hold the descriptor, and so the ring.
//!
//! [later]: crate::later

use alloc::sync::Arc;
use core::ffi::c_void;
use core::ptr::{self, NonNull};

use abi::uapi::{self, Kind, Resource};
use helpers::guest::GuestMemory;
use helpers::host::Errno;
use helpers::maps::{PerfEventArray, PerfRing, Ringbuf};
use helpers::space::Space;

use crate::cpu;
use crate::later::Later;
use crate::map::{self, Map};
use crate::registry::{self, Object};
use crate::sandbox::{GuestPages, Sandbox};
use crate::services::{RawWindow, Window};
use crate::user::{Call, Log, refused};

const PAGE: u64 = 4096;

/// One CPU's ring of a perf event array.
pub(crate) struct Ring {
    pub(crate) id: u32,
    index: u32,
    parts: Later<Parts>,
}

/// What a ring is made of. The fields are dropped in this order: pages last, but for the sandbox whose memory they are.
struct Parts {
    perf: PerfRing,
    window: Window,
    _pages: Charged,
    map: Arc<Map>,
    sandbox: Arc<Sandbox>,
}

/// Pages, and what they are charged to.
struct Charged {
    pages: GuestPages,
    bytes: u64,
    sandbox: Arc<Sandbox>,
}

impl Drop for Charged {
    fn drop(&mut self) {
        // A moment before they are free.
        self.sandbox.account.give_back(Resource::Memory, self.bytes);
    }
}

impl Ring {
    /// `RING_OPEN`.
    pub(crate) fn open(
        sandbox: &Arc<Sandbox>,
        map: &Arc<Map>,
        call: &Call,
    ) -> Result<Object, Errno> {
        let args: uapi::RingOpen = call.read()?;
        let bytes = (u64::from(args.pages) + 1) * PAGE;
        if args.reserved != 0 || !args.pages.is_power_of_two() || args.cpu >= cpu::count() {
            return Err(Errno::EINVAL);
        }
        let array = array(sandbox, map)?;
        let charge = sandbox
            .account
            .charge(Resource::Memory, bytes)
            .map_err(|exceeded| refused(Log::new(args.log, args.log_size), &exceeded))?;
        let size = u32::try_from(bytes).map_err(|_| Errno::E2BIG)?;
        let pages = GuestPages::new(size)?;
        charge.keep();
        let pages = Charged {
            pages,
            bytes,
            sandbox: sandbox.clone(),
        };
        let base = pages.pages.base();
        // SAFETY: the pages are the ring's own, which keeps them longer than the window.
        let window = unsafe { Window::new(base, args.pages + 1, false) };
        let window = window.ok_or(Errno::ENOMEM)?;
        // SAFETY: page-aligned, valid for `size` bytes as long as `pages`, and nobody makes references to them.
        let memory = unsafe { GuestMemory::new(base, size) };
        let parts = Later::new(Parts {
            perf: PerfRing::new(memory, args.cpu, window.waker())?,
            window,
            _pages: pages,
            map: map.clone(),
            sandbox: sandbox.clone(),
        });
        let id = registry::new_id(Kind::Ring)?;
        // SAFETY: it is taken out again before the parts are dropped, and they are freed when runs that saw it have ended.
        unsafe { array.put(args.index, NonNull::from(&parts.perf)) }?;
        registry::add(Object::Ring(Arc::new(Self {
            id,
            index: args.index,
            parts,
        })))
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if let Ok(array) = array(&self.parts.sandbox, &self.parts.map) {
            array.remove(self.index, NonNull::from(&self.parts.perf));
        }
    }
}

fn array<'a>(sandbox: &'a Sandbox, map: &Map) -> Result<&'a PerfEventArray, Errno> {
    let map = map.of(map::space(sandbox)?)?;
    map.as_perf_event_array().ok_or(Errno::EINVAL)
}

/// The window of a ring buffer map, which from now on wakes it.
pub(crate) fn window(space: &Space, ring: &Ringbuf) -> Result<Window, Errno> {
    let bytes = 2 * PAGE + u64::from(ring.size());
    let pages = space.memory().at(ring.pages(), bytes);
    let pages = pages.and_then(|pages| NonNull::new(pages.as_ptr()));
    // SAFETY: page-aligned in guest memory, which the sandbox keeps while a descriptor holds the map.
    let window = unsafe { Window::new(pages.ok_or(Errno::EFAULT)?, (bytes / PAGE) as u32, true) };
    let window = window.ok_or(Errno::ENOMEM)?;
    ring.set_waker(window.waker());
    Ok(window)
}

/// What a descriptor is mapped and polled through; null if it cannot be.
///
/// # Safety
///
/// Called by C only: `object` is null or was given to `new_fd`, and its descriptor is held.
#[unsafe(no_mangle)]
unsafe extern "C" fn wprobe_rs_window(object: *const c_void) -> *const RawWindow {
    // SAFETY: the caller's promise. What is read never changes.
    match unsafe { object.cast::<Object>().as_ref() } {
        Some(Object::Map(_, map)) => map.window.as_ref().map_or(ptr::null(), Window::raw),
        Some(Object::Ring(ring)) => ring.parts.window.raw(),
        _ => ptr::null(),
    }
}

/// Whether a descriptor's reader has something to read.
///
/// # Safety
///
/// As [`wprobe_rs_window`].
#[unsafe(no_mangle)]
unsafe extern "C" fn wprobe_rs_readable(object: *const c_void) -> bool {
    // SAFETY: the caller's promise.
    match unsafe { object.cast::<Object>().as_ref() } {
        Some(Object::Map(sandbox, map)) => is_readable(sandbox, map).unwrap_or(false),
        Some(Object::Ring(ring)) => ring.parts.perf.is_readable(),
        _ => false,
    }
}

fn is_readable(sandbox: &Sandbox, map: &Map) -> Result<bool, Errno> {
    let space = map::space(sandbox)?;
    let ring = map.of(space)?.as_ringbuf().ok_or(Errno::EINVAL)?;
    // As a run, for it takes the lock that runs take.
    cpu::quietly(|_| Ok(ring.is_readable(space.memory())))
}
