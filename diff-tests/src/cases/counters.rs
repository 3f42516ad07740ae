//! Hand-written modules that count syscalls, against native eBPF on the same entries: active over two windows, not
//! active over a third between them.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::Case;
use crate::compare::counters;
use crate::oracle::native::Native;
use crate::wasm::Wasm;
use crate::workload::syscalls;
use crate::{corpus, guest};

/// The tests of this area.
pub const CASES: &[Case] = &[
    ("counters::fork_counts_only_while_active", || {
        count("fork", 0, |_, n| syscalls::fork(n))
    }),
    ("counters::mkdir_counts_only_while_active", || {
        count("mkdir", 1, |directory, n| {
            syscalls::mkdir(directory, n, 0o750)
        })
    }),
    ("counters::openat_counts_only_while_active", || {
        count("openat", 2, |_, n| syscalls::openat(n))
    }),
    ("counters::mkdir_sees_mode_and_pathname", mkdir_arguments),
    ("counters::post_counts_too", post),
    ("counters::two_probes_on_one_symbol", before_and_after),
];

/// Calls in the three windows.
const WINDOWS: [u64; 3] = [300, 170, 230];

/// Compares module `name` with native counter `index` of the corpus object `syscalls`.
fn count(name: &str, index: usize, work: fn(&Path, u64) -> std::io::Result<()>) -> Result<()> {
    let directory = guest::scratch(name)?;
    let device = guest::device()?;
    let program = format!("{name}_entry");
    let mut native = Native::load(corpus::object("syscalls")?, "syscalls", &[&program])?;
    let mut wasm = Wasm::load(&device, corpus::module(name)?, name, &[])?;
    native.attach()?;
    let seen = |native: &Native| Ok::<_, anyhow::Error>(counters(&native.section(".bss")?)[index]);

    let mut counted = 0;
    for (window, calls) in WINDOWS.into_iter().enumerate() {
        let active = window != 1;
        if active {
            wasm.attach()?;
        }
        let before = seen(&native)?;
        work(&directory, calls)?;
        let delta = seen(&native)? - before;
        wasm.detach();
        ensure!(
            delta == calls,
            "window {window}: {calls} calls, native counted {delta}"
        );
        counted += if active { delta } else { 0 };
    }
    let report = wasm.report()?;
    let reported: u64 = report
        .split(' ')
        .next()
        .and_then(|n| n.parse().ok())
        .with_context(|| format!("report {report:?}"))?;
    ensure!(
        reported == counted,
        "report {reported}, native {counted} in the same windows"
    );
    println!("{name}: report {reported}, native {counted}");
    Ok(())
}

fn mkdir_arguments() -> Result<()> {
    let directory = guest::scratch("mode-and-pathname")?;
    let device = guest::device()?;
    let mut wasm = Wasm::load(&device, corpus::module("mkdir")?, "mkdir", &[])?;
    wasm.attach()?;
    syscalls::mkdir(&directory, 2, 0o751)?;
    let report = wasm.report()?;
    let expected = format!("2 {} {}/d1", 0o751, directory.display());
    ensure!(
        report == expected,
        "report {report:?}, expected {expected:?}"
    );
    Ok(())
}

fn post() -> Result<()> {
    let device = guest::device()?;
    let mut wasm = Wasm::load(&device, corpus::module("getpgrp")?, "getpgrp", &[])?;
    wasm.attach()?;
    syscalls::getpgrp(7);
    wasm.detach();
    syscalls::getpgrp(2);
    let report = wasm.report()?;
    ensure!(report == "7", "7 calls, report {report:?}");
    Ok(())
}

/// Attached and detached again and again: a second probe where one is armed once broke the first.
fn before_and_after() -> Result<()> {
    let device = guest::device()?;
    let name = "before_and_after";
    let mut wasm = Wasm::load(&device, corpus::module(name)?, name, &[])?;
    for _ in 0..3 {
        wasm.attach()?;
        syscalls::getpgrp(2);
        wasm.detach();
        syscalls::getpgrp(1);
    }
    let report = wasm.report()?;
    ensure!(report == "6 6", "6 calls seen twice, report {report:?}");
    Ok(())
}
