//! Events to user space, through the rings of both layouts, against native eBPF on the same events.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use libbpf_rs::{PerfBufferBuilder, RingBufferBuilder};
use loader::device::{self, Device, Object, PerfBuffer, PerfRing, Record, RingBuffer};
use loader::session::{Elements, Session};

use super::Case;
use super::attach::place;
use crate::compare::counters;
use crate::oracle::native::Native;
use crate::wasm::Wasm;
use crate::workload::{on_every_cpu, syscalls};
use crate::{corpus, guest};

/// The tests of this area.
pub const CASES: &[Case] = &[
    ("rings::both_runtimes_send_the_same", same),
    ("rings::odd_sizes_are_rounded_up_as_native", sizes),
    ("rings::what_does_not_fit_is_counted", lost),
    ("rings::close_while_events_fire", close_under_load),
    ("rings::one_reader_a_ring", one_reader),
    ("rings::positions_of_the_kernel_are_read_only", read_only),
];

/// The object's program.
pub(super) const PROGRAM: &str = "getpgrp_entry";
/// Longer than any event takes: a reader that waits so long was not woken.
pub(super) const STUCK: Duration = Duration::from_secs(20);

/// Payloads by CPU, in the order they came.
type Events = BTreeMap<u32, Vec<Vec<u8>>>;

/// A payload's number, and its CPU.
pub(super) fn parse(event: &[u8]) -> Option<(u64, u32)> {
    let number = u64::from_ne_bytes(*event.first_chunk()?);
    let complement = u64::from_ne_bytes(*event.get(8..)?.first_chunk()?);
    let cpu = u32::from_ne_bytes(*event.get(24..)?.first_chunk()?);
    (event.len() == 28 && complement == !number).then_some((number, cpu))
}

pub(super) fn load(device: &Device) -> Result<Wasm> {
    Wasm::load(device, corpus::object("rings")?, "rings", &[])
}

/// Adds an event of a ring that all CPUs share.
fn add(events: &mut Events, event: &[u8]) {
    let cpu = parse(event).map_or(u32::MAX, |(_, cpu)| cpu);
    events.entry(cpu).or_default().push(event.to_vec());
}

/// The program's own counts on `cpu`: events, taken by the perf event array, taken by the ring buffer.
pub(super) fn counts(elements: &Elements, cpu: usize) -> Result<[u64; 3]> {
    let (_, value) = elements.get(cpu).context("a count a CPU")?;
    let count = |at: usize| {
        value[at * 8..]
            .first_chunk()
            .copied()
            .map(u64::from_ne_bytes)
    };
    Ok([0, 1, 2].map(|at| count(at).unwrap_or_default()))
}

/// Rings whose sizes are no power of two of pages, and that events arrive by them.
fn sizes() -> Result<()> {
    const EVENTS: u64 = 10;
    let elf = corpus::object("ringsizes")?;
    let mut native = Native::load(elf, "ringsizes", &["probe"])?;
    let mut wasm = Wasm::load(&guest::device()?, elf, "ringsizes", &[])?;
    let mut sessions: [&mut dyn Session; 2] = [&mut native, &mut wasm];
    for session in &mut sessions {
        session.listen("odd")?;
        session.listen("three")?;
        session.attach()?;
    }
    syscalls::getpgrp(EVENTS);
    for session in &mut sessions {
        session.detach();
        for (ring, variable, bytes) in [("odd", "odd_size", 8192), ("three", "three_size", 16384)] {
            let (at, data) = (place(elf, variable)?, session.elements(".bss")?);
            let size = counters(&data[0].1[at..at + 8])[0];
            let events = session.sent(ring)?.events.len() as u64;
            ensure!(size == bytes, "{ring}: {size} bytes");
            ensure!(events >= EVENTS, "{ring}: {events} events");
        }
    }
    Ok(())
}

/// Every payload is the same under both runtimes.
fn same() -> Result<()> {
    const EVENTS: u64 = 1000;
    let device = guest::device()?;
    let object = corpus::object("rings")?;
    let mut native = Native::load(object, "rings", &[PROGRAM])?;
    let mut wasm = load(&device)?;
    let mut samples = PerfBuffer::open(wasm.map("samples")?, device.about()?.cpus, 64)?;
    let mut records = RingBuffer::open(wasm.map("records")?)?;
    let native_events = [RefCell::new(Events::new()), RefCell::new(Events::new())];
    let map = native.map("samples")?;
    let native_samples = PerfBufferBuilder::new(&map)
        .pages(64)
        .sample_cb(|cpu, event: &[u8]| {
            let mut events = native_events[0].borrow_mut();
            events.entry(cpu as u32).or_default().push(event.to_vec());
        })
        .lost_cb(|cpu, lost| println!("CPU {cpu} lost {lost} natively"))
        .build()?;
    let map = native.map("records")?;
    let mut builder = RingBufferBuilder::new();
    builder.add(&map, |event| {
        add(&mut native_events[1].borrow_mut(), event);
        0
    })?;
    let native_records = builder.build()?;
    let [mut wasm_samples, mut wasm_records] = [Events::new(), Events::new()];
    native.attach()?;
    wasm.attach()?;
    // Two parts, so that both positions are somewhere when reading begins again.
    for _ in 0..2 {
        on_every_cpu(|_| {
            syscalls::getpgrp(EVENTS / 2);
            Ok(())
        })?;
        native_samples.consume()?;
        native_records.consume()?;
        samples.read(|cpu, record| match record {
            Record::Event(event) => wasm_samples.entry(cpu).or_default().push(event.to_vec()),
            Record::Lost(lost) => println!("CPU {cpu} lost {lost} in wasm"),
        });
        records.read(|event| add(&mut wasm_records, event));
    }
    drop((native_samples, native_records));
    let [native_samples, native_records] = native_events.map(RefCell::into_inner);
    for events in [&wasm_samples, &wasm_records, &native_samples] {
        let mut counts = events.values().map(Vec::len);
        ensure!(
            events.len() > 1 && counts.all(|n| n as u64 == EVENTS),
            "not {EVENTS} a CPU"
        );
    }
    ensure!(native_samples == wasm_samples, "samples differ");
    ensure!(native_records == wasm_records, "records differ");
    ensure!(native_samples == native_records, "rings differ natively");
    Ok(())
}

/// A reader that sleeps learns how many events it missed, exactly; and as many as natively.
fn lost() -> Result<()> {
    const EVENTS: u64 = 1000;
    let device = guest::device()?;
    let mut native = Native::load(corpus::object("rings")?, "rings", &[PROGRAM])?;
    let mut wasm = load(&device)?;
    let mut samples = PerfBuffer::open(wasm.map("samples")?, device.about()?.cpus, 1)?;
    let mut records = RingBuffer::open(wasm.map("records")?)?;
    let native_lost = RefCell::new(BTreeMap::new());
    let map = native.map("samples")?;
    let native_samples = PerfBufferBuilder::new(&map)
        .pages(1)
        .sample_cb(|_, _: &[u8]| {})
        .lost_cb(|cpu, lost| *native_lost.borrow_mut().entry(cpu as u32).or_default() += lost)
        .build()?;
    native.attach()?;
    wasm.attach()?;
    let [mut got, mut lost] = [BTreeMap::new(), BTreeMap::new()];
    // The ring says what it lost when there is room again: with the second part's first event.
    for part in [EVENTS - 1, 1] {
        on_every_cpu(|_| {
            syscalls::getpgrp(part);
            Ok(())
        })?;
        native_samples.consume()?;
        samples.read(|cpu, record| match record {
            Record::Event(_) => *got.entry(cpu).or_default() += 1,
            Record::Lost(count) => *lost.entry(cpu).or_default() += count,
        });
    }
    let recorded = records.read(|_| ()) as u64;
    drop(native_samples);
    let mut taken = 0;
    for (&cpu, &got) in &got {
        let [events, sampled, recorded] = counts(&wasm.dump("counts")?, cpu as usize)?;
        let lost: u64 = lost.get(&cpu).copied().unwrap_or_default();
        println!("CPU {cpu}: {events} events, {got} samples, {lost} lost, {recorded} records");
        ensure!(events == EVENTS && got == sampled && got + lost == EVENTS && lost > 0);
        taken += recorded;
    }
    ensure!(lost == native_lost.into_inner(), "lost {lost:?} in wasm");
    ensure!(recorded == taken, "{recorded} records read, {taken} sent");
    let sent = EVENTS * lost.len() as u64;
    ensure!(lost.len() > 1 && taken < sent, "nothing lost of {sent}");
    Ok(())
}

/// Readers come and go while probes write: nothing is written where no ring is any more.
fn close_under_load() -> Result<()> {
    const ROUNDS: u32 = 8;
    let device = guest::device()?;
    let cpus = device.about()?.cpus;
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let writers = scope.spawn(|| {
            on_every_cpu(|_| {
                while !stop.load(Ordering::Relaxed) {
                    syscalls::getpgrp(100);
                }
                Ok(())
            })
        });
        let result = (0..ROUNDS).try_for_each(|_| {
            let mut wasm = load(&device)?;
            wasm.attach()?;
            for pages in [1, 8] {
                let mut samples = PerfBuffer::open(wasm.map("samples")?, cpus, pages)?;
                let read = samples.poll(STUCK, |_, _| ())?;
                ensure!(read > 0, "not woken");
            }
            let mut records = RingBuffer::open(wasm.map("records")?)?;
            ensure!(records.poll(STUCK, |_| ())? > 0, "not woken");
            // The ring's mapping outlives all that wrote to it.
            drop(wasm);
            records.read(|_| ());
            Ok(())
        });
        stop.store(true, Ordering::Relaxed);
        let writers = writers.join();
        result.and(
            writers
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
                .map_err(Into::into),
        )
    })
}

fn errno<T>(result: device::Result<T>) -> Option<i32> {
    result.err().and_then(|error| error.errno())
}

/// A ring has one reader, a sensible size and a CPU, and only perf event arrays have rings.
fn one_reader() -> Result<()> {
    let device = guest::device()?;
    let wasm = load(&device)?;
    let map = wasm.map("samples")?;
    let ring = PerfRing::open(map, 0, 8)?;
    ensure!(
        errno(PerfRing::open(map, 0, 8)) == Some(libc::EBUSY),
        "a second reader"
    );
    drop(ring);
    drop(PerfRing::open(map, 0, 8)?);
    for (cpu, pages, expected) in [
        (0, 0, libc::EINVAL),
        (0, 3, libc::EINVAL),
        (0, 1 << 30, libc::E2BIG),
        (1 << 20, 1, libc::EINVAL),
    ] {
        let refused = errno(PerfRing::open(map, cpu, pages));
        ensure!(
            refused == Some(expected),
            "CPU {cpu}, {pages} pages: {refused:?}"
        );
    }
    let refused = errno(PerfRing::open(wasm.map("records")?, 0, 1));
    ensure!(
        refused == Some(libc::EINVAL),
        "a ring of a ring buffer: {refused:?}"
    );
    Ok(())
}

/// Maps `length` bytes of `map` from `from` on; the errno, if refused.
fn mapped(map: &device::Map, from: i64, length: usize, access: i32) -> Result<(), Option<i32>> {
    let none = std::ptr::null_mut();
    let fd = map.fd().as_raw_fd();
    // SAFETY: a new mapping at an address of the kernel's choice, which nothing refers to.
    let base = unsafe { libc::mmap(none, length, access, libc::MAP_SHARED, fd, from) };
    if base == libc::MAP_FAILED {
        return Err(io::Error::last_os_error().raw_os_error());
    }
    // SAFETY: the mapping just made.
    let result = match unsafe { libc::mprotect(base, length, libc::PROT_READ | libc::PROT_WRITE) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error().raw_os_error()),
    };
    // SAFETY: likewise.
    unsafe { libc::munmap(base, length) };
    result
}

/// Of a ring buffer user space may write the consumer's page and nothing else, as natively.
fn read_only() -> Result<()> {
    const PAGE: usize = 4096;
    let device = guest::device()?;
    let wasm = load(&device)?;
    let map = wasm.map("records")?;
    let data = map.info().max_entries as usize;
    let read = libc::PROT_READ;
    let write = read | libc::PROT_WRITE;
    for (what, from, length, access, expected) in [
        ("consumer", 0, PAGE, write, Ok(())),
        ("producer", PAGE, PAGE, write, Err(Some(libc::EPERM))),
        ("both", 0, 2 * PAGE, write, Err(Some(libc::EPERM))),
        (
            "data, made writable",
            2 * PAGE,
            data,
            read,
            Err(Some(libc::EACCES)),
        ),
        (
            "all and more",
            PAGE,
            2 * PAGE + 2 * data,
            read,
            Err(Some(libc::EINVAL)),
        ),
    ] {
        let result = mapped(map, from as i64, length, access);
        ensure!(result == expected, "{what}: {result:?}");
    }
    match mapped(wasm.map("counts")?, 0, PAGE, read) {
        Err(Some(libc::ENODEV)) => Ok(()),
        other => bail!("an array is mapped: {other:?}"),
    }
}
