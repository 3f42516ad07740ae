//! CPUs that go and come while programs are attached.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use loader::attach::Choice;
use loader::device::{PerfBuffer, Rate, Record, RingBuffer, Sampling};

use super::Case;
use super::rings::{PROGRAM, counts, load};
use crate::oracle::native::Native;
use crate::wasm::Wasm;
use crate::workload::{on_every_cpu, syscalls};
use crate::{corpus, guest};

/// The tests of this area.
pub const CASES: &[Case] = &[
    ("hotplug::a_cpu_that_comes_later_runs_programs", later),
    ("hotplug::cpus_go_and_come_under_load", under_load),
];

/// The CPU that goes.
const CPU: usize = 1;

/// Plugs it in or out.
fn plug(online: bool) -> Result<()> {
    let path = format!("/sys/devices/system/cpu/cpu{CPU}/online");
    fs::write(&path, if online { "1" } else { "0" }).context(path)
}

/// The CPU is out while this lives.
struct Unplugged;

impl Unplugged {
    fn new() -> Result<Self> {
        plug(false)?;
        Ok(Unplugged)
    }
}

impl Drop for Unplugged {
    fn drop(&mut self) {
        plug(true).expect("it was there before");
    }
}

fn calls(count: u64) -> Result<()> {
    Ok(on_every_cpu(|_| {
        syscalls::getpgrp(count);
        Ok(())
    })?)
}

/// Loaded, attached and read on one CPU; then there are two.
fn later() -> Result<()> {
    const CALLS: u64 = 100;
    let device = guest::device()?;
    let unplugged = Unplugged::new()?;
    let mut native = Native::load(corpus::object("rings")?, "rings", &[PROGRAM])?;
    let mut wasm = load(&device)?;
    let mut samples = PerfBuffer::open(wasm.map("samples")?, device.about()?.cpus, 8)?;
    let mut records = RingBuffer::open(wasm.map("records")?)?;
    native.attach()?;
    wasm.attach()?;
    calls(CALLS)?;
    drop(unplugged);
    calls(CALLS)?;
    for (cpu, expected) in [(0, 2 * CALLS), (CPU, CALLS)] {
        let [here, there] = [wasm.dump("counts")?, native.dump("counts")?];
        let [here, there] = [counts(&here, cpu)?, counts(&there, cpu)?];
        println!("CPU {cpu}: {here:?} in wasm, {there:?} natively");
        ensure!(here == [expected; 3] && there[0] == expected, "CPU {cpu}");
    }
    let mut seen = [0; 2];
    samples.read(|cpu, record| {
        seen[cpu as usize] += u64::from(matches!(record, Record::Event(_)));
    });
    ensure!(seen == [2 * CALLS, CALLS], "{seen:?} samples");
    let recorded = records.read(|_| ()) as u64;
    ensure!(recorded == 3 * CALLS, "{recorded} records");
    Ok(())
}

/// The sampler of `attach_user`, on the CPUs that are there.
fn sampler(device: &loader::device::Device) -> Result<Wasm> {
    let choice = Choice {
        programs: vec!["sample".to_owned()],
        sampling: Some(Sampling {
            rate: Rate::Frequency(1000),
            ..Sampling::default()
        }),
        ..Choice::default()
    };
    Wasm::choose(device, corpus::object("attach_user")?, "sampler", &choice)
}

/// A CPU goes and comes while programs run on it, write to rings, wake readers, are loaded and unloaded: no hit is lost.
fn under_load() -> Result<()> {
    const ROUNDS: u32 = 4;
    let device = guest::device()?;
    let mut native = Native::load(corpus::object("rings")?, "rings", &[PROGRAM])?;
    let mut wasm = load(&device)?;
    let cpus = device.about()?.cpus;
    let mut samples = PerfBuffer::open(wasm.map("samples")?, cpus, 8)?;
    native.attach()?;
    wasm.attach()?;
    let stop = AtomicBool::new(false);
    let until_stopped = |work: &mut dyn FnMut() -> Result<()>| {
        while !stop.load(Ordering::Relaxed) {
            work()?;
        }
        Ok::<_, anyhow::Error>(())
    };
    thread::scope(|scope| {
        // Not bound to a CPU, for that would end with it.
        let writers = [0, 1].map(|_| {
            scope.spawn(|| {
                until_stopped(&mut || {
                    syscalls::getpgrp(100);
                    Ok(())
                })
            })
        });
        let reader = scope.spawn(|| {
            until_stopped(&mut || {
                samples.poll(Duration::from_millis(100), |_, _| ())?;
                Ok(())
            })
        });
        let result = (0..ROUNDS).try_for_each(|_| {
            let mut early = sampler(&device)?;
            early.attach()?;
            let unplugged = Unplugged::new()?;
            let mut late = sampler(&device)?;
            late.attach()?;
            load(&device)?.attach()?;
            drop(unplugged);
            let sampled = |wasm: &Wasm| wasm.programs().map(|p| p.iter().any(|p| p.runs > 0));
            guest::wait_until("a sample of each", || {
                Ok(sampled(&early)? && sampled(&late)?)
            })
        });
        stop.store(true, Ordering::Relaxed);
        for thread in writers.into_iter().chain([reader]) {
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        result
    })?;
    let sum = |elements: &_| -> Result<u64> {
        let cpus = (0..cpus as usize).map(|cpu| Ok(counts(elements, cpu)?[0]));
        cpus.sum()
    };
    let program = wasm.programs()?;
    let misses: u64 = program.iter().map(|p| p.misses).sum();
    let (ran, expected) = (sum(&wasm.dump("counts")?)?, sum(&native.dump("counts")?)?);
    println!("{ran} runs, {misses} misses, {expected} natively");
    ensure!(
        ran + misses == expected && ran > 0,
        "{ran} runs, {misses} misses, {expected} natively"
    );
    Ok(())
}
