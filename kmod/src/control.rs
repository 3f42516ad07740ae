//! The control path: what requests mean, and what each asks for.
//!
//! Requests are served at the same time. User memory is copied in before a lock is taken, and out after it is let go of.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::ffi::c_void;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use abi::uapi::{self, Kind, Needs, Resource};
use helpers::host::Errno;

use crate::registry::{self, Object};
use crate::sandbox::Sandbox;
use crate::services::Attempting;
use crate::stats::Timing;
use crate::user::{self, Call};
use crate::{allocations, attach, cpu, later, limits, map, module, sandbox, services, stack};

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
const RECLAIM: u32 = 5;

/// Whether a panic left what requests share in an unknown state.
static BROKEN: AtomicBool = AtomicBool::new(false);

/// Whether no request is answered any more.
pub(crate) fn is_broken() -> bool {
    BROKEN.load(Relaxed)
}

/// Answers a request; the result is what the system call returns.
///
/// # Safety
///
/// Called by C only: `request.object` is null or was given to `new_fd`, and is not used any more after `RELEASE`; of `RECLAIM` it
/// is what [`later::free_all`] takes.
#[unsafe(no_mangle)]
unsafe extern "C" fn wprobe_rs_control(request: *const Request) -> i64 {
    // SAFETY: the caller's promise.
    let request = unsafe { &*request };
    if is_broken() {
        return -i64::from(EIO.0);
    }
    let result = match request.op {
        INIT => init(),
        EXIT => {
            cpu::exit();
            Ok(0)
        }
        RELEASE => {
            // SAFETY: it came from Box::into_raw, and this is the last request on it.
            drop(unsafe { Box::from_raw(request.object.cast::<Object>()) });
            later::reclaim();
            Ok(0)
        }
        RECLAIM => {
            let first = request.object.cast();
            // SAFETY: the caller's promise.
            stack::larger(|| unsafe { reclaim(first) }).map(|_| 0)
        }
        _ => {
            // SAFETY: a descriptor's object stays while a request on it is served.
            let object = unsafe { request.object.cast::<Object>().as_ref() };
            match request.op {
                IOCTL => ioctl(object, &Call::new(request.cmd, request.address)),
                READ => read(object, request),
                _ => Err(Errno::EINVAL),
            }
        }
    };
    match result {
        Ok(value) => value,
        Err(errno) => -i64::from(errno.0),
    }
}

/// "Input/output error": a panic left the control path in an unknown state.
pub(crate) const EIO: Errno = Errno(5);

/// A part of a request.
type Attempt<'a> = &'a mut dyn FnMut();

/// Does a part of the request that changes nothing but what it makes, takes no lock, and fails alone: a panic in it, be it because
/// of an allocation that failed, or beyond `most` bytes, ends it and nothing else, and what it has allocated is free again.
///
/// # Errors
///
/// `ENOMEM`: it got no more memory; `EIO`: it panicked otherwise.
pub(crate) fn attempt<T>(most: usize, run: impl FnOnce() -> T) -> Result<T, Errno> {
    let (mut run, mut result) = (Some(run), None);
    let mut call = || result = run.take().map(|run| run());
    let mut attempt: Attempt<'_> = &mut call;
    // SAFETY: what `wprobe_rs_attempt` expects; this is the control path. There is a result only if it came back.
    unsafe { services::attempt((&raw mut attempt).cast(), most)? };
    result.ok_or(EIO)
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
/// kernel module stays loaded: what the request was changing may still be in use. C lets go of the locks it held. An [`attempt`] only
/// ends that.
pub(crate) fn abandon() -> ! {
    if services::attempting() != Attempting::Nothing {
        // SAFETY: an attempt of this thread is under way, and nobody uses what it was making.
        unsafe { services::abort_control(EIO.0) }
    }
    services::hold_module();
    BROKEN.store(true, Relaxed);
    // SAFETY: a request of this thread is under way, and it panicked.
    unsafe { services::abort_control(EIO.0) }
}

/// Frees what is gone.
///
/// # Safety
///
/// As [`later::free_all`].
unsafe fn reclaim(first: *mut later::Node) {
    // SAFETY: the caller's promise.
    unsafe { later::free_all(first) };
    registry::purge();
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

/// Answers an ioctl: 0, or a new descriptor. What a descriptor may be used for is not what its opener might do, but what its user may:
/// it may have been handed on.
fn ioctl(object: Option<&Object>, call: &Call) -> Result<i64, Errno> {
    let known = uapi::IOCTLS.iter().find(|ioctl| call.is(ioctl.number));
    match known.ok_or(user::ENOTTY)?.needs {
        Needs::Nothing => {}
        Needs::Tracing => services::may_trace()?,
    }
    if let Some(object) = object {
        if call.is(uapi::PIN) {
            return registry::pin(object).map(|()| 0);
        }
        if call.is(uapi::UNPIN) {
            return registry::unpin(object).map(|()| 0);
        }
    }
    let made = match object {
        None => device(call)?,
        Some(Object::Sandbox(sandbox)) => sandbox::ioctl(sandbox, call)?,
        Some(Object::Module(sandbox, module)) => module::ioctl(sandbox, module, call)?,
        Some(Object::Map(sandbox, map)) => map::ioctl(sandbox, map, call)?,
        Some(Object::Link(link)) => attach::ioctl(link, call).map(|()| None)?,
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
            later::reclaim();
            Err(Errno(errno))
        }
    }
}

/// Answers an ioctl of the device itself.
fn device(call: &Call) -> Result<Option<Object>, Errno> {
    if call.is(uapi::SANDBOX_CREATE) {
        return Sandbox::create(call).map(Some);
    }
    if call.is(uapi::ABOUT) {
        return about(call).map(|()| None);
    }
    if call.is(uapi::LIMIT) {
        return limits::tell(call).map(|()| None);
    }
    if call.is(uapi::FLUSH) {
        later::flush();
        return Ok(None);
    }
    if call.is(uapi::TIME_RUNS) {
        let timing = Timing::new(registry::new_id(Kind::Timing)?);
        return registry::add(Object::Timing(Arc::new(timing))).map(Some);
    }
    if call.is(uapi::NEXT_ID) {
        let mut args: uapi::NextId = call.read()?;
        args.id = registry::next(args.kind, args.id)?;
        return call.write(&args).map(|()| None);
    }
    if call.is(uapi::OPEN_ID) {
        let args: uapi::OpenId = call.read()?;
        return registry::open(args.kind, args.id).map(Some);
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
