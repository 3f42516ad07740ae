//! Corpus objects under both runtimes at once: every map as `bpftool map dump` shows it, every data section.

use std::thread;

use anyhow::{Result, bail, ensure};

use super::Case;
use crate::compare::difference;
use crate::oracle::bpftool;
use crate::oracle::native::Native;
use crate::wasm::Wasm;
use crate::workload::syscalls;
use crate::{corpus, guest};

/// The tests of this area.
pub const CASES: &[Case] = &[
    ("objects::mkdirsnoop_equals_native", || {
        compare(&Comparison {
            object: "mkdirsnoop",
            programs: &["mkdir_entry"],
            maps: &["directories", "counts"],
            sections: &[],
            work: make_directories,
        })
    }),
    ("objects::mkdirret_equals_native", || {
        compare(&Comparison {
            object: "mkdirret",
            programs: &["mkdir_entry", "mkdir_exit"],
            maps: &["modes", "results", "full"],
            sections: &[".bss", ".data", ".rodata"],
            work: make_directories,
        })
    }),
    ("objects::relocations_equal_native", || {
        compare(&Comparison {
            object: "relocations",
            programs: &["relocations"],
            maps: &[],
            sections: &[".bss"],
            work: || {
                syscalls::getpgrp(EVENTS);
                Ok(())
            },
        })
    }),
];

/// Events of every workload at least.
const EVENTS: u64 = 200;
/// Threads that make directories; each has its own `pid_tgid`.
const THREADS: u32 = 40;

/// What is compared.
struct Comparison {
    /// The corpus object.
    object: &'static str,
    /// Its programs.
    programs: &'static [&'static str],
    /// Maps, by `bpftool map dump`.
    maps: &'static [&'static str],
    /// Data sections.
    sections: &'static [&'static str],
    /// Makes each program run [`EVENTS`] times at least.
    work: fn() -> Result<()>,
}

fn compare(case: &Comparison) -> Result<()> {
    let object = corpus::object(case.object)?;
    let device = guest::device()?;
    let mut native = Native::load(object, case.object, case.programs)?;
    let mut wasm = Wasm::load(&device, object, case.object, case.programs)?;
    native.attach()?;
    wasm.attach()?;
    (case.work)()?;
    native.detach();
    wasm.detach();

    let mut elements = 0;
    for map in case.maps {
        let theirs = bpftool::map_dump(native.map_id(map)?)?;
        let ours = wasm.dump(map)?;
        if let Some(difference) = difference(&theirs, &ours) {
            bail!("map {map}: {difference}");
        }
        elements += ours.len();
    }
    for section in case.sections {
        let (theirs, ours) = (native.section(section)?, wasm.section(section)?);
        ensure!(
            theirs == ours,
            "{section}: native {theirs:02x?}, wasm {ours:02x?}"
        );
    }
    for program in wasm.programs()? {
        let (runs, traps) = (program.runs, program.traps);
        ensure!(runs >= EVENTS && traps == 0, "{runs} runs, {traps} traps");
    }
    println!(
        "{elements} elements and {} sections equal",
        case.sections.len()
    );
    Ok(())
}

/// Directories by many threads; every other one ends with a call that fails in its own way.
fn make_directories() -> Result<()> {
    let directory = guest::scratch("directories")?;
    for i in 0..THREADS {
        let work = || {
            syscalls::mkdir(&directory, EVENTS / u64::from(THREADS), 0o700 + i)?;
            if i % 2 == 0 {
                Ok(())
            } else {
                syscalls::odd_mkdir(i as usize / 2)
            }
        };
        let done = thread::scope(|scope| scope.spawn(work).join());
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    }
    Ok(())
}
