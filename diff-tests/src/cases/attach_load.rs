//! Programs of every kind come and go while their events fire, and fire inside each other's runs.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};
use loader::attach::Choice;
use loader::device::text;

use super::Case;
use super::attach::{attacher, place, with_offset};
use crate::wasm::Wasm;
use crate::workload::{syscalls, user};
use crate::{compare, corpus, guest};

/// The tests of this area.
pub const CASES: &[Case] = &[
    (
        "attach_load::every_kind_comes_and_goes_under_load",
        come_and_go,
    ),
    ("attach_load::a_hit_inside_a_run_is_a_miss", nested),
];

/// Times that each object is attached.
const ROUNDS: u32 = 2;
/// Runs that each round sees at least.
const RUNS: u64 = 200;

/// The objects, and the programs of them that everything attaches.
const OBJECTS: &[(&str, &[&str])] = &[
    (
        "attach_raw",
        &["sys_enter", "sys_exit", "sched_switch", "kmalloc"],
    ),
    (
        "attach_tracepoint",
        &["openat_enter", "openat_exit", "sched_switch", "exec"],
    ),
    (
        "attach_function",
        &["read_enter", "read_exit", "permission"],
    ),
    (
        "attach_kprobe",
        &["enter", "inside", "leave", "call", "result"],
    ),
    ("attach_user", &["enter", "leave", "tracepoint", "sample"]),
];

fn come_and_go() -> Result<()> {
    let device = guest::device()?;
    let path = std::env::current_exe()?;
    let path = path.to_str().context("an odd path")?;
    let at = |name: &str, section: String| (name.to_owned(), section);
    let sections = vec![
        at("enter", format!("uprobe/{path}:{}", user::FUNCTION)),
        at("leave", format!("uretprobe/{path}:{}", user::FUNCTION)),
        at("tracepoint", format!("usdt/{path}:wprobe:target")),
    ];
    under_load(|| {
        for round in 0..ROUNDS {
            for (object, programs) in OBJECTS {
                let elf = with_offset(corpus::object(object)?)?;
                let choice = Choice {
                    programs: programs.iter().map(|name| (*name).to_owned()).collect(),
                    sections: match *object {
                        "attach_user" => sections.clone(),
                        _ => Vec::new(),
                    },
                    ..Choice::default()
                };
                let mut wasm = Wasm::choose(&device, &elf, object, &choice)?;
                wasm.attach()?;
                let runs = |wasm: &Wasm| {
                    let programs = wasm.programs()?;
                    Ok::<_, anyhow::Error>(programs.iter().map(|p| p.runs).sum::<u64>())
                };
                while runs(&wasm)? < RUNS {
                    thread::yield_now();
                }
                let traps: u64 = wasm.programs()?.iter().map(|p| p.traps).sum();
                ensure!(traps == 0, "{object}, round {round}: {traps} traps");
            }
        }
        Ok(())
    })
}

/// Runs `work` while two threads make events of every kind.
fn under_load(work: impl FnOnce() -> Result<()>) -> Result<()> {
    let stop = AtomicBool::new(false);
    let load = || {
        while !stop.load(Ordering::Relaxed) {
            syscalls::getpgrp(10);
            syscalls::getpgid(10);
            user::call(10);
            user::tracepoint(10);
            // A quiet guest has room for these files.
            let _ = syscalls::openat(5).and_then(|()| fs::read("/proc/self/comm"));
            thread::yield_now();
        }
    };
    thread::scope(|scope| {
        for _ in 0..2 {
            let name = thread::Builder::new().name("attacher".to_owned());
            name.spawn_scoped(scope, load)?;
        }
        let result = work();
        stop.store(true, Ordering::Relaxed);
        result
    })
}

fn nested() -> Result<()> {
    const EVENTS: u64 = 200;
    let elf = corpus::object("attach_nested")?;
    for inner in ["entry", "probe", "leave"] {
        let mut wasm = Wasm::load(&guest::device()?, elf, "attach_nested", &["reader", inner])?;
        wasm.attach()?;
        attacher(|| {
            syscalls::getpgrp(EVENTS);
            Ok(())
        })?;
        wasm.detach();
        let at = place(elf, "readers")?;
        let outer = compare::counters(&wasm.section(".bss")?[at..at + 8])[0];
        ensure!(outer == EVENTS, "{inner}: {outer} outer runs");
        let function = "copy_from_kernel_nofault";
        let programs = wasm.programs()?;
        let missed =
            |p: &&loader::device::Program| text(&p.name).contains(function) && p.misses >= EVENTS;
        let found = programs.iter().find(missed);
        let found = found.with_context(|| format!("{inner}: no nested hits"))?;
        println!("{inner}: {} nested hits missed", found.misses);
        let traps: u64 = programs.iter().map(|p| p.traps).sum();
        ensure!(traps == 0, "{inner}: {traps} traps");
    }
    Ok(())
}
