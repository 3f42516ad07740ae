//! Maps that probes on all CPUs and user space change at the same time: nothing is lost, and nothing comes twice.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};

use super::Case;
use crate::compare::counters;
use crate::wasm::Wasm;
use crate::workload::{joined, on_every_cpu, syscalls};
use crate::{corpus, guest};

/// The tests of this area.
pub const CASES: &[Case] = &[("hammer::nothing_is_lost_or_doubled", hammer)];

/// Hits on each CPU.
const HITS: u64 = 20_000;

/// What user space took out of the maps.
#[derive(Default)]
struct Taken {
    items: Vec<[u64; 3]>,
    deleted: u64,
}

impl Taken {
    /// Takes what the queue has, and some elements of the hash.
    fn take(&mut self, wasm: &Wasm, turn: u32) -> Result<bool> {
        let mut any = false;
        while let Some(item) = pop(wasm)? {
            self.items.push(item);
            any = true;
        }
        let key = turn & 63;
        self.deleted += u64::from(wasm.map("hash")?.delete(&key.to_ne_bytes())?);
        Ok(any)
    }
}

/// What a probe takes from the queue; nobody else calls getppid(2).
fn pop(wasm: &Wasm) -> Result<Option<[u64; 3]>> {
    syscalls::getppid();
    let taken = counters(&wasm.section(".bss.taken")?);
    let item = taken.get(1..).context("an item")?.try_into()?;
    Ok((taken[0] == 1).then_some(item))
}

fn hammer() -> Result<()> {
    let object = corpus::object("hammer")?;
    let mut wasm = Wasm::load(&guest::device()?, object, "hammer", &[])?;
    wasm.attach()?;
    let done = AtomicBool::new(false);
    let taken = thread::scope(|scope| {
        let workers = scope.spawn(|| {
            let worked = on_every_cpu(|_| {
                syscalls::getpgrp(HITS);
                Ok(())
            });
            done.store(true, Ordering::Release);
            worked
        });
        let mut taken = Taken::default();
        for turn in 0.. {
            let last = done.load(Ordering::Acquire);
            if !taken.take(&wasm, turn)? && last {
                break;
            }
        }
        joined(workers)?;
        Ok::<_, anyhow::Error>(taken)
    })?;
    wasm.detach();
    check(&wasm, &taken)
}

/// The counters add up, and what was taken is what was put there.
fn check(wasm: &Wasm, taken: &Taken) -> Result<()> {
    let counts = counters(&wasm.section(".bss")?);
    let names = [
        "hits", "pushed", "full", "created", "existed", "crowded", "deleted", "strange",
    ];
    let count: HashMap<_, _> = names.into_iter().zip(counts).collect();
    println!("{count:?}, {} taken", taken.items.len());
    ensure!(count["strange"] == 0, "an unknown error");
    ensure!(count["pushed"] + count["full"] == count["hits"], "pushes");
    let updates = count["created"] + count["existed"] + count["crowded"];
    ensure!(updates == count["hits"], "updates");
    ensure!(taken.items.len() as u64 == count["pushed"], "items lost");
    let mut last = HashMap::new();
    for [cpu, number, complement] in &taken.items {
        ensure!(*complement == !number, "torn: {number:x} {complement:x}");
        let before = last.insert(cpu, number);
        ensure!(before < Some(number), "{number} came after {before:?}");
    }
    ensure!(last.len() > 1, "one CPU alone");
    let left = wasm.dump("hash")?.len() as u64;
    ensure!(
        count["created"] == left + count["deleted"] + taken.deleted,
        "{left} left, {} deleted by user space",
        taken.deleted
    );
    ensure!(taken.deleted > 0 && count["full"] > 0, "no contention");
    ensure!(wasm.dump("lru")?.len() <= 64, "more than fit");
    for program in wasm.programs()? {
        ensure!(program.traps == 0, "{} traps", program.traps);
        ensure!(program.misses == 0, "{} misses", program.misses);
    }
    Ok(())
}
