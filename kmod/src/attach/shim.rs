//! The C half's functions for probes, declared once (`shim/{hit,attach_*}.c`).

use core::ffi::{CStr, c_char, c_void};
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::Attachment;

/// `struct wprobe_probe`, as it begins.
#[repr(C)]
struct RawProbe {
    /// An [`Attachment`].
    attachment: *const c_void,
    /// C's functions for it.
    operations: *const c_void,
    /// Which of the attachment's places.
    place: u64,
}

/// `struct wprobe_hit`: what a probe hands over.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Hit {
    /// What a stack is unwound from, or null; a kprobe's registers.
    pub(super) from: *const c_void,
    /// Whose hit it is.
    probe: *const RawProbe,
}

// What shim/wprobe.h knows.
known_to_c!(Hit { from: 0, probe: 8 });
known_to_c!(RawProbe {
    attachment: 0,
    operations: 8,
    place: 16,
});

impl Hit {
    /// None.
    pub(crate) const NONE: Self = Self {
        from: ptr::null(),
        probe: ptr::null(),
    };

    /// Where the function begins that was hit; 0 if it is none.
    pub(crate) fn function(&self) -> u64 {
        match self.probe.is_null() {
            true => 0,
            // SAFETY: the probe that is being hit, and what it handed over.
            false => unsafe { wp_function(self) },
        }
    }

    /// The place's cookie.
    pub(crate) fn cookie(&self) -> u64 {
        // SAFETY: null, or the probe that is being hit.
        let Some(probe) = (unsafe { self.probe.as_ref() }) else {
            return 0;
        };
        // SAFETY: null, or what the probe was registered with.
        let attachment = unsafe { probe.attachment.cast::<Attachment>().as_ref() };
        attachment.map_or(0, |attachment| attachment.cookies.at(probe.place))
    }
}

type Made = *mut *mut RawProbe;

// SAFETY: as shim/ defines them; nothing else in the module has these names.
unsafe extern "C" {
    fn wp_probe_missed(probe: *const RawProbe) -> u64;
    fn wp_function(hit: *const Hit) -> u64;
    fn wp_probe_detach(probe: *mut RawProbe);
    fn wp_probe_free(probe: *mut RawProbe);
    fn wp_kprobe_attach(
        symbol: *const c_char,
        offset: u32,
        addresses: *const u64,
        count: u32,
        to: *mut c_void,
        made: Made,
    ) -> i32;
    fn wp_kretprobe_attach(
        symbol: *const c_char,
        addresses: *const u64,
        count: u32,
        session: bool,
        to: *mut c_void,
        made: Made,
    ) -> i32;
    fn wp_raw_tracepoint_attach(name: *const c_char, args: u32, to: *mut c_void, made: Made)
    -> i32;
    fn wp_tracepoint_attach(
        system: *const c_char,
        name: *const c_char,
        to: *mut c_void,
        made: Made,
    ) -> i32;
    fn wp_fentry_attach(
        symbol: *const c_char,
        args: u32,
        stacked: u32,
        to: *mut c_void,
        made: Made,
    ) -> i32;
    fn wp_fexit_attach(
        symbol: *const c_char,
        args: u32,
        stacked: u32,
        to: *mut c_void,
        made: Made,
    ) -> i32;
    fn wp_perf_event_attach(
        event_type: u32,
        config: u64,
        period: bool,
        sample: u64,
        to: *mut c_void,
        made: Made,
    ) -> i32;
    fn wp_uprobe_attach(
        path: *const c_char,
        offsets: *const u64,
        count: u32,
        semaphore: u64,
        pid: u32,
        returns: bool,
        to: *mut c_void,
        made: Made,
    ) -> i32;
    fn wp_syscall_args(outer: *const c_void, args: *mut [u64; 6]) -> bool;
    safe fn wp_regs_size() -> usize;
}

/// Where a probe goes, as the C half wants it.
#[derive(Clone, Copy)]
pub(super) enum Place<'a> {
    /// Before the instruction at an offset of a symbol.
    Kprobe(&'a CStr, u32),
    /// Before the functions at these addresses; there are some.
    Kprobes(&'a [u64]),
    /// Where the function returns.
    Kretprobe(&'a CStr),
    /// Where those at these addresses return; there are some.
    Kretprobes(&'a [u64]),
    /// Where the function begins, and where it returns.
    Session(&'a CStr),
    /// The same of those at these addresses; there are some.
    Sessions(&'a [u64]),
    /// A tracepoint, of whose arguments so many are copied at most.
    RawTracepoint(&'a CStr, u32),
    /// A trace event: system and name.
    Tracepoint(&'a CStr, &'a CStr),
    /// Entry of a function of so many words of arguments, of which those by these bits lie on the stack in any case.
    Fentry(&'a CStr, u32, u32),
    /// Return of one.
    Fexit(&'a CStr, u32, u32),
    /// Samples of a perf event.
    PerfEvent {
        event_type: u32,
        config: u64,
        period: bool,
        sample: u64,
    },
    /// Places in a file; there are some.
    Uprobe {
        path: &'a CStr,
        offsets: &'a [u64],
        semaphore: u64,
        pid: u32,
        returns: bool,
    },
}

/// A probe, registered until it is detached.
pub(super) struct Probe {
    raw: NonNull<RawProbe>,
    attached: AtomicBool,
}

// SAFETY: the C half's object may be used from any thread.
unsafe impl Send for Probe {}
// SAFETY: as above; through a shared reference it is only read.
unsafe impl Sync for Probe {}

impl Probe {
    /// Registers a probe; a positive errno if the kernel refuses.
    ///
    /// # Safety
    ///
    /// The place's strings and what `attachment` points to outlive the probe; `attachment` is what
    /// `wprobe_rs_hit` expects, for the context that such a place gives.
    pub(super) unsafe fn register(place: Place<'_>, attachment: *mut c_void) -> Result<Self, i32> {
        let mut raw = ptr::null_mut();
        let made = &raw mut raw;
        // SAFETY: the caller's promise.
        let error = unsafe {
            match place {
                Place::Kprobe(symbol, offset) => {
                    let (symbol, none) = (symbol.as_ptr(), ptr::null());
                    wp_kprobe_attach(symbol, offset, none, 1, attachment, made)
                }
                Place::Kprobes(places) => {
                    let (places, count) = (places.as_ptr(), places.len() as u32);
                    wp_kprobe_attach(ptr::null(), 0, places, count, attachment, made)
                }
                Place::Kretprobe(symbol) => {
                    wp_kretprobe_attach(symbol.as_ptr(), ptr::null(), 1, false, attachment, made)
                }
                Place::Kretprobes(places) => {
                    let (places, count) = (places.as_ptr(), places.len() as u32);
                    wp_kretprobe_attach(ptr::null(), places, count, false, attachment, made)
                }
                Place::Session(symbol) => {
                    wp_kretprobe_attach(symbol.as_ptr(), ptr::null(), 1, true, attachment, made)
                }
                Place::Sessions(places) => {
                    let (places, count) = (places.as_ptr(), places.len() as u32);
                    wp_kretprobe_attach(ptr::null(), places, count, true, attachment, made)
                }
                Place::RawTracepoint(name, args) => {
                    wp_raw_tracepoint_attach(name.as_ptr(), args, attachment, made)
                }
                Place::Tracepoint(system, name) => {
                    wp_tracepoint_attach(system.as_ptr(), name.as_ptr(), attachment, made)
                }
                Place::Fentry(symbol, args, stacked) => {
                    wp_fentry_attach(symbol.as_ptr(), args, stacked, attachment, made)
                }
                Place::Fexit(symbol, args, stacked) => {
                    wp_fexit_attach(symbol.as_ptr(), args, stacked, attachment, made)
                }
                Place::PerfEvent {
                    event_type,
                    config,
                    period,
                    sample,
                } => wp_perf_event_attach(event_type, config, period, sample, attachment, made),
                Place::Uprobe {
                    path,
                    offsets,
                    semaphore,
                    pid,
                    returns,
                } => wp_uprobe_attach(
                    path.as_ptr(),
                    offsets.as_ptr(),
                    offsets.len() as u32,
                    semaphore,
                    pid,
                    returns,
                    attachment,
                    made,
                ),
            }
        };
        let attached = AtomicBool::new(true);
        NonNull::new(raw)
            .map(|raw| Self { raw, attached })
            .ok_or(-error)
    }

    /// Hits the kernel could not hand over.
    pub(super) fn missed(&self) -> u64 {
        // SAFETY: there until it is freed, attached or not.
        unsafe { wp_probe_missed(self.raw.as_ptr()) }
    }

    /// Unregisters it and waits for its handlers: when this returns it has fired for the last time, unless another thread has
    /// begun the same before.
    pub(super) fn detach(&self) {
        if self.attached.swap(false, Relaxed) {
            // SAFETY: registered, and not any more after this, of which the swap makes one.
            unsafe { wp_probe_detach(self.raw.as_ptr()) };
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.detach();
        // SAFETY: detached, and gone after this; who detached it has let go of it.
        unsafe { wp_probe_free(self.raw.as_ptr()) };
    }
}

/// *probe* The arguments of the syscall whose wrapper was entered with the registers `outer`.
///
/// # Safety
///
/// `outer` points to a `struct pt_regs`.
pub(super) unsafe fn syscall_args(outer: *const c_void) -> Option<[u64; 6]> {
    let mut args = [0; 6];
    // SAFETY: the caller's promise; C writes six numbers.
    unsafe { wp_syscall_args(outer, &raw mut args) }.then_some(args)
}

/// Bytes of `struct pt_regs`.
pub(super) fn regs_size() -> usize {
    wp_regs_size()
}
