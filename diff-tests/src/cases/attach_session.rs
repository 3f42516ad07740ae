//! Programs of sessions: as native ones on the same events, where the kernel has them.

use std::time::Duration;
use std::{fs, thread};

use anyhow::{Context, Result, ensure};

use super::Case;
use super::attach::{EVENTS, SUMS, attacher, check, place};
use crate::compare::counters;
use crate::oracle::native::Native;
use crate::wasm::Wasm;
use crate::workload::syscalls;
use crate::{corpus, guest};

/// The tests of this area.
pub const CASES: &[Case] = &[("attach_session::entry_and_return_equal_native", equal)];

const OBJECT: &str = "attach_session";
/// Threads that sleep at the same time, and how often.
const SLEEPERS: u64 = 5;
const SLEEPS: u64 = 4;
/// What `sleeper` leaves in a cookie, besides the number of its thread.
const LEFT: u64 = 5;

fn equal() -> Result<()> {
    let elf = corpus::object(OBJECT)?;
    // Every other return of `session`, and none of `first`; `sleeper` has no native one to be compared with.
    let programs = &[
        ("session", "enters", 2 * EVENTS),
        ("session", "returns", EVENTS),
        ("first", "firsts", EVENTS),
    ];
    let names = ["session", "sleeper", "first"];
    let mut wasm = Wasm::load(&guest::device()?, elf, OBJECT, &names)?;
    let native = Native::load(elf, OBJECT, &names).and_then(|mut native| {
        native.attach()?;
        Ok(native)
    });
    // Before 6.10 there are none, and later ones want the context, too.
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let has_them = kernel.starts_with("6.12.");
    ensure!(
        native.is_ok() == has_them,
        "{kernel}: native: {:?}",
        native.err()
    );
    wasm.attach()?;
    let attached = wasm.decisions().iter().filter(|d| d.attached).count();
    ensure!(attached == names.len(), "{:?}", wasm.decisions());
    attacher(|| {
        syscalls::getpgid(EVENTS);
        syscalls::getpriority(EVENTS);
        thread::scope(|scope| {
            for _ in 0..SLEEPERS {
                scope.spawn(|| (0..SLEEPS).for_each(|_| thread::sleep(Duration::from_millis(3))));
            }
        });
        Ok(())
    })?;
    wasm.detach();
    let theirs = match native {
        Ok(mut native) => {
            native.detach();
            native.section(".bss")?
        }
        Err(_) => wasm.section(".bss")?,
    };
    check(&theirs, &wasm, elf, programs)?;
    cookies(&wasm, elf)
}

/// Each call finds at its return what it left at its entry, however many are under way. (Native ones are left out where a task
/// is preempted inside of one, so there is nothing to compare with.)
fn cookies(wasm: &Wasm, elf: &[u8]) -> Result<()> {
    let section = wasm.section(".bss")?;
    let sums = |variable| {
        let at = place(elf, variable)?;
        let sums = section.get(at..at + SUMS);
        Ok::<_, anyhow::Error>(counters(sums.context("the section is shorter")?))
    };
    let (sleeps, wakes) = (sums("sleeps")?, sums("wakes")?);
    ensure!(
        sleeps[0] == SLEEPERS * SLEEPS && wakes[0] == sleeps[0],
        "{} entries, {} returns",
        sleeps[0],
        wakes[0]
    );
    // As `add()` of corpus/src/attach.h does it.
    let right = wakes[0].wrapping_mul(LEFT.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    ensure!(wakes[1] == right, "a call has another's cookie: {wakes:x?}");
    Ok(())
}
