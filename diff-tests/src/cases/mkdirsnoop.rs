//! `corpus/src/mkdirsnoop.bpf.c` under both runtimes: a hash map of what was read from user memory and, through
//! CO-RE, from the registers; an array map of counts.

use std::thread;

use anyhow::{Result, anyhow, ensure};

use super::Case;
use crate::compare::{counters, difference};
use crate::oracle::bpftool;
use crate::oracle::native::Native;
use crate::wasm::Wasm;
use crate::workload::syscalls;
use crate::{corpus, guest};

/// The tests of this area.
pub const CASES: &[Case] = &[("mkdirsnoop::maps_equal_bpftool_dump", equal)];

/// Threads that make directories; each is one element.
const THREADS: u32 = 40;
/// Directories each of them makes.
const EACH: u64 = 5;

fn equal() -> Result<()> {
    let object = corpus::object("mkdirsnoop")?;
    let device = guest::device()?;
    let directory = guest::scratch("mkdirsnoop")?;
    let mut native = Native::load(object, "mkdirsnoop", &["mkdir_entry"])?;
    let mut wasm = Wasm::load(&device, object, "mkdirsnoop", &["mkdir_entry"])?;
    native.attach()?;
    wasm.attach()?;
    let mut calls = 0;
    for i in 0..THREADS {
        let directory = &directory;
        let own = thread::scope(|scope| {
            let work = scope.spawn(move || {
                syscalls::mkdir(directory, EACH, 0o700 + i)?;
                // Every other thread leaves what such a call left behind.
                if i % 2 == 0 {
                    Ok(EACH)
                } else {
                    syscalls::odd_mkdir(i as usize / 2).map(|()| EACH + 1)
                }
            });
            work.join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        calls += own.map_err(|e: std::io::Error| anyhow!("mkdir: {e}"))?;
    }
    native.detach();
    wasm.detach();

    for map in ["directories", "counts"] {
        let theirs = bpftool::map_dump(native.map_id(map)?)?;
        let ours = wasm.dump(map)?;
        if let Some(difference) = difference(&theirs, &ours) {
            return Err(anyhow!("map {map}: {difference}"));
        }
    }
    let directories = wasm.dump("directories")?.len();
    ensure!(
        directories >= THREADS as usize,
        "only {directories} elements"
    );
    let counted: u64 = wasm
        .dump("counts")?
        .iter()
        .map(|(_, v)| counters(v)[0])
        .sum();
    ensure!(counted == calls, "{calls} calls, {counted} counted");
    println!("{directories} elements equal, {counted} events");
    Ok(())
}
