//! The control path: one request at a time, on the control stack.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::cell::UnsafeCell;
use core::ffi::c_void;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use abi::uapi::{self, Kind, Resource};
use helpers::host::Errno;

use crate::registry::{Object, Registry};
use crate::sandbox::Sandbox;
use crate::stats::Timing;
use crate::user::{self, Call};
use crate::{allocations, attach, cpu, limits, map, module, sandbox, services};

/// `struct wprobe_request`.
#[repr(C)]
pub(crate) struct Request {
    op: u32,
    cmd: u32,
    object: *mut c_void,
    address: u64,
    size: u64,
    position: u64,
}

/// `enum wprobe_op`.
const INIT: u32 = 0;
const EXIT: u32 = 1;
const IOCTL: u32 = 2;
const READ: u32 = 3;
const RELEASE: u32 = 4;

/// The registry, and whether a panic left it in an unknown state.
struct Control {
    registry: UnsafeCell<Registry>,
    broken: UnsafeCell<bool>,
}

// SAFETY: C hands requests over one at a time, under a mutex.
unsafe impl Sync for Control {}

static CONTROL: Control = Control {
    registry: UnsafeCell::new(Registry::new()),
    broken: UnsafeCell::new(false),
};

/// Answers a request; the result is what the system call returns.
///
/// # Safety
///
/// Called by C only: one request at a time; `request.object` is null or was given to `new_fd`, and is
/// not used any more after `RELEASE`.
#[unsafe(no_mangle)]
unsafe extern "C" fn wprobe_rs_control(request: *const Request) -> i64 {
    // SAFETY: the caller's promise.
    let (request, registry, broken) = unsafe {
        (
            &*request,
            &mut *CONTROL.registry.get(),
            *CONTROL.broken.get(),
        )
    };
    if broken {
        return -i64::from(EIO);
    }
    // SAFETY: as above; a descriptor's object stays while a request on it is served.
    let object = unsafe { request.object.cast::<Object>().as_ref() };
    let result = match request.op {
        INIT => init(),
        EXIT => {
            cpu::exit();
            Ok(0)
        }
        IOCTL => ioctl(registry, object, &Call::new(request.cmd, request.address)),
        READ => read(object, request),
        RELEASE => {
            // SAFETY: it came from Box::into_raw, and this is the last request on it.
            drop(unsafe { Box::from_raw(request.object.cast::<Object>()) });
            Ok(0)
        }
        _ => Err(Errno::EINVAL),
    };
    registry.purge();
    match result {
        Ok(value) => value,
        Err(errno) => -i64::from(errno.0),
    }
}

/// "Input/output error": a panic left the control path in an unknown state.
const EIO: i32 = 5;

/// Whether what is under way fails alone.
static IS_ATTEMPT: AtomicBool = AtomicBool::new(false);

/// A part of a request.
type Attempt<'a> = &'a mut dyn FnMut();

/// Does a part of the request that changes nothing but what it makes, and fails alone: a panic in it, be it because of an
/// allocation that failed, ends it and nothing else. What it has allocated then stays so.
pub(crate) fn attempt<T>(run: impl FnOnce() -> T) -> Option<T> {
    let (mut run, mut result) = (Some(run), None);
    let mut call = || result = run.take().map(|run| run());
    let mut attempt: Attempt<'_> = &mut call;
    IS_ATTEMPT.store(true, Relaxed);
    // SAFETY: what `wprobe_rs_attempt` expects; this is the control path.
    let came_back = unsafe { services::attempt((&raw mut attempt).cast()) };
    IS_ATTEMPT.store(false, Relaxed);
    result.filter(|_| came_back)
}

/// # Safety
///
/// Called by C only, for [`attempt`], with what that gave it.
#[unsafe(no_mangle)]
unsafe extern "C" fn wprobe_rs_attempt(attempt: *mut c_void) {
    // SAFETY: the caller's promise.
    unsafe { (*attempt.cast::<Attempt<'_>>())() }
}

/// Ends the request under way, from the panic handler. Nothing is answered any more after it, and the
/// kernel module stays loaded: what the request was changing may still be in use. An [`attempt`] only ends that.
pub(crate) fn abandon() -> ! {
    if IS_ATTEMPT.swap(false, Relaxed) {
        // SAFETY: only the attempt runs in the control path, and nobody uses what it was making.
        unsafe { services::abort_control(EIO) }
    }
    services::hold_module();
    // SAFETY: only the request under way runs in the control path, and it panicked.
    unsafe {
        *CONTROL.broken.get() = true;
        services::abort_control(EIO)
    }
}

fn init() -> Result<i64, Errno> {
    services::seed_random();
    cpu::init(services::limits().cpus as u32)
        .then_some(0)
        .ok_or(Errno::ENOMEM)
}

fn read(object: Option<&Object>, request: &Request) -> Result<i64, Errno> {
    match object {
        Some(Object::Module(_, module)) => module
            .read(request.address, request.size, request.position)
            .map(|read| read as i64),
        _ => Err(Errno::EINVAL),
    }
}

/// Answers an ioctl: 0, or a new descriptor.
fn ioctl(registry: &mut Registry, object: Option<&Object>, call: &Call) -> Result<i64, Errno> {
    if let Some(object) = object {
        if call.is(uapi::PIN) {
            return registry.pin(object).map(|()| 0);
        }
        if call.is(uapi::UNPIN) {
            return registry.unpin(object).map(|()| 0);
        }
    }
    let made = match object {
        None => device(registry, call)?,
        Some(Object::Sandbox(sandbox)) => sandbox::ioctl(registry, sandbox, call)?,
        Some(Object::Module(sandbox, module)) => module::ioctl(registry, sandbox, module, call)?,
        Some(Object::Map(sandbox, map)) => map::ioctl(registry, sandbox, map, call)?,
        Some(Object::Link(link)) => attach::ioctl(registry, link, call).map(|()| None)?,
        Some(Object::Ring(_) | Object::Timing(_)) => return Err(user::ENOTTY),
    };
    made.map_or(Ok(0), descriptor)
}

/// A new descriptor that holds `object`.
fn descriptor(object: Object) -> Result<i64, Errno> {
    let object = Box::into_raw(Box::new(object));
    // SAFETY: what `wprobe_rs_control` expects; not used here any more if there is a descriptor.
    match unsafe { services::new_fd(object.cast()) } {
        Ok(fd) => Ok(fd.into()),
        Err(errno) => {
            // SAFETY: no descriptor owns it, so it is still ours.
            drop(unsafe { Box::from_raw(object) });
            Err(Errno(errno))
        }
    }
}

/// Answers an ioctl of the device itself.
fn device(registry: &mut Registry, call: &Call) -> Result<Option<Object>, Errno> {
    if call.is(uapi::SANDBOX_CREATE) {
        return Sandbox::create(registry, call).map(Some);
    }
    if call.is(uapi::ABOUT) {
        return about(call).map(|()| None);
    }
    if call.is(uapi::LIMIT) {
        return limits::tell(call).map(|()| None);
    }
    if call.is(uapi::TIME_RUNS) {
        let timing = Timing::new(registry.new_id(Kind::Timing));
        let timing = Object::Timing(Arc::new(timing));
        registry.add(&timing);
        return Ok(Some(timing));
    }
    if call.is(uapi::NEXT_ID) {
        let mut args: uapi::NextId = call.read()?;
        args.id = registry.next(args.kind, args.id).ok_or(Errno::ENOENT)?;
        return call.write(&args).map(|()| None);
    }
    if call.is(uapi::OPEN_ID) {
        let args: uapi::OpenId = call.read()?;
        return registry
            .open(args.kind, args.id)
            .ok_or(Errno::ENOENT)
            .map(Some);
    }
    Err(user::ENOTTY)
}

fn about(call: &Call) -> Result<(), Errno> {
    let limits = services::limits();
    let (allocations, frees, probe_allocations) = allocations::counts();
    call.write(&uapi::About {
        version: uapi::VERSION,
        cpus: cpu::count(),
        max_memory: limits.each[Resource::Memory as usize - 1],
        max_module: limits.max_module,
        default_fuel: limits.default_fuel.min(limits.max_fuel),
        allocations,
        frees,
        probe_allocations,
        max_fuel: limits.max_fuel,
    })
}
