//! Hand-written modules that count syscalls, against native eBPF on the same entries: active over two windows, not
//! active over a third between them.

use std::ffi::CStr;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

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

/// Calls of mkdir(2), each with a pathname and a mode of its own: what the module has of the last is what native eBPF has.
fn mkdir_arguments() -> Result<()> {
    let directory = guest::scratch("mode")?;
    let device = guest::device()?;
    let mut native = Native::load(
        corpus::object("mkdirsnoop")?,
        "mkdirsnoop",
        &["mkdir_entry"],
    )?;
    let mut wasm = Wasm::load(&device, corpus::module("mkdir")?, "mkdir", &[])?;
    native.attach()?;
    wasm.attach()?;
    for (n, mode) in [0o751, 0, 0o1777, 0o7777].into_iter().enumerate() {
        let parent = directory.join("p".repeat(10 * n));
        std::fs::create_dir_all(&parent)?;
        syscalls::mkdir(&parent, 1, mode)?;
        let report = wasm.report()?;
        // Of this thread's calls native keeps the last.
        let seen = native.dump("directories")?;
        let [(_, seen)] = seen.as_slice() else {
            bail!("native saw {} threads", seen.len());
        };
        let (pathname, rest) = seen.split_at(64);
        let pathname = CStr::from_bytes_until_nul(pathname)?.to_str()?;
        let native_mode = u64::from_ne_bytes(rest[..8].try_into()?);
        let arguments = report.split_once(' ').context("a report")?.1;
        ensure!(
            arguments == format!("{native_mode} {pathname}")
                && native_mode == u64::from(mode)
                && pathname == parent.join("d0").to_string_lossy(),
            "report {report:?}, native {native_mode} {pathname:?}"
        );
    }
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
