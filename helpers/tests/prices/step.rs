//! Counts the instructions of this thread, by single steps.

use std::arch::asm;
use std::cell::Cell;
use std::hint::black_box;
use std::sync::Once;

use libc::{c_int, c_void, siginfo_t};

thread_local! {
    static STEPS: Cell<u64> = const { Cell::new(0) };
}

extern "C" fn on_step(_: c_int, _: *mut siginfo_t, _: *mut c_void) {
    STEPS.set(STEPS.get() + 1);
}

fn listen() {
    // SAFETY: all zeros is a valid `sigaction`; the handler only touches a cell of its thread, which needs no initialisation.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_step as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        assert_eq!(
            libc::sigaction(libc::SIGTRAP, &action, std::ptr::null_mut()),
            0
        );
    }
}

/// What `run` gives, and how many instructions it took in this process; a system call is one.
pub(crate) fn count<T>(run: impl FnOnce() -> T) -> (T, u64) {
    static LISTENS: Once = Once::new();
    LISTENS.call_once(listen);
    let before = steps(|| ());
    let (result, steps) = (black_box(run), before);
    let mut given = None;
    let all = self::steps(|| given = Some(black_box(result())));
    (given.expect("it ran"), all.saturating_sub(steps))
}

fn steps(run: impl FnOnce()) -> u64 {
    STEPS.set(0);
    // SAFETY: from here on each instruction is followed by a signal, whose handler touches nothing but a count.
    unsafe { asm!("pushfq", "or qword ptr [rsp], 0x100", "popfq") };
    run();
    // SAFETY: ends that.
    unsafe { asm!("pushfq", "and qword ptr [rsp], -257", "popfq") };
    STEPS.get()
}
