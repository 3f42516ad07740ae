//! Many events: a reader that keeps up loses none, one that does not learns of each, beside native eBPF on the same events.
//!
//! `RING_EVENTS=N` says how many the first is sent.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use libbpf_rs::{
    PerfBuffer as NativePerf, PerfBufferBuilder, RingBuffer as NativeRing, RingBufferBuilder,
};
use loader::device::{self, PerfBuffer, Record, RingBuffer};

use super::Case;
use super::rings::{PROGRAM, STUCK, counts, load, parse};
use crate::oracle::native::Native;
use crate::settings::number;
use crate::workload::{on_every_cpu, syscalls};
use crate::{corpus, guest};

/// The tests of this area.
pub const CASES: &[Case] = &[
    ("rings::a_reader_that_keeps_up_loses_nothing", keeping_up),
    ("rings::a_slow_reader_learns_of_each_lost_event", slow),
];

/// What a reader has seen.
#[derive(Default)]
struct Seen {
    events: AtomicU64,
    /// The number that each CPU's next event has.
    next: [AtomicU64; 8],
    wrong: AtomicU64,
}

impl Seen {
    fn event(&self, event: &[u8]) {
        let next =
            parse(event).and_then(|(number, cpu)| Some((number, self.next.get(cpu as usize)?)));
        match next {
            Some((number, next)) if next.load(Ordering::Relaxed) == number => {
                next.store(number + 1, Ordering::Release);
            }
            _ => self.wrong(),
        }
        self.events.fetch_add(1, Ordering::Release);
    }

    fn wrong(&self) {
        self.wrong.fetch_add(1, Ordering::Relaxed);
    }

    /// Reads with `poll` until it has seen `events`. Only being woken leads on.
    fn all(&self, events: u64, mut poll: impl FnMut() -> device::Result<usize>) -> Result<u64> {
        let mut wakes = 0;
        while self.events.load(Ordering::Relaxed) < events {
            let start = Instant::now();
            let seen = poll()?;
            let total = self.events.load(Ordering::Relaxed);
            // Less is no defect: the next record may have been reserved and not submitted.
            let woken = seen > 0 || start.elapsed() < STUCK;
            ensure!(woken, "not woken after {total} events");
            wakes += 1;
        }
        Ok(wakes)
    }
}

/// Sends `events`, evenly on all CPUs, while each of `seen` is at most a burst behind or `give_up` says.
fn send(events: u64, seen: &[&Seen], give_up: &AtomicBool) -> std::io::Result<()> {
    const BURST: u64 = 400;
    let each = events / thread::available_parallelism()?.get() as u64;
    on_every_cpu(|cpu| {
        for sent in (0..each).step_by(BURST as usize) {
            syscalls::getpgrp(BURST.min(each - sent));
            let behind = |seen: &&Seen| seen.next[cpu].load(Ordering::Acquire) < sent;
            while seen.iter().any(behind) {
                if give_up.load(Ordering::Relaxed) {
                    return Ok(());
                }
                thread::yield_now();
            }
        }
        Ok(())
    })
}

/// Native readers, which call `event` and `lost` with the CPU.
fn native_readers<'n>(
    native: &'n Native,
    pages: usize,
    sample: impl FnMut(i32, &[u8]) + 'n,
    lost: impl FnMut(i32, u64) + 'n,
    mut record: impl FnMut(&[u8]) + 'n,
) -> Result<(NativePerf<'n>, NativeRing<'n>)> {
    let samples = PerfBufferBuilder::new(&native.map("samples")?)
        .pages(pages)
        .sample_cb(sample)
        .lost_cb(lost)
        .build()?;
    let map = native.map("records")?;
    let mut builder = RingBufferBuilder::new();
    builder.add(&map, move |event| {
        record(event);
        0
    })?;
    Ok((samples, builder.build()?))
}

/// All events arrive in order, read as soon as the rings wake their readers. Writers never get further ahead than a ring
/// holds, so that losing one is a defect.
fn keeping_up() -> Result<()> {
    let events = number("RING_EVENTS", 100_000)?;
    let device = guest::device()?;
    let mut native = Native::load(corpus::object("rings")?, "rings", &[PROGRAM])?;
    let mut wasm = load(&device)?;
    let mut samples = PerfBuffer::open(wasm.map("samples")?, device.about()?.cpus, 16)?;
    let mut records = RingBuffer::open(wasm.map("records")?)?;
    let all: [Seen; 4] = Default::default();
    let [seen_samples, seen_records, native_samples, native_records] = &all;
    native.attach()?;
    wasm.attach()?;
    let give_up = AtomicBool::new(false);
    let (native_perf, native_ring) = native_readers(
        &native,
        16,
        |_, event| native_samples.event(event),
        |_, _| native_samples.wrong(),
        |event| native_records.event(event),
    )?;
    let start = Instant::now();
    let wakes = thread::scope(|scope| {
        let read_samples = scope.spawn(|| {
            let read = seen_samples.all(events, || {
                samples.poll(STUCK, |_, record| match record {
                    Record::Event(event) => seen_samples.event(event),
                    Record::Lost(_) => seen_samples.wrong(),
                })
            });
            give_up.fetch_or(read.is_err(), Ordering::Relaxed);
            read
        });
        let read_records = scope.spawn(|| {
            let read = seen_records.all(events, || {
                records.poll(STUCK, |event| seen_records.event(event))
            });
            give_up.fetch_or(read.is_err(), Ordering::Relaxed);
            read
        });
        let writers = scope.spawn(|| send(events, &all.each_ref(), &give_up));
        while !writers.is_finished() {
            native_perf.poll(Duration::from_millis(10))?;
            native_ring.consume()?;
        }
        native_perf.consume()?;
        native_ring.consume()?;
        joined(writers)??;
        Ok::<_, anyhow::Error>([joined(read_samples)??, joined(read_records)??])
    })?;
    println!(
        "{events} events in {:?}, {wakes:?} times woken",
        start.elapsed()
    );
    let names = ["samples", "records", "native samples", "native records"];
    for (name, seen) in names.iter().zip(&all) {
        let [got, wrong] = [&seen.events, &seen.wrong].map(|n| n.load(Ordering::Relaxed));
        ensure!(
            got == events && wrong == 0,
            "{name}: {got} of {events}, {wrong} wrong"
        );
    }
    Ok(())
}

/// What a thread came to; its panic is the caller's.
fn joined<T>(thread: thread::ScopedJoinHandle<'_, T>) -> Result<T> {
    Ok(thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
}

/// What a reader made of one CPU's events.
#[derive(Clone, Copy, Debug, Default)]
struct Followed {
    /// The number that the next event has, unless some are lost.
    next: u64,
    got: u64,
    lost: u64,
    /// Times that it was told of lost events.
    told: u64,
    /// Events that another number was expected of.
    wrong: u64,
}

impl Followed {
    /// An event, where every lost one was told before.
    fn event(&mut self, event: &[u8]) {
        let number = parse(event).map(|(number, _)| number);
        self.wrong += u64::from(number != Some(self.next));
        self.got += 1;
        self.next = number.map_or(self.next, |number| number + 1);
    }

    fn lost(&mut self, count: u64) {
        self.lost += count;
        self.told += 1;
        self.next += count;
    }

    /// An event, where lost ones are not told of.
    fn record(&mut self, number: u64) {
        self.wrong += u64::from(number < self.next);
        self.got += 1;
        self.next = number + 1;
    }
}

/// The same by CPU.
type Cpus = RefCell<[Followed; 8]>;

fn follow_record(cpus: &Cpus, event: &[u8]) {
    if let Some((number, cpu)) = parse(event) {
        cpus.borrow_mut()[cpu as usize].record(number);
    }
}

/// Checks what a reader saw of `events` on a CPU against what the rings took, as the program counted.
fn check(what: &str, followed: &Followed, events: u64, taken: u64, told: bool) -> Result<()> {
    println!("{what}: {taken} of {events} taken, {followed:?}");
    ensure!(
        followed.got == taken && taken < events,
        "{what}: not what was taken"
    );
    ensure!(
        followed.wrong == 0,
        "{what}: {} out of order",
        followed.wrong
    );
    let exact = followed.got + followed.lost == events && followed.told > 1;
    ensure!(!told || exact, "{what}: {} lost", followed.lost);
    Ok(())
}

/// A reader that looks now and then, at rings that hold little: for each gap it is told how many events are missing.
fn slow() -> Result<()> {
    const EVENTS: u64 = 20_000;
    let device = guest::device()?;
    let mut native = Native::load(corpus::object("rings")?, "rings", &[PROGRAM])?;
    let mut wasm = load(&device)?;
    let cpus = device.about()?.cpus;
    let mut samples = PerfBuffer::open(wasm.map("samples")?, cpus, 1)?;
    let mut records = RingBuffer::open(wasm.map("records")?)?;
    native.attach()?;
    wasm.attach()?;
    let all: [Cpus; 4] = Default::default();
    let [seen_samples, seen_records, native_samples, native_records] = &all;
    let (native_perf, native_ring) = native_readers(
        &native,
        1,
        |cpu, event| native_samples.borrow_mut()[cpu as usize].event(event),
        |cpu, lost| native_samples.borrow_mut()[cpu as usize].lost(lost),
        |event| follow_record(native_records, event),
    )?;
    let mut read = || {
        samples.read(|cpu, record| {
            let followed = &mut seen_samples.borrow_mut()[cpu as usize];
            match record {
                Record::Event(event) => followed.event(event),
                Record::Lost(count) => followed.lost(count),
            }
        });
        records.read(|event| follow_record(seen_records, event));
        native_perf.consume()?;
        native_ring.consume()
    };
    let send = |count| {
        on_every_cpu(|_| {
            syscalls::getpgrp(count);
            Ok(())
        })
    };
    thread::scope(|scope| {
        let writers = scope.spawn(|| send(EVENTS - 1));
        while !writers.is_finished() {
            thread::sleep(Duration::from_millis(50));
            read()?;
        }
        joined(writers)??;
        read()?;
        // With this one a ring says what it lost before.
        send(1)?;
        read()?;
        Ok::<_, anyhow::Error>(())
    })?;
    for cpu in 0..cpus as usize {
        let [events, sampled, recorded] = counts(&wasm.dump("counts")?, cpu)?;
        let [native_events, native_sampled, native_recorded] =
            counts(&native.dump("counts")?, cpu)?;
        ensure!(
            events == EVENTS && native_events == EVENTS,
            "{events} on CPU {cpu}"
        );
        let taken = [sampled, recorded, native_sampled, native_recorded];
        let names = ["samples", "records", "native samples", "native records"];
        for ((name, seen), taken) in names.iter().zip(&all).zip(taken) {
            let what = format!("CPU {cpu}, {name}");
            let told = name.ends_with("samples");
            check(&what, &seen.borrow()[cpu], events, taken, told)?;
        }
    }
    Ok(())
}
