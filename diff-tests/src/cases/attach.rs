//! Every way to attach a program: context and cookie as native programs get them, on the same events.

use std::fs::{self, File};
use std::io::Read;
use std::process::Command;
use std::thread;
use std::time::Duration;

use abi::uapi::{AttachPoint, LINK_ARGS};
use anyhow::{Context, Result, ensure};
use loader::attach::Choice;
use loader::device::{LinkSpec, Rate, Sampling};

use super::Case;
use crate::oracle::native::Native;
use crate::wasm::Wasm;
use crate::workload::syscalls;
use crate::{compare, corpus, guest};

/// The tests of this area.
pub const CASES: &[Case] = &[
    ("attach::raw_tracepoints_equal_native", || {
        equal(
            "attach_raw",
            &[
                ("sys_enter", "enters", EVENTS),
                ("sys_exit", "exits", EVENTS),
                ("sched_switch", "switches", SWITCHES),
                ("kmalloc", "allocations", 10),
                ("shrink", "shrinks", 10),
            ],
            || {
                syscalls::getpgrp(EVENTS);
                switch();
                syscalls::openat(EVENTS)?;
                // A file's first buffers are allocated with it; dropping caches calls every shrinker.
                (0..20).try_for_each(|_| File::open("/proc/self/status").map(drop))?;
                Ok(fs::write("/proc/sys/vm/drop_caches", "2")?)
            },
        )
    }),
    ("attach::tracepoints_equal_native", || {
        equal(
            "attach_tracepoint",
            &[
                ("openat_enter", "enters", EVENTS),
                ("openat_exit", "exits", EVENTS),
                ("sched_switch", "switches", SWITCHES),
                ("exec", "execs", EXECS),
            ],
            || {
                syscalls::openat(EVENTS)?;
                switch();
                for _ in 0..EXECS {
                    guest::succeed(&mut Command::new("/bin/true"))?;
                }
                Ok(())
            },
        )
    }),
    ("attach::functions_equal_native", || {
        equal(
            "attach_function",
            &[
                ("read_enter", "enters", EVENTS),
                ("read_exit", "exits", EVENTS),
                ("permission", "modifies", EVENTS),
            ],
            read,
        )
    }),
    ("attach::arguments_on_the_stack_equal_native", || {
        let programs = &[
            ("map_enter", "maps_enter", EVENTS),
            ("map_exit", "maps_exit", EVENTS),
        ];
        if is_6_1()? {
            return alone("attach_function", programs, map);
        }
        equal("attach_function", programs, map)
    }),
    ("attach::kprobes_equal_native", || {
        let elf = with_offset(corpus::object("attach_kprobe")?)?;
        let programs = &[
            ("enter", "enters", EVENTS),
            ("inside", "insides", EVENTS),
            ("leave", "returns", EVENTS),
            ("call", "calls", EVENTS),
            ("result", "results", EVENTS),
        ];
        equal_object(&elf, programs, || {
            syscalls::getpgrp(EVENTS);
            syscalls::getpgid(EVENTS);
            Ok(())
        })
    }),
    (
        "attach::several_programs_of_one_place_equal_native",
        several,
    ),
    (
        "attach::what_cannot_be_probed_is_refused_with_the_reason",
        refusals,
    ),
    ("attach::the_device_checks_what_it_is_given", checks),
];

/// Events of every workload at least, if nothing else is said.
pub(super) const EVENTS: u64 = 200;
/// Switches away from the thread that works.
const SWITCHES: u64 = 50;
/// Programs run.
const EXECS: u64 = 10;

/// Sleeps shortly, [`SWITCHES`] times.
fn switch() {
    for _ in 0..SWITCHES {
        thread::sleep(Duration::from_micros(50));
    }
}

/// Runs `work` in the thread that the programs of `corpus/src/attach.h` watch.
pub(super) fn attacher(work: impl FnOnce() -> Result<()> + Send) -> Result<()> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("attacher".to_owned());
        let done = thread.spawn_scoped(scope, work)?.join();
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Reads [`EVENTS`] times.
fn read() -> Result<()> {
    let mut zeroes = File::open("/dev/zero")?;
    let mut bytes = [0; 100];
    (0..EVENTS).try_for_each(|i| Ok(zeroes.read_exact(&mut bytes[..1 + i as usize % 100])?))
}

/// Maps memory [`EVENTS`] times, with lengths of its own.
fn map() -> Result<()> {
    for i in 0..EVENTS as usize {
        let (length, access) = (4096 * (1 + i % 7), libc::PROT_READ);
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping wherever the kernel likes.
        let memory = unsafe { libc::mmap(std::ptr::null_mut(), length, access, flags, -1, 0) };
        ensure!(memory != libc::MAP_FAILED, "mmap");
        // SAFETY: the mapping just made, which nobody else knows.
        unsafe { libc::munmap(memory, length) };
    }
    Ok(())
}

pub(super) fn is_6_1() -> Result<bool> {
    Ok(fs::read_to_string("/proc/sys/kernel/osrelease")?.starts_with("6.1."))
}

/// The object with the offset of the second instruction that is not ftrace's: behind its call, and before that an
/// `endbr64` on newer kernels.
pub(super) fn with_offset(elf: &[u8]) -> Result<Vec<u8>> {
    let offset = if is_6_1()? { b"+0x05" } else { b"+0x09" };
    let mut elf = elf.to_vec();
    let places: Vec<_> = (0..elf.len())
        .filter(|at| elf[*at..].starts_with(b"+0x00"))
        .collect();
    for at in places {
        elf[at..at + offset.len()].copy_from_slice(offset);
    }
    Ok(elf)
}

fn refusals() -> Result<()> {
    let device = guest::device()?;
    let elf = corpus::object("attach_kprobe")?;
    let refusal = |program: &str, section: Option<&str>| -> Result<String> {
        let choice = Choice {
            programs: vec![program.to_owned()],
            sections: section
                .map(|s| (program.to_owned(), s.to_owned()))
                .into_iter()
                .collect(),
            ..Choice::default()
        };
        let loaded = Wasm::choose(&device, elf, "attach_kprobe", &choice);
        let attached = loaded.and_then(|mut wasm| wasm.attach());
        let error = attached
            .err()
            .with_context(|| format!("{program} {section:?} was attached"))?;
        Ok(format!("{error:#}"))
    };
    let forbidden = blacklisted()?;
    let forbidden = format!("kprobe/{forbidden}");
    for (program, section, expected) in [
        ("missing", None, "no function no_such_function"),
        ("between", None, "the offset is not at an instruction"),
        ("enter", Some("kprobe/type_show"), "functions type_show"),
        (
            "enter",
            Some(&*forbidden),
            "the kernel does not allow a probe there",
        ),
        (
            "enter",
            Some("tp/sched/no_such_event"),
            "no trace event sched/no_such_event",
        ),
        (
            "enter",
            Some("raw_tp/no_such_event"),
            "no tracepoint no_such_event",
        ),
        (
            "enter",
            Some("fentry/no_such_function"),
            "no function no_such_function",
        ),
        (
            "enter",
            Some("raw_tp/sys_enter"),
            "context of 104 bytes, there are 16",
        ),
        (
            "enter",
            Some("tp/irq/softirq_entry"),
            "reads 104 bytes, the event's record has",
        ),
        ("enter", Some("lsm/file_open"), "lsm is not supported"),
    ] {
        let said = refusal(program, section)?;
        ensure!(said.contains(expected), "{program} {section:?}: {said}");
    }
    Ok(())
}

/// Programs that nobody chose among: each is attached, as libbpf does it.
fn several() -> Result<()> {
    let elf = corpus::object("attach_several")?;
    let programs = &[
        ("kprobe_first", "first", EVENTS),
        ("kprobe_second", "second", EVENTS),
        ("fentry_too", "entry", EVENTS),
        ("kretprobe_too", "leave", EVENTS),
        ("tracepoint_first", "exits", EVENTS),
        ("tracepoint_second", "exits_too", EVENTS),
    ];
    let mut native = Native::load(elf, "attach_several", &programs.map(|p| p.0))?;
    let mut wasm = Wasm::load(&guest::device()?, elf, "attach_several", &[])?;
    native.attach()?;
    wasm.attach()?;
    for decision in wasm.decisions() {
        let (program, why) = (&decision.program, &decision.reason);
        ensure!(decision.attached, "{program}: {why}");
    }
    attacher(|| {
        syscalls::getpgrp(EVENTS);
        read()
    })?;
    native.detach();
    wasm.detach();
    check(&native.section(".bss")?, &wasm, elf, programs)
}

/// Attachments that no loader of ours asks for.
fn checks() -> Result<()> {
    use AttachPoint::{
        Fentry, Fexit, Kprobe, PerfEvent, RawTracepoint, Tracepoint, Uprobe, Uretprobe,
    };
    let elf = corpus::object("attach_kprobe")?;
    let wasm = Wasm::load(&guest::device()?, elf, "attach_kprobe", &["enter"])?;
    let program = "kprobe:__x64_sys_getpgrp:pre";
    let spec = |target, attach| LinkSpec::new(program, target, attach);
    let read = |attach| spec("vfs_read", attach);
    let path = std::env::current_exe()?;
    let path = path.to_str().context("an odd path")?;
    let sampling = |rate| {
        Some(Sampling {
            rate,
            ..Sampling::default()
        })
    };
    let args = |count, size| {
        let mut args = [0; LINK_ARGS];
        args[..count].fill(size);
        args
    };
    let specs = [
        (
            LinkSpec {
                offset: 8,
                ..read(Fentry)
            },
            "offset 8: not with this attach point",
        ),
        (
            LinkSpec {
                offset: 8,
                ..spec("sched/sched_switch", Tracepoint)
            },
            "offset 8: not with",
        ),
        (
            LinkSpec {
                semaphore: 8,
                ..read(Kprobe)
            },
            "not with this attach point",
        ),
        (
            LinkSpec {
                pid: 1,
                ..read(Fexit)
            },
            "not with this attach point",
        ),
        (
            LinkSpec {
                sampling: sampling(Rate::Frequency(9)),
                ..read(Kprobe)
            },
            "not with this",
        ),
        (
            LinkSpec {
                sampling: sampling(Rate::Frequency(0)),
                ..spec("", PerfEvent)
            },
            "neither a frequency",
        ),
        (
            LinkSpec {
                context: 16,
                args: args(1, 8),
                ..read(Fentry)
            },
            "context of 16 bytes, there are 8",
        ),
        (
            LinkSpec {
                context: 24,
                args: args(1, 8),
                ..read(Fexit)
            },
            "context of 24 bytes, there are 16",
        ),
        (
            LinkSpec {
                context: 4096,
                ..spec("sched/sched_switch", Tracepoint)
            },
            "there are 4088",
        ),
        (
            LinkSpec {
                context: 65,
                ..spec("syscalls/sys_enter_openat", Tracepoint)
            },
            "there are 64",
        ),
        (
            LinkSpec {
                context: 8,
                args: args(13, 8),
                ..spec("sys_enter", RawTracepoint)
            },
            "more arguments",
        ),
        (
            LinkSpec {
                context: 8,
                args: args(2, 9),
                ..spec("sys_enter", RawTracepoint)
            },
            "more arguments",
        ),
        (spec("sched_switch", Tracepoint), "no event's SYSTEM/NAME"),
        (spec("sched/no_such", Tracepoint), "no such tracepoint"),
        (spec("no_such", RawTracepoint), "no such tracepoint"),
        (spec("no_such", Fentry), "no such symbol"),
        (spec("no_such", Fexit), "no such symbol"),
        (spec("/no/such/file", Uprobe), "no such file"),
        (spec("/tmp", Uretprobe), "no regular file"),
        (
            LinkSpec {
                offset: 1 << 40,
                ..spec(path, Uprobe)
            },
            "uprobe",
        ),
    ];
    for (spec, expected) in specs {
        let said = match wasm.attach_as(&spec) {
            Ok(_) => anyhow::bail!("{spec:?} was attached"),
            Err(error) => format!("{error:#}"),
        };
        ensure!(said.contains(expected), "{spec:?}: {said}");
    }
    Ok(())
}

/// A function that the kernel lets nobody probe, and that has a name of its own.
fn blacklisted() -> Result<String> {
    let list = fs::read_to_string("/sys/kernel/debug/kprobes/blacklist")?;
    let symbols = fs::read_to_string("/proc/kallsyms")?;
    let names = list
        .lines()
        .filter_map(|line| line.split_ascii_whitespace().nth(1));
    let is_unique = |name: &&str| {
        symbols
            .lines()
            .filter(|line| line.split(' ').nth(2) == Some(*name))
            .count()
            == 1
    };
    let name = names
        .filter(|name| name.starts_with("exc_"))
        .find(is_unique);
    Ok(name.context("nothing is forbidden")?.to_owned())
}

/// What both runtimes note of `work` must be equal. Of each program: its name, its `struct sums`, and how many events these
/// must be of at least.
pub(super) fn equal(
    object: &str,
    programs: &[(&str, &str, u64)],
    work: impl FnOnce() -> Result<()> + Send,
) -> Result<()> {
    equal_object(corpus::object(object)?, programs, work)
}

fn equal_object(
    elf: &[u8],
    programs: &[(&str, &str, u64)],
    work: impl FnOnce() -> Result<()> + Send,
) -> Result<()> {
    let names: Vec<_> = programs.iter().map(|p| p.0).collect();
    let mut native = Native::load(elf, "attach", &names)?;
    let mut wasm = Wasm::load(&guest::device()?, elf, "attach", &names)?;
    native.attach()?;
    wasm.attach()?;
    attacher(work)?;
    native.detach();
    wasm.detach();
    check(&native.section(".bss")?, &wasm, elf, programs)
}

/// Where native eBPF refuses to attach: events without traps are all that can be asked for.
pub(super) fn alone(
    object: &str,
    programs: &[(&str, &str, u64)],
    work: impl FnOnce() -> Result<()> + Send,
) -> Result<()> {
    let names: Vec<_> = programs.iter().map(|p| p.0).collect();
    let elf = corpus::object(object)?;
    let native = Native::load(elf, object, &names).and_then(|mut native| native.attach());
    ensure!(native.is_err(), "native takes it");
    let mut wasm = Wasm::load(&guest::device()?, elf, object, &names)?;
    wasm.attach()?;
    attacher(work)?;
    wasm.detach();
    check(&wasm.section(".bss")?, &wasm, elf, programs)
}

/// Compares the sums of `programs`, and demands their events.
pub(super) fn check(
    native: &[u8],
    wasm: &Wasm,
    elf: &[u8],
    programs: &[(&str, &str, u64)],
) -> Result<()> {
    let ours = wasm.section(".bss")?;
    for (program, variable, least) in programs {
        let at = place(elf, variable)?;
        let words = |bytes: &[u8]| Some(compare::counters(bytes.get(at..at + SUMS)?));
        let (theirs, ours) = (words(native), words(&ours));
        ensure!(
            theirs.is_some() && theirs == ours,
            "{program}: native {theirs:x?}, wasm {ours:x?}"
        );
        let events = ours.map_or(0, |words| words[0]);
        ensure!(events >= *least, "{program}: only {events} events");
        println!("{program}: {events} events equal");
    }
    let traps: u64 = wasm.programs()?.iter().map(|p| p.traps).sum();
    ensure!(traps == 0, "{traps} traps");
    Ok(())
}

/// Bytes of `struct sums`.
pub(super) const SUMS: usize = 14 * 8;

/// Where `variable` lies in `.bss`.
pub(super) fn place(elf: &[u8], variable: &str) -> Result<usize> {
    let converted = bpf2wasm::convert(elf, "x", &bpf2wasm::Options::default())?;
    let manifest = bpf2wasm::read_manifest(&converted.wasm)?;
    let symbols = manifest.maps.iter().filter_map(|map| map.data.as_ref());
    let mut symbols = symbols.flat_map(|data| &data.symbols);
    let symbol = symbols.find(|symbol| symbol.name == variable);
    Ok(symbol
        .with_context(|| format!("no variable {variable}"))?
        .offset as usize)
}
