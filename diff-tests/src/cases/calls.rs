//! Every helper with good and bad arguments, against native eBPF on the same events: `corpus/src/calls_*.bpf.c`.
//!
//! All programs of such an object fire in each round, whose address and size the test sets. Then all of `.bss` must be
//! the same under both: what each call gave, and what it wrote. `tests/helpers.rs` demands that these objects call
//! every helper there is.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::ptr;

use abi::manifest::{DataKind, ExternKind, Manifest, Program};
use anyhow::{Context, Result, bail, ensure};
use loader::device::text;
use loader::open::Input;

use super::Case;
use crate::compare::counters;
use crate::oracle::native::Native;
use crate::wasm::Wasm;
use crate::workload::paths::Files;
use crate::workload::{Stay, syscalls, user};
use crate::{corpus, guest};

/// The tests of this area.
pub const CASES: &[Case] = &[
    ("calls::equal_native", all),
    ("calls::paths_equal_native", paths),
    ("calls::printed_lines_equal_native", printed),
    ("calls::coarse_clock_is_between", coarse),
];

/// `struct result` of `calls.h`.
const RESULT: usize = 16 + 64;
/// Where each object has them.
const RESULTS: &str = ".bss.results";
/// What they take for input.
const INPUT: &str = ".data.input";
/// What an object notes of the clocks.
const TIMES: &str = ".data.times";

/// Lines of the trace log, native ones with the object's own.
fn printed() -> Result<()> {
    const LOG: &str = "/sys/kernel/tracing/trace";
    const EVENTS: &str = "/sys/kernel/tracing/events/wprobe/enable";
    let memory = Memory::map()?;
    let object = corpus::object("calls_trace")?;
    let input = Input::from_bytes(object, "calls_trace", Path::new("calls_trace"), None)?;
    let manifest = input.manifest.context("an object has a manifest")?;
    fs::write(EVENTS, "1").context(EVENTS)?;
    fs::write(LOG, "").context(LOG)?;
    let mut comparison = Comparison::new("calls_trace", object, &manifest)?;
    let rounds: Vec<_> = rounds(&memory)?.into_iter().step_by(20).collect();
    comparison.run(&rounds)?;
    drop(comparison);
    fs::write(EVENTS, "0").context(EVENTS)?;
    let log = fs::read(LOG)?;
    let lines = |event: &str| -> Vec<String> {
        let log = String::from_utf8_lossy(&log);
        let lines = log.lines().filter_map(|line| line.split_once(event));
        lines.map(|(_, text)| text.trim_end().to_owned()).collect()
    };
    let [native, wasm] = ["bpf_trace_printk: ", "wprobe_print: "].map(lines);
    ensure!(native == wasm, "native {native:#?}\nwasm   {wasm:#?}");
    ensure!(native.len() > 3 * rounds.len(), "few lines: {native:?}");
    Ok(())
}

/// The coarse clock, which natively only a program of another type may read: here the fine one.
fn coarse() -> Result<()> {
    let object = corpus::object("calls_time")?;
    let read = |section: Vec<u8>| counters(&section)[0];
    let mut native = Native::load(object, "calls_time", &["coarse"])?;
    let mut wasm = Wasm::load(
        &guest::device()?,
        object,
        "calls_time",
        &["coarse_in_probe"],
    )?;
    wasm.attach()?;
    for _ in 0..100 {
        native.test_run_on("coarse", &[0; 64])?;
        let before = read(native.section(TIMES)?);
        syscalls::getpgid(1);
        let time = read(wasm.section(TIMES)?);
        let after = clocks()[0];
        ensure!(
            (before..=after).contains(&time),
            "{time} is not in {before}..={after}"
        );
    }
    Ok(())
}

/// The object with paths, which has other events.
const PATHS: &str = "calls_path";

/// Paths of files of all kinds, into buffers of all sizes.
fn paths() -> Result<()> {
    let directory = guest::scratch("paths")?;
    let files = Files::new(&directory)?;
    let object = corpus::object(PATHS)?;
    let input = Input::from_bytes(object, PATHS, Path::new(PATHS), None)?;
    let manifest = input.manifest.context("an object has a manifest")?;
    let comparison = Comparison::new(PATHS, object, &manifest)?;
    let (mut number, mut calls) = (0, 0);
    let mut compare = |file: &File, size, ask: &dyn Fn() -> io::Result<()>| -> Result<()> {
        let round = Round {
            address: 0,
            size,
            of_task: false,
        };
        number += 1;
        comparison.set(number, &round)?;
        ask()?;
        let show = || fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()));
        calls += comparison
            .compare()
            .with_context(|| format!("{:?}, {size}", show()))?;
        Ok(())
    };
    for file in &files.open {
        for size in 0..64 {
            compare(file, size, &|| file.metadata().map(drop))?;
        }
        compare(file, 64, &|| files.ask_from_below(file))?;
    }
    println!("{calls} calls equal");
    ensure!(calls > 64 * files.open.len(), "few calls");
    Ok(())
}

/// Objects that older kernels' verifiers refuse, although they have all that is called; and a function that kernels have
/// that take them.
const NEWER: &[(&str, &str)] = &[("calls_dynptr", "bpf_dynptr_is_null")];

/// Every object, whatever becomes of the others.
fn all() -> Result<()> {
    let memory = Memory::map()?;
    let rounds = rounds(&memory)?;
    let symbols = fs::read_to_string("/proc/kallsyms")?;
    let mut failures = Vec::new();
    for (name, object) in corpus::calls().filter(|(name, _)| *name != PATHS) {
        let input = Input::from_bytes(object, name, Path::new(name), None)?;
        let manifest = input.manifest.context("an object has a manifest")?;
        let newer = NEWER.iter().filter(|(object, _)| *object == name);
        let mut newer = newer.map(|(_, function)| *function);
        let newer = newer.find(|function| address(&symbols, function).is_none());
        if let Some(missing) = missing(&manifest, &symbols).or(newer) {
            println!("{name}: not on this kernel, which has no {missing}");
            continue;
        }
        match Comparison::new(name, object, &manifest).and_then(|mut c| c.run(&rounds)) {
            Ok(calls) => println!("{name}: {calls} calls equal"),
            Err(error) => failures.push(format!("{name}: {error:#}")),
        }
    }
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

/// The first kernel function that an object calls and this kernel has not.
fn missing<'a>(manifest: &'a Manifest, symbols: &str) -> Option<&'a str> {
    let functions = manifest.externs.iter();
    functions
        .filter(|function| function.kind == ExternKind::Kfunc)
        .map(|function| function.name.as_str())
        .find(|name| address(symbols, name).is_none())
}

/// The address of kernel symbol `name`.
fn address(symbols: &str, name: &str) -> Option<u64> {
    let mut lines = symbols.lines().map(|line| line.split_ascii_whitespace());
    let line = lines.find(|line| line.clone().nth(2) == Some(name))?;
    u64::from_str_radix(line.clone().next()?, 16).ok()
}

/// Memory of this process: two pages of text, the second of which nothing follows.
struct Memory {
    start: u64,
}

impl Memory {
    const PAGE: usize = 4096;

    fn map() -> Result<Self> {
        let size = 3 * Self::PAGE;
        let (readable, anonymous) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
        );
        // SAFETY: a new mapping, wherever there is room.
        let start = unsafe { libc::mmap(ptr::null_mut(), size, readable, anonymous, -1, 0) };
        ensure!(
            start != libc::MAP_FAILED,
            "mmap: {}",
            io::Error::last_os_error()
        );
        // SAFETY: the mapping is this long, and nobody else knows of it.
        let bytes = unsafe { std::slice::from_raw_parts_mut(start.cast::<u8>(), 2 * Self::PAGE) };
        for (at, byte) in bytes.iter_mut().enumerate() {
            // A string ends now and then.
            *byte = if at % 47 == 46 {
                0
            } else {
                b'!' + (at % 90) as u8
            };
        }
        // SAFETY: the last page of the mapping; it was never touched.
        let result =
            unsafe { libc::mprotect(start.byte_add(2 * Self::PAGE), Self::PAGE, libc::PROT_NONE) };
        ensure!(result == 0, "mprotect: {}", io::Error::last_os_error());
        Ok(Memory {
            start: start as u64,
        })
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the mapping made above; nothing refers to it.
        unsafe { libc::munmap(self.start as *mut libc::c_void, 3 * Self::PAGE) };
    }
}

/// `struct input` of `calls.h`, but its number.
#[derive(Clone, Copy, Debug)]
struct Round {
    address: u64,
    size: u64,
    of_task: bool,
}

/// Every address with every size.
fn rounds(memory: &Memory) -> Result<Vec<Round>> {
    const SIZES: [u64; 14] = [0, 1, 2, 7, 8, 9, 16, 31, 40, 63, 64, 65, 4097, 1 << 29];
    let symbols = fs::read_to_string("/proc/kallsyms")?;
    let symbol = |name| address(&symbols, name).with_context(|| format!("no symbol {name}"));
    let page = Memory::PAGE as u64;
    let start = memory.start;
    let mut addresses = vec![
        // The user's: good, misaligned, over a page's end, over the end of all, nothing there.
        start,
        start + 46,
        start + 13,
        start + page - 5,
        start + 2 * page - 20,
        start + 2 * page - 1,
        start + 2 * page,
        0,
        8,
        page,
        (1 << 47) - page - 8,
        (1 << 47) - page,
        // Nobody's: not canonical with any page tables. (What is with those not in use, native 6.1 reads, with a WARN.)
        1 << 56,
        (1 << 63) | 4096,
        // The kernel's: text, a string, misaligned, unmapped, over the end of all addresses.
        symbol("linux_banner")?,
        symbol("linux_banner")? + 3,
        symbol("__x64_sys_getppid")?,
        symbol("__x64_sys_getppid")? + 1,
        0xffff_ff00_0000_0000,
        u64::MAX - 4095,
        u64::MAX - 7,
        u64::MAX,
    ];
    addresses.dedup();
    let round = |of_task, address: &u64| {
        let address = *address;
        SIZES.map(|size| Round {
            address,
            size,
            of_task,
        })
    };
    let absolute = addresses.iter().flat_map(|address| round(false, address));
    let of_task = [0, 1, 7].iter().flat_map(|address| round(true, address));
    Ok(absolute.chain(of_task).collect())
}

/// Clocks as user space reads them, in the order of `times` of `calls_time.bpf.c`; the last one there is ticks.
fn clocks() -> [u64; 3] {
    const CLOCKS: [libc::clockid_t; 3] =
        [libc::CLOCK_MONOTONIC, libc::CLOCK_BOOTTIME, libc::CLOCK_TAI];
    CLOCKS.map(|clock| {
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: the call fills the struct.
        unsafe { libc::clock_gettime(clock, &raw mut time) };
        time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
    })
}

fn name_of(program: &Program) -> &str {
    &program.name
}

/// One object under both runtimes, attached.
struct Comparison {
    native: Native,
    wasm: Wasm,
    /// Its sections that are compared.
    sections: Vec<String>,
    /// Exports that are attached.
    exports: Vec<String>,
    has_times: bool,
    /// Some calls are about the CPU, and either runtime's probe may be hit on another if the thread moves between the two.
    _stay: Stay,
    /// Device and inode of this process's PID namespace.
    space: (u64, u64),
}

impl Comparison {
    fn new(name: &str, object: &[u8], manifest: &Manifest) -> Result<Self> {
        let programs = || manifest.programs.iter().filter(|program| program.autoload);
        let attached = || programs().filter(|program| program.target.is_some());
        let loaded: Vec<&str> = programs().map(name_of).collect();
        let events: Vec<&str> = attached().map(name_of).collect();
        // Before anything is attached: it is an event.
        let space = fs::metadata("/proc/self/ns/pid")?;
        let stay = Stay::here()?;
        let mut native = Native::load(object, name, &loaded)?;
        let mut wasm = Wasm::load(&guest::device()?, object, name, &events)?;
        for program in &events {
            native.attach_only(program)?;
        }
        wasm.attach()?;
        let is_compared = |kind| kind == Some(DataKind::Bss);
        let sections = manifest
            .maps
            .iter()
            .filter(|map| is_compared(map.data.as_ref().map(|data| data.kind)));
        Ok(Comparison {
            native,
            wasm,
            sections: sections.map(|map| map.name.clone()).collect(),
            exports: attached().map(|program| program.export.clone()).collect(),
            space: (space.dev(), space.ino()),
            _stay: stay,
            has_times: manifest.maps.iter().any(|map| map.name == TIMES),
        })
    }

    /// Runs and compares every round; how many calls there were.
    fn run(&mut self, rounds: &[Round]) -> Result<usize> {
        let mut calls = 0;
        for (number, round) in (1..).zip(rounds) {
            self.set(number, round)?;
            let before = clocks();
            syscalls::getpgid(1);
            user::call(1);
            let after = clocks();
            calls += self
                .compare()
                .with_context(|| format!("{number}: {round:x?}"))?;
            if self.has_times {
                self.check_times(before, after)?;
            }
        }
        for program in self.wasm.programs()? {
            let (runs, traps) = (program.runs, program.traps);
            let name = text(&program.name);
            let expected = match self.exports.contains(&name) {
                true => rounds.len() as u64,
                false => 0,
            };
            ensure!(
                runs == expected && traps == 0,
                "{name}: {runs} runs, {traps} traps"
            );
        }
        ensure!(calls > 0, "no calls");
        Ok(calls)
    }

    /// Sets what programs of both runtimes take for input.
    fn set(&self, number: u64, round: &Round) -> Result<()> {
        let words = [
            number,
            round.address,
            round.size,
            round.of_task.into(),
            self.space.0,
            self.space.1,
            std::process::id().into(),
        ];
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        self.native.set_section(INPUT, &bytes)?;
        Ok(self.wasm.map(INPUT)?.update(&[0; 4], &bytes, 0)?)
    }

    /// Compares every section; how many calls there are results of.
    fn compare(&self) -> Result<usize> {
        let mut calls = 0;
        for section in &self.sections {
            let (native, wasm) = (self.native.section(section)?, self.wasm.section(section)?);
            if section == RESULTS {
                calls += compare_results(&native, &wasm)?;
            }
            let different = (0..native.len()).find(|at| native[*at] != wasm[*at]);
            ensure!(different.is_none(), "{section} at {different:?}");
        }
        Ok(calls)
    }

    /// What both runtimes read lies between what user space read.
    fn check_times(&self, before: [u64; 3], after: [u64; 3]) -> Result<()> {
        // The kernel's fast clocks may be off while they are set.
        const SLACK: u64 = 1_000_000;
        let [native, wasm] =
            [self.native.section(TIMES)?, self.wasm.section(TIMES)?].map(|bytes| counters(&bytes));
        for (clock, (before, after)) in before.iter().zip(after).enumerate() {
            for time in [native[clock], wasm[clock]] {
                ensure!(
                    (before - SLACK..after + SLACK).contains(&time),
                    "clock {clock}: {time} is not in {before}..{after}"
                );
            }
        }
        let ticks = [native[before.len()], wasm[before.len()]];
        // A busy host gives its guest the ticks late, many at once.
        const LATE: u64 = 1000;
        ensure!(
            ticks[0] > 0 && ticks[0].abs_diff(ticks[1]) <= LATE,
            "ticks: {ticks:?}"
        );
        Ok(())
    }
}

/// Compares `struct result`s; how many were filled in.
fn compare_results(native: &[u8], wasm: &[u8]) -> Result<usize> {
    let pairs = native.chunks(RESULT).zip(wasm.chunks(RESULT));
    let differences: Vec<String> = pairs
        .filter(|(native, wasm)| native != wasm)
        .map(|(native, wasm)| format!("native {}\nwasm   {}", show(native), show(wasm)))
        .collect();
    if !differences.is_empty() {
        bail!("{}", differences.join("\n"));
    }
    let filled = native.chunks(RESULT).filter(|slot| counters(slot)[0] != 0);
    Ok(filled.count())
}

/// A `struct result` in words.
fn show(slot: &[u8]) -> String {
    let words = counters(slot);
    let (line, ret) = (words[0], words[1] as i64);
    format!(
        "line {line}: {ret} ({ret:#x}), {}",
        slot[16..].escape_ascii()
    )
}
