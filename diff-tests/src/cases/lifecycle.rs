//! Objects come and go: under load, with a killed owner, with the kernel module itself.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use abi::uapi::Kind;
use anyhow::{Context, Result, ensure};
use loader::device::PATH;

use super::{Case, rights};
use crate::wasm::Wasm;
use crate::workload::syscalls;
use crate::{corpus, guest};

/// The tests of this area. The last but one leaves the kernel module loaded, and new; after the last nothing works.
pub const CASES: &[Case] = &[
    ("lifecycle::unload_while_events_fire", unload_under_load),
    ("lifecycle::names_fit_readers_of_kallsyms", names),
    ("lifecycle::a_killed_loader_leaves_nothing", killed),
    ("lifecycle::a_busy_module_cannot_be_removed", busy),
    ("lifecycle::rmmod_and_insmod_again", rmmod),
    rights::LOCKDOWN,
];

/// Times that a module is unloaded under load.
const ROUNDS: u32 = 15;
/// Events that each round sees at least before.
const RUNS: u64 = 100;

/// Debian's libbpf-tools read names into 256 bytes, others into the 128 that kernels before 6.1 have.
fn names() -> Result<()> {
    let symbols = fs::read_to_string("/proc/kallsyms")?;
    let ours = symbols.lines().filter(|line| line.ends_with("[wprobe]"));
    let names: Vec<_> = ours
        .filter_map(|line| line.split_whitespace().nth(2))
        .collect();
    let longest = names.iter().max_by_key(|name| name.len());
    let longest = longest.context("no symbol of the module")?;
    ensure!(longest.len() < 128, "{longest}");
    println!("{} names", names.len());
    Ok(())
}

fn unload_under_load() -> Result<()> {
    let device = guest::device()?;
    let object = corpus::object("syscalls")?;
    let stop = AtomicBool::new(false);
    let mut runs = 0;
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let _ = syscalls::openat(100);
                }
            });
        }
        let result = (0..ROUNDS).try_for_each(|_| {
            let mut wasm = Wasm::load(&device, object, "syscalls", &[])?;
            wasm.attach()?;
            let seen = || {
                wasm.programs()
                    .map(|all| all.iter().map(|p| p.runs).sum::<u64>())
            };
            while seen()? < RUNS {
                thread::yield_now();
            }
            runs += seen()?;
            Ok::<_, anyhow::Error>(())
        });
        stop.store(true, Ordering::Relaxed);
        result
    })?;
    println!("{ROUNDS} rounds, {runs} runs");
    Ok(())
}

fn killed() -> Result<()> {
    let device = guest::device()?;
    let file = guest::scratch("killed")?.join("syscalls.bpf.o");
    fs::write(&file, corpus::object("syscalls")?)?;
    let mut child = Command::new(guest::wprobe()?)
        .args(["run", "--runtime", "kernel-wasm"])
        .arg(&file)
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()?;
    let attached = guest::wait_until("`wprobe run` attaches 3 programs", || {
        Ok(device.ids(Kind::Link)?.len() == 3)
    });
    child.kill()?;
    child.wait()?;
    attached
}

fn busy() -> Result<()> {
    let device = guest::device()?;
    let wasm = Wasm::load(&device, corpus::module("fork")?, "fork", &[])?;
    let removed = guest::rmmod();
    drop(wasm);
    let refusal = removed
        .err()
        .context("rmmod of a module in use succeeded")?;
    ensure!(refusal.to_string().contains("in use"), "{refusal}");
    Ok(())
}

fn rmmod() -> Result<()> {
    guest::rmmod()?;
    ensure!(fs::metadata(PATH).is_err(), "{PATH} outlives its module");
    guest::insmod()
}
