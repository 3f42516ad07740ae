//! Programs of sessions: as native ones on the same events, where the kernel has them.

use std::time::Duration;
use std::{fs, thread};

use anyhow::{Result, ensure};

use super::Case;
use super::attach::{EVENTS, attacher, check};
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

fn equal() -> Result<()> {
    let elf = corpus::object(OBJECT)?;
    // Every other return of `session`, and none of `first`.
    let programs = &[
        ("session", "enters", 2 * EVENTS),
        ("session", "returns", EVENTS),
        ("sleeper", "sleeps", SLEEPERS * SLEEPS),
        ("sleeper", "wakes", SLEEPERS * SLEEPS),
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
    let runs = wasm
        .programs()?
        .iter()
        .map(|p| (p.runs, p.misses))
        .collect::<Vec<_>>();
    println!("runs and misses: {runs:?}");
    Ok(())
}
