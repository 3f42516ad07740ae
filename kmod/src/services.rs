//! The C half's functions, declared once (`shim/{services,device,ring}.c`; for probes see
//! [`crate::attach::shim`], for requests [`crate::locks`], [`crate::later`] and [`crate::stack`]).
//!
//! The safe wrappers say in their types what C cannot. What is marked *probe* may run inside a probe:
//! it neither sleeps nor allocates nor faults.

use core::ffi::c_void;
use core::fmt::{self, Write as _};
use core::ptr::NonNull;

use abi::uapi::Resource;
use helpers::host::Errno;

use crate::allocations;

/// `struct wprobe_window`.
#[repr(C)]
pub(crate) struct RawWindow {
    opaque: [u8; 0],
}

/// `struct wprobe_limits`: module parameters and the machine's shape.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct Limits {
    /// What a sandbox may have, by resource.
    pub(crate) each: [u64; Resource::ALL.len()],
    /// What all sandboxes may have, by resource.
    pub(crate) total: [u64; Resource::ALL.len()],
    /// Bytes of a wasm module at most.
    pub(crate) max_module: u64,
    /// Execution budget of one run where none is given.
    pub(crate) default_fuel: u64,
    /// Execution budget of one run at most.
    pub(crate) max_fuel: u64,
    /// One more than the largest possible CPU number.
    pub(crate) cpus: u64,
}

// SAFETY: as shim/ defines them; nothing else in the module has these names.
unsafe extern "C" {
    fn wp_limits(limits: *mut Limits);
    fn wp_new_fd(object: *mut c_void) -> i32;
    safe fn wp_hold_module();
    safe fn wp_drop_module();
    fn wp_log(text: *const u8, length: usize);
    safe fn wp_alloc(size: usize, align: usize) -> *mut u8;
    fn wp_free(block: *mut u8, size: usize);
    safe fn wp_alloc_guest(size: usize) -> *mut u8;
    fn wp_free_guest(memory: *mut u8);
    fn wp_copy_in(to: *mut u8, from: u64, size: usize) -> bool;
    fn wp_copy_out(to: u64, from: *const u8, size: usize) -> bool;
    fn wp_abort_control(result: i64);
    fn wp_attempt(run: *mut c_void, most: i64, freed: *mut u64) -> i64;
    safe fn wp_in_attempt() -> u32;
    fn wp_abort_hit(cpu: u32);
    safe fn wp_cpu() -> u32;
    safe fn wp_irqs_off() -> bool;
    safe fn wp_irq_save() -> u64;
    fn wp_irq_restore(flags: u64);
    safe fn wp_ktime() -> u64;
    safe fn wp_boottime() -> u64;
    safe fn wp_pid_tgid() -> u64;
    safe fn wp_uid_gid() -> u64;
    safe fn wp_task() -> u64;
    fn wp_comm(comm: *mut [u8; 16]);
    safe fn wp_seed_random();
    safe fn wp_random() -> u32;
    safe fn wp_entropy() -> u32;
    fn wp_read_kernel(to: *mut u8, from: u64, size: usize) -> i64;
    fn wp_read_user(to: *mut u8, from: u64, size: usize) -> i64;
    fn wp_read_kernel_str(to: *mut u8, from: u64, size: usize) -> i64;
    fn wp_read_user_str(to: *mut u8, from: u64, size: usize) -> i64;
    safe fn wp_user_end() -> u64;
    fn wp_pointer_text(kind: u8, address: u64, to: *mut u8, size: usize) -> usize;
    fn wp_trace(text: *const u8, length: usize);
    fn wp_window_new(pages: *mut u8, count: u32, ring_buffer: bool) -> *mut RawWindow;
    fn wp_window_free(window: *mut RawWindow);
    fn wp_wake(window: *mut RawWindow);
    safe fn wp_wait_for_runs();
    safe fn wp_rest();
    safe fn wp_rest_unless_killed() -> bool;
    safe fn wp_may_trace() -> i32;
    safe fn wp_may_attach(sampled: bool) -> i32;
    safe fn wp_native_text() -> u64;
    safe fn wp_may_load_code() -> bool;
    fn wp_native_write(offset: usize, code: *const u8, size: usize) -> i64;
    fn wp_sha256(bytes: *const u8, size: usize, digest: *mut u8);
}

/// Module parameters, as they are now.
pub(crate) fn limits() -> Limits {
    let mut limits = Limits::default();
    // SAFETY: C fills the struct it is given.
    unsafe { wp_limits(&raw mut limits) };
    limits
}

/// A new descriptor that owns `object`, or a positive errno.
///
/// # Safety
///
/// `object` is what `wprobe_rs_control` expects of a descriptor's object, and is not used by the
/// caller any more if a descriptor comes back.
pub(crate) unsafe fn new_fd(object: *mut c_void) -> Result<i32, i32> {
    // SAFETY: the caller's promise.
    let fd = unsafe { wp_new_fd(object) };
    if fd < 0 { Err(-fd) } else { Ok(fd) }
}

/// Keeps this kernel module from being unloaded, until [`drop_module`].
pub(crate) fn hold_module() {
    wp_hold_module();
}

/// Takes one [`hold_module`] back.
pub(crate) fn drop_module() {
    wp_drop_module();
}

/// Writes a line to the kernel log, cut to fit. Allocates nothing: a panic may be about memory.
pub(crate) fn log(text: fmt::Arguments<'_>) {
    let mut line = Line {
        bytes: [0; 256],
        length: 0,
    };
    // What does not fit is cut, which is no error.
    let _ = line.write_fmt(text);
    // SAFETY: the text is there for the call.
    unsafe { wp_log(line.bytes.as_ptr(), line.length) };
}

struct Line {
    bytes: [u8; 256],
    length: usize,
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = &mut self.bytes[self.length..];
        let length = text.len().min(room.len());
        room[..length].copy_from_slice(&text.as_bytes()[..length]);
        self.length += length;
        Ok(())
    }
}

/// *probe* What printk() makes of a pointer: `%p`, and `kind` behind it. How many bytes it wrote.
pub(crate) fn pointer_text(kind: u8, address: u64, to: &mut [u8]) -> usize {
    // SAFETY: the room is there for the call, and C writes no more.
    unsafe { wp_pointer_text(kind, address, to.as_mut_ptr(), to.len()) }
}

/// A block from the kernel's allocator. Sleeps.
pub(crate) fn alloc(size: usize, align: usize) -> *mut u8 {
    wp_alloc(size, align)
}

/// # Safety
///
/// `block` came from [`alloc`], of `size`, and is not used any more.
pub(crate) unsafe fn free(block: *mut u8, size: usize) {
    // SAFETY: the caller's promise.
    unsafe { wp_free(block, size) };
}

/// Zeroed pages for a guest. Sleeps.
pub(crate) fn alloc_guest(size: usize) -> Option<NonNull<u8>> {
    NonNull::new(wp_alloc_guest(size))
}

/// # Safety
///
/// `memory` came from [`alloc_guest`] and is not used any more.
pub(crate) unsafe fn free_guest(memory: NonNull<u8>) {
    // SAFETY: the caller's promise.
    unsafe { wp_free_guest(memory.as_ptr()) };
}

/// Copies user memory; whether all of it was there. Sleeps.
pub(crate) fn copy_in(to: &mut [u8], from: u64) -> bool {
    // SAFETY: C writes at most `to.len()` bytes.
    unsafe { wp_copy_in(to.as_mut_ptr(), from, to.len()) }
}

/// Copies to user memory; whether all of it was there. Sleeps.
pub(crate) fn copy_out(to: u64, from: &[u8]) -> bool {
    // SAFETY: C reads `from.len()` bytes.
    unsafe { wp_copy_out(to, from.as_ptr(), from.len()) }
}

/// Ends the control request that is being served, with `-errno`.
///
/// # Safety
///
/// A control request is being served, by this thread; what it was changing is not used any more.
pub(crate) unsafe fn abort_control(errno: i32) -> ! {
    // SAFETY: the catch below this frame is the caller's promise.
    unsafe { wp_abort_control(-i64::from(errno)) };
    never()
}

/// Has `wprobe_rs_attempt` called with `run`, which may have `most` bytes of memory at a time; how that was [ended](abort_control),
/// if it did not come back by itself. What it had allocated is free then.
///
/// # Safety
///
/// `run` is what that function expects; a control request is being served, by this thread, on a larger stack. What `run` makes is not
/// used if it was ended.
pub(crate) unsafe fn attempt(run: *mut c_void, most: usize) -> Result<(), Errno> {
    let mut freed = 0;
    // SAFETY: the caller's promise.
    let result = unsafe { wp_attempt(run, most as i64, &raw mut freed) };
    allocations::count_frees(freed);
    match result {
        0 => Ok(()),
        error => Err(Errno(-error as i32)),
    }
}

/// What a thread is in that panics.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempting {
    /// No [`attempt`].
    Nothing,
    /// An [`attempt`].
    Something,
    /// One that was just refused memory, which is no defect.
    Denied,
}

/// Whether this thread is in an [`attempt`].
pub(crate) fn attempting() -> Attempting {
    match wp_in_attempt() {
        0 => Attempting::Nothing,
        1 => Attempting::Something,
        _ => Attempting::Denied,
    }
}

/// Ends the hit that is being served on this CPU.
///
/// # Safety
///
/// A hit is being served on this CPU, `cpu`, and no lock is held that anybody waits for.
pub(crate) unsafe fn abort_hit(cpu: u32) -> ! {
    // SAFETY: the catch below this frame is the caller's promise.
    unsafe { wp_abort_hit(cpu) };
    never()
}

/// Behind a C function that does not return, which objtool must not be told.
pub(crate) fn never() -> ! {
    loop {
        core::hint::spin_loop();
    }
}

/// *probe* The CPU this runs on; only steady while interrupts are off.
pub(crate) fn cpu() -> u32 {
    wp_cpu()
}

/// *probe* Whether interrupts are off on this CPU.
pub(crate) fn irqs_off() -> bool {
    wp_irqs_off()
}

/// *probe* Interrupts are off while this lives.
pub(crate) struct IrqsOff {
    flags: u64,
}

impl IrqsOff {
    pub(crate) fn new() -> Self {
        Self {
            flags: wp_irq_save(),
        }
    }
}

impl Drop for IrqsOff {
    fn drop(&mut self) {
        // SAFETY: the flags are those of the matching save.
        unsafe { wp_irq_restore(self.flags) };
    }
}

/// *probe* Monotonic nanoseconds.
pub(crate) fn ktime() -> u64 {
    wp_ktime()
}

/// *probe* Nanoseconds since boot, suspend included.
pub(crate) fn boottime() -> u64 {
    wp_boottime()
}

/// *probe* `tgid << 32 | pid`.
pub(crate) fn pid_tgid() -> u64 {
    wp_pid_tgid()
}

/// *probe* `gid << 32 | uid`.
pub(crate) fn uid_gid() -> u64 {
    wp_uid_gid()
}

/// *probe* Address of the current task.
pub(crate) fn task() -> u64 {
    wp_task()
}

/// *probe* The current task's name.
pub(crate) fn comm() -> [u8; 16] {
    let mut comm = [0; 16];
    // SAFETY: C writes TASK_COMM_LEN = 16 bytes.
    unsafe { wp_comm(&raw mut comm) };
    comm
}

/// Seeds [`random`].
pub(crate) fn seed_random() {
    wp_seed_random();
}

/// *probe* A pseudo-random number.
pub(crate) fn random() -> u32 {
    wp_random()
}

/// A number that nobody can tell beforehand.
pub(crate) fn entropy() -> u32 {
    wp_entropy()
}

/// Where bytes that are copied fault-safely come from.
#[derive(Clone, Copy)]
pub(crate) enum From {
    /// Kernel memory.
    Kernel,
    /// Memory of the current process.
    User,
}

/// *probe* Copies `size` bytes without faulting; a positive errno if they are not there.
///
/// # Safety
///
/// `to` is valid for writes of `size` bytes.
pub(crate) unsafe fn read(kind: From, to: *mut u8, from: u64, size: usize) -> Result<(), i32> {
    // SAFETY: C writes at most `size` bytes and handles every fault of `from`.
    let error = unsafe {
        match kind {
            From::Kernel => wp_read_kernel(to, from, size),
            From::User => wp_read_user(to, from, size),
        }
    };
    if error < 0 {
        Err(-error as i32)
    } else {
        Ok(())
    }
}

/// *probe* Copies a string without faulting, NUL-terminated and cut to `size`; its length with NUL.
///
/// # Safety
///
/// As [`read`].
pub(crate) unsafe fn read_str(
    kind: From,
    to: *mut u8,
    from: u64,
    size: usize,
) -> Result<usize, i32> {
    // SAFETY: as in `read`.
    let length = unsafe {
        match kind {
            From::Kernel => wp_read_kernel_str(to, from, size),
            From::User => wp_read_user_str(to, from, size),
        }
    };
    if length < 0 {
        Err(-length as i32)
    } else {
        Ok(length as usize)
    }
}

/// *probe* The first address that is not the current process's.
pub(crate) fn user_end() -> u64 {
    wp_user_end()
}

/// *probe* Writes a line to the trace log.
pub(crate) fn trace(text: &[u8]) {
    // SAFETY: the text is there for the call.
    unsafe { wp_trace(text.as_ptr(), text.len()) };
}

/// Pages of a ring that user space may map, and what waits for its records.
pub(crate) struct Window {
    raw: NonNull<RawWindow>,
}

// SAFETY: the C half's object may be used from any thread.
unsafe impl Send for Window {}
// SAFETY: as above.
unsafe impl Sync for Window {}

impl Window {
    /// A window on `count` pages at `pages`. Of a ring buffer the first is writable, and the pages from
    /// the third on are mapped twice. `None`: no memory.
    ///
    /// # Safety
    ///
    /// The pages came from [`alloc_guest`], and stay while a descriptor leads to the window.
    pub(crate) unsafe fn new(pages: NonNull<u8>, count: u32, ring_buffer: bool) -> Option<Self> {
        // SAFETY: the caller's promise.
        let raw = unsafe { wp_window_new(pages.as_ptr(), count, ring_buffer) };
        NonNull::new(raw).map(|raw| {
            allocations::count_allocation();
            Self { raw }
        })
    }

    pub(crate) fn raw(&self) -> *const RawWindow {
        self.raw.as_ptr()
    }

    /// What [`wake`] takes.
    pub(crate) fn waker(&self) -> usize {
        self.raw.as_ptr() as usize
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        allocations::count_free();
        // SAFETY: no descriptor leads to it and no run can wake it any more; waits for a wake under way.
        unsafe { wp_window_free(self.raw.as_ptr()) };
    }
}

/// *probe* Wakes whoever waits for a window's records.
///
/// # Safety
///
/// `waker` is that of a window which lives.
pub(crate) unsafe fn wake(waker: usize) {
    // SAFETY: the caller's promise.
    unsafe { wp_wake(waker as *mut RawWindow) };
}

/// Returns when every run that was under way has ended. Sleeps.
pub(crate) fn wait_for_runs() {
    wp_wait_for_runs();
}

/// Lets others have the CPU, between parts of what takes long.
pub(crate) fn rest() {
    wp_rest();
}

/// The same; whether the caller was killed meanwhile.
pub(crate) fn rest_or_killed() -> bool {
    !wp_rest_unless_killed()
}

/// Whether the caller may trace the kernel; `EPERM` if not.
pub(crate) fn may_trace() -> Result<(), Errno> {
    allowed(wp_may_trace())
}

/// Whether nobody has locked the kernel down against probes, or against samples; `EPERM` if so.
pub(crate) fn may_attach(sampled: bool) -> Result<(), Errno> {
    allowed(wp_may_attach(sampled))
}

fn allowed(error: i32) -> Result<(), Errno> {
    match error {
        0 => Ok(()),
        error => Err(Errno(-error)),
    }
}

/// Address of the room for native code.
pub(crate) fn native_text() -> u64 {
    wp_native_text()
}

/// Whether the caller may load kernel modules, and so native code.
pub(crate) fn may_load_code() -> bool {
    wp_may_load_code()
}

/// Writes native code `offset` bytes into its room; a positive errno if that fails.
///
/// # Safety
///
/// No CPU runs what was there.
pub(crate) unsafe fn native_write(offset: usize, code: &[u8]) -> Result<(), i32> {
    // SAFETY: C checks the range; the rest is the caller's promise.
    match unsafe { wp_native_write(offset, code.as_ptr(), code.len()) } {
        0 => Ok(()),
        error => Err(-error as i32),
    }
}

/// SHA-256 of `bytes`.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut digest = [0; 32];
    // SAFETY: both are valid for their lengths.
    unsafe { wp_sha256(bytes.as_ptr(), bytes.len(), digest.as_mut_ptr()) };
    digest
}
