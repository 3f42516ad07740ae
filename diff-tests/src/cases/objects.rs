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
    ("objects::mkdirsnoop_equals_bpftool_dump", || {
        compare(
            "mkdirsnoop",
            &["mkdir_entry"],
            &["directories", "counts"],
            &[],
        )
    }),
    ("objects::mkdirret_equals_bpftool_dump", || {
        let programs = ["mkdir_entry", "mkdir_exit"];
        compare(
            "mkdirret",
            &programs,
            &["modes", "results", "full"],
            &[".bss", ".data", ".rodata"],
        )
    }),
];

/// Threads that make directories; each has its own `pid_tgid`.
const THREADS: u32 = 40;
/// Directories each of them makes.
const EACH: u64 = 5;

/// Compares `maps` and `sections` of corpus object `name` after a workload of mkdir.
fn compare(name: &str, programs: &[&str], maps: &[&str], sections: &[&str]) -> Result<()> {
    let object = corpus::object(name)?;
    let device = guest::device()?;
    let mut native = Native::load(object, name, programs)?;
    let mut wasm = Wasm::load(&device, object, name, programs)?;
    native.attach()?;
    wasm.attach()?;
    make_directories()?;
    native.detach();
    wasm.detach();

    let mut elements = 0;
    for map in maps {
        let theirs = bpftool::map_dump(native.map_id(map)?)?;
        let ours = wasm.dump(map)?;
        if let Some(difference) = difference(&theirs, &ours) {
            bail!("map {map}: {difference}");
        }
        elements += ours.len();
    }
    for section in sections {
        let (theirs, ours) = (native.section(section)?, wasm.section(section)?);
        ensure!(
            theirs == ours,
            "{section}: native {theirs:02x?}, wasm {ours:02x?}"
        );
    }
    for program in wasm.programs()? {
        let (runs, traps) = (program.runs, program.traps);
        ensure!(
            runs >= u64::from(THREADS) * EACH && traps == 0,
            "{runs} runs, {traps} traps"
        );
    }
    ensure!(elements >= 4, "only {elements} elements");
    println!("{elements} elements equal");
    Ok(())
}

/// Directories by many threads; every other one ends with a call that fails in its own way.
fn make_directories() -> Result<()> {
    let directory = guest::scratch("directories")?;
    for i in 0..THREADS {
        let work = || {
            syscalls::mkdir(&directory, EACH, 0o700 + i)?;
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
