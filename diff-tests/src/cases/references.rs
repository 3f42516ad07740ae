//! Maps that refer to things: maps of maps, against native eBPF on the same hits.

use std::os::fd::{AsFd, AsRawFd};

use anyhow::{Result, bail, ensure};
use libbpf_rs::{MapCore, MapFlags};

use super::Case;
use crate::compare::{counters, difference};
use crate::oracle::native::Native;
use crate::wasm::Wasm;
use crate::workload::syscalls;
use crate::{corpus, guest};

/// The tests of this area.
pub const CASES: &[Case] = &[
    ("references::maps_of_maps_equal_native", maps_of_maps),
    ("references::tail_calls_equal_native", tail_calls),
    ("references::functions_tail_calls_equal_native", within),
];

/// The corpus objects' program.
const PROGRAM: &str = "getpgrp_entry";

fn compare(native: &Native, wasm: &Wasm, maps: &[&str]) -> Result<()> {
    for map in maps {
        if let Some(difference) = difference(&native.dump(map)?, &wasm.dump(map)?) {
            bail!("{map}: {difference}");
        }
    }
    compare_counts(native, wasm, usize::MAX)
}

/// Compares the counters in `.bss`, but one.
fn compare_counts(native: &Native, wasm: &Wasm, but: usize) -> Result<()> {
    let counts = [native.section(".bss")?, wasm.section(".bss")?].map(|bytes| {
        let mut counts = counters(&bytes);
        if let Some(count) = counts.get_mut(but) {
            *count = 0;
        }
        counts
    });
    ensure!(
        counts[0] == counts[1],
        ".bss: native {:?}, wasm {:?}",
        counts[0],
        counts[1]
    );
    Ok(())
}

/// The counter `which`, if only newer kernels' programs have the same of it: before 6.12 a tail call to an empty slot counts among
/// the 33, and each function counts on from what its caller had.
fn counted(which: usize) -> Result<usize> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let version = release
        .split('.')
        .nth(1)
        .and_then(|minor| minor.parse::<u32>().ok());
    Ok(match version {
        Some(12..) => usize::MAX,
        _ => which,
    })
}

fn maps_of_maps() -> Result<()> {
    const INNER: [&str; 3] = ["first", "second", "third"];
    let device = guest::device()?;
    let object = corpus::object("mapsinmaps")?;
    let mut native = Native::load(object, "mapsinmaps", &[PROGRAM])?;
    let mut wasm = Wasm::load(&device, object, "mapsinmaps", &[])?;
    native.attach()?;
    wasm.attach()?;
    syscalls::getpgrp(1_000);
    compare(&native, &wasm, &INNER)?;
    // Replaced, added, taken away: while programs run.
    for (outer, key, inner) in [
        ("by_index", 0, Some("third")),
        ("by_index", 1, Some("second")),
        ("by_index", 2, None),
        ("by_key", 1, Some("second")),
        ("by_key", 2, Some("third")),
        ("by_key", 3, None),
    ] {
        set(&native, &wasm, outer, key, inner)?;
        syscalls::getpgrp(100);
        compare(&native, &wasm, &INNER)?;
    }
    for outer in ["by_index", "by_key"] {
        let keys = |elements: Vec<(Vec<u8>, _)>| elements.into_iter().map(|(k, _)| k).collect();
        let [native, wasm]: [Vec<_>; 2] = [keys(native.dump(outer)?), keys(wasm.dump(outer)?)];
        ensure!(
            native == wasm,
            "{outer}: {native:?} natively, {wasm:?} in wasm"
        );
    }
    let counts = native.dump("second")?;
    ensure!(counts.iter().all(|(_, count)| count[0] > 0), "{counts:?}");
    for (outer, value) in [
        ("by_index", wasm.map("by_key")?),
        ("by_key", wasm.map("by_index")?),
    ] {
        let refused = wasm
            .map(outer)?
            .update(&[0; 4], &value.number().to_ne_bytes(), 0);
        let errno = refused.map_err(|e| e.errno());
        ensure!(
            errno == Err(Some(libc::EINVAL)),
            "{outer} takes another shape: {errno:?}"
        );
        let refused = wasm.map(outer)?.update(&[0; 4], &99u32.to_ne_bytes(), 0);
        let errno = refused.map_err(|e| e.errno());
        ensure!(
            errno == Err(Some(libc::EBADF)),
            "{outer} takes no map: {errno:?}"
        );
    }
    Ok(())
}

fn tail_calls() -> Result<()> {
    const PROGRAMS: [&str; 4] = [PROGRAM, "add", "chain", "stutter"];
    let device = guest::device()?;
    let object = corpus::object("tailcalls")?;
    let mut native = Native::load(object, "tailcalls", &PROGRAMS)?;
    let mut wasm = Wasm::load(&device, object, "tailcalls", &[PROGRAM])?;
    native.attach_only(PROGRAM)?;
    wasm.attach()?;
    syscalls::getpgrp(900);
    const STEPS: usize = 5;
    let but = counted(STEPS)?;
    compare_counts(&native, &wasm, but)?;
    let counts = counters(&native.section(".bss")?);
    println!("{counts:?}");
    ensure!(counts.iter().all(|count| *count > 100), "{counts:?}");
    let array = wasm.map("programs")?;
    for key in [1u32, 3] {
        ensure!(
            native.map("programs")?.delete(&key.to_ne_bytes()).is_ok(),
            "native delete"
        );
        ensure!(array.delete(&key.to_ne_bytes())?, "nothing to delete");
        syscalls::getpgrp(90);
        compare_counts(&native, &wasm, but)?;
    }
    for number in [0u32, 99] {
        let refused = array.update(&[0; 4], &number.to_ne_bytes(), 0);
        let errno = refused.map_err(|e| e.errno());
        ensure!(errno == Err(Some(libc::EBADF)), "no program: {errno:?}");
    }
    let programs = wasm.programs()?;
    ensure!(
        programs.iter().all(|p| p.traps == 0),
        "a tail call counts as a trap"
    );
    Ok(())
}

fn within() -> Result<()> {
    const NAME: &str = "tailwithin_probe";
    const LINKS: usize = 1;
    const SPOILT: usize = 7;
    let object = corpus::object(NAME)?;
    let mut native = Native::load(object, NAME, &["within", "leaf", "link", "deeper"])?;
    let mut wasm = Wasm::load(&guest::device()?, object, NAME, &["within"])?;
    native.attach_only("within")?;
    wasm.attach()?;
    syscalls::getpgrp(300);
    compare_counts(&native, &wasm, counted(LINKS)?)?;
    let counts = counters(&wasm.section(".bss")?);
    println!("{counts:?}");
    ensure!(counts[SPOILT] == 0, "frames are not as they were");
    // Behind it are results, no counts.
    let counts = &counts[..SPOILT];
    ensure!(counts.iter().all(|count| *count >= 300), "{counts:?}");
    for program in wasm.programs()? {
        ensure!(program.traps == 0, "{} traps", program.traps);
    }
    Ok(())
}

/// Sets, or takes away, one element of a map of maps under both runtimes.
fn set(native: &Native, wasm: &Wasm, outer: &str, key: u32, inner: Option<&str>) -> Result<()> {
    let key = key.to_ne_bytes();
    let (native_outer, wasm_outer) = (native.map(outer)?, wasm.map(outer)?);
    match inner {
        Some(inner) => {
            let fd = native.map(inner)?.as_fd().as_raw_fd();
            native_outer.update(&key, &fd.to_ne_bytes(), MapFlags::ANY)?;
            wasm_outer.update(&key, &wasm.map(inner)?.number().to_ne_bytes(), 0)?;
        }
        None => {
            native_outer.delete(&key)?;
            ensure!(wasm_outer.delete(&key)?, "{outer}: nothing to delete");
        }
    }
    Ok(())
}
