//! Every way to attach a program: context and cookie as native programs get them, on the same events.

use std::fs::{self, File};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Case;
use crate::oracle::native::Native;
use crate::wasm::Wasm;
use crate::workload::syscalls;
use crate::{compare, corpus, guest};

/// The tests of this area.
pub const CASES: &[Case] = &[
    ("attach::raw_tracepoints_equal_native", || {
        equal(
            "attach_raw",
            &[
                ("sys_enter", "enters", EVENTS),
                ("sys_exit", "exits", EVENTS),
                ("sched_switch", "switches", SWITCHES),
                ("kmalloc", "allocations", 10),
                ("shrink", "shrinks", 10),
            ],
            || {
                syscalls::getpgrp(EVENTS);
                switch();
                syscalls::openat(EVENTS)?;
                // A file's first buffers are allocated with it; dropping caches calls every shrinker.
                (0..20).try_for_each(|_| File::open("/proc/self/status").map(drop))?;
                Ok(fs::write("/proc/sys/vm/drop_caches", "2")?)
            },
        )
    }),
    ("attach::tracepoints_equal_native", || {
        equal(
            "attach_tracepoint",
            &[
                ("openat_enter", "enters", EVENTS),
                ("openat_exit", "exits", EVENTS),
                ("sched_switch", "switches", SWITCHES),
                ("exec", "execs", EXECS),
            ],
            || {
                syscalls::openat(EVENTS)?;
                switch();
                for _ in 0..EXECS {
                    guest::succeed(&mut Command::new("/bin/true"))?;
                }
                Ok(())
            },
        )
    }),
];

/// Events of every workload at least, if nothing else is said.
const EVENTS: u64 = 200;
/// Switches away from the thread that works.
const SWITCHES: u64 = 50;
/// Programs run.
const EXECS: u64 = 10;

/// Sleeps shortly, [`SWITCHES`] times.
fn switch() {
    for _ in 0..SWITCHES {
        thread::sleep(Duration::from_micros(50));
    }
}

/// Runs `work` in the thread that the programs of `corpus/src/attach.h` watch.
fn attacher(work: impl FnOnce() -> Result<()> + Send) -> Result<()> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("attacher".to_owned());
        let done = thread.spawn_scoped(scope, work)?.join();
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// What both runtimes note of `work` must be equal. Of each program: its name, its `struct sums`, and how many events these
/// must be of at least.
fn equal(
    object: &str,
    programs: &[(&str, &str, u64)],
    work: impl FnOnce() -> Result<()> + Send,
) -> Result<()> {
    let names: Vec<_> = programs.iter().map(|p| p.0).collect();
    let elf = corpus::object(object)?;
    let mut native = Native::load(elf, object, &names)?;
    let mut wasm = Wasm::load(&guest::device()?, elf, object, &names)?;
    native.attach()?;
    wasm.attach()?;
    attacher(work)?;
    native.detach();
    wasm.detach();
    check(&native, &wasm, elf, programs)
}

/// Compares the sums of `programs`, and demands their events.
fn check(native: &Native, wasm: &Wasm, elf: &[u8], programs: &[(&str, &str, u64)]) -> Result<()> {
    let (theirs, ours) = (native.section(".bss")?, wasm.section(".bss")?);
    for (program, variable, least) in programs {
        let at = place(elf, variable)?;
        let words = |bytes: &[u8]| Some(compare::counters(bytes.get(at..at + SUMS)?));
        let (theirs, ours) = (words(&theirs), words(&ours));
        ensure!(
            theirs.is_some() && theirs == ours,
            "{program}: native {theirs:x?}, wasm {ours:x?}"
        );
        let events = ours.map_or(0, |words| words[0]);
        ensure!(events >= *least, "{program}: only {events} events");
        println!("{program}: {events} events equal");
    }
    let traps: u64 = wasm.programs()?.iter().map(|p| p.traps).sum();
    ensure!(traps == 0, "{traps} traps");
    Ok(())
}

/// Bytes of `struct sums`.
const SUMS: usize = 14 * 8;

/// Where `variable` lies in `.bss`.
fn place(elf: &[u8], variable: &str) -> Result<usize> {
    let converted = bpf2wasm::convert(elf, "x", &bpf2wasm::Options::default())?;
    let manifest = bpf2wasm::read_manifest(&converted.wasm)?;
    let symbols = manifest.maps.iter().filter_map(|map| map.data.as_ref());
    let mut symbols = symbols.flat_map(|data| &data.symbols);
    let symbol = symbols.find(|symbol| symbol.name == variable);
    Ok(symbol
        .with_context(|| format!("no variable {variable}"))?
        .offset as usize)
}
