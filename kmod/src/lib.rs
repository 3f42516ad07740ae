//! The Rust half of `wprobe.ko`: the engine and the objects of `/dev/wprobe`.
//!
//! C calls in at three places: [`control`] (a request from user space), [`wprobe_rs_hit`] and [`wprobe_rs_left`] (a probe was
//! hit) and [`ring`] (a descriptor is mapped or polled). Everything Rust needs from the kernel is in [`services`].
//!
//! * Control path: [`control`], [`user`] (arguments), [`registry`] (objects and ids), [`sandbox`],
//!   [`map`], [`ring`], [`load`], [`module`], [`attach`], [`limits`]. Requests are served at the same time; what they share is behind
//!   [`locks`], what the engine does has a larger [`stack`], what is gone is freed [`later`]. May allocate and sleep.
//! * Data path: [`attach`] (the hit), [`program`] (the run), [`engine`], [`host`], [`stats`]. Interrupts are
//!   off; allocates nothing, sleeps never, looks up no name, shares no lock between CPUs (but the one
//!   of an exclusive module).
//! * Under both: [`memory`] (the allocator), [`allocations`], [`cpu`] (the guard against nested runs).
//!
//! **Invariant:** a probe handler changes nothing that the probed path can see, and always ends.
#![no_std]

extern crate alloc;

/// Holds offsets that C knows against what they are: `known_to_c!(Cpu { running: 0, ready: 8 })`.
macro_rules! known_to_c {
    ($ty:ident { $($field:ident: $at:literal),* $(,)? }) => {
        const _: () = {
            $(assert!(core::mem::offset_of!($ty, $field) == $at);)*
        };
    };
}

mod allocations;
mod attach;
mod control;
mod cpu;
mod engine;
mod host;
mod later;
mod limits;
mod load;
mod locks;
mod map;
mod memory;
mod module;
mod program;
mod registry;
mod ring;
mod sandbox;
mod services;
mod stack;
mod stats;
mod tasks;
mod user;

use core::panic::PanicInfo;

use attach::{Attachment, Hit};
use cpu::{Abandoned, Cpu};
use services::Attempting;

/// A probe was hit, and C did not run the program by itself.
///
/// # Safety
///
/// Called by C only: with interrupts off on CPU `cpu`, the attachment a probe was registered with, a hit of that probe, and
/// the words of its context.
#[unsafe(no_mangle)]
unsafe extern "C" fn wprobe_rs_hit(
    attachment: *const Attachment,
    hit: *const Hit,
    words: *const u64,
    cpu: u64,
) {
    // SAFETY: an attachment outlives its probe; hit and words are the caller's promise.
    unsafe { (*attachment).hit(*hit, words, cpu as u32) }
}

/// Native code that C began was left before its end.
///
/// # Safety
///
/// Called by C only: with interrupts still off on CPU `cpu`, and the attachment whose run it was.
#[unsafe(no_mangle)]
unsafe extern "C" fn wprobe_rs_left(attachment: *const Attachment, cpu: u64) {
    // SAFETY: as above.
    unsafe { (*attachment).left(cpu as u32) };
}

/// Leads out of the Rust half: a hit ends and its store is never used again, a request fails and so do
/// all after it. Nothing is unwound, so what was held stays held; see CAVEATS.md.
#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    match cpu::in_run().map(Cpu::abandon) {
        // SAFETY: this CPU is serving a hit; a map's lock may stay taken, which CAVEATS.md tells.
        Some(Abandoned::Probe) => unsafe { services::abort_hit(services::cpu()) },
        // SAFETY: as above, and it is where the state says.
        Some(Abandoned::Native(state)) => unsafe { engine::native::abandon(state) },
        Some(Abandoned::Control) => control::abandon(),
        None => {
            if services::attempting() != Attempting::Denied {
                services::log(format_args!("panic in the control path: {info}"));
            }
            control::abandon()
        }
    }
}
