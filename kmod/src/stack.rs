//! A larger stack, for what the engine does.

use core::ffi::c_void;

use helpers::host::Errno;

// SAFETY: as shim/control.c defines them; nothing else in the module has these names.
unsafe extern "C" {
    fn wp_on_stack(
        work: unsafe extern "C" fn(*mut c_void),
        job: *mut c_void,
        allocated: *mut i64,
    ) -> bool;
    safe fn wp_allocated() -> i64;
}

struct Job<W, R> {
    work: Option<W>,
    result: Option<R>,
}

/// Does `work` on a larger stack; its result, and how many bytes it has allocated and not freed.
///
/// # Errors
///
/// `ENOMEM`: there is no memory for a stack.
pub(crate) fn larger<R>(work: impl FnOnce() -> R) -> Result<(R, u64), Errno> {
    let mut job = Job {
        work: Some(work),
        result: None,
    };
    let mut allocated = 0;
    let run = trampoline(&job);
    // SAFETY: the job is there for the call, and of the type that `run` expects.
    let done = unsafe { wp_on_stack(run, (&raw mut job).cast(), &raw mut allocated) };
    match job.result {
        Some(result) if done => Ok((result, u64::try_from(allocated).unwrap_or(0))),
        _ => Err(Errno::ENOMEM),
    }
}

/// What calls a job of that type.
fn trampoline<W: FnOnce() -> R, R>(_: &Job<W, R>) -> unsafe extern "C" fn(*mut c_void) {
    run::<W, R>
}

/// # Safety
///
/// `job` is a `Job<W, R>` that nothing else uses.
unsafe extern "C" fn run<W: FnOnce() -> R, R>(job: *mut c_void) {
    // SAFETY: the caller's promise.
    let job = unsafe { &mut *job.cast::<Job<W, R>>() };
    job.result = job.work.take().map(|work| work());
}

/// Bytes that the work under way on a larger stack has allocated and not freed.
pub(crate) fn allocated() -> i64 {
    wp_allocated()
}
