//! Programs on places in user space, on samples, and cookies: what libbpf attaches by a call of its own.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use libbpf_rs::{
    KprobeOpts, Link, PerfEventOpts, ProgramMut, TracepointCategory, TracepointOpts, UprobeOpts,
};
use loader::attach::Choice;
use loader::device::{Rate, Sampling};
use loader::open::Input;
use loader::session::perf;
use loader::settings::Settings;

use super::Case;
use super::attach::{EVENTS, SUMS, attacher, check, place};
use crate::oracle::native::Native;
use crate::wasm::Wasm;
use crate::workload::{on_every_cpu, syscalls, user};
use crate::{compare, corpus, guest};

/// The tests of this area.
pub const CASES: &[Case] = &[
    ("attach_user::uprobes_and_usdt_equal_native", user_space),
    (
        "attach_user::usdt_at_many_places_equals_native",
        many_places,
    ),
    ("attach_user::samples_are_as_native", samples),
    ("attach_user::cookies_reach_every_kind_of_program", cookies),
];

/// This program, as sections name it.
fn own_path() -> Result<String> {
    let path = std::env::current_exe()?;
    Ok(path.to_str().context("an odd path")?.to_owned())
}

fn user_space() -> Result<()> {
    let elf = corpus::object("attach_user")?;
    let path = own_path()?;
    let programs = &[
        ("enter", "enters", EVENTS),
        ("leave", "returns", EVENTS),
        ("tracepoint", "tracepoints", EVENTS),
    ];
    let names = programs.map(|p| p.0);
    let mut native = Native::load(elf, "attach_user", &names)?;
    let at = |name: &str, section: String| (name.to_owned(), section);
    let function = user::FUNCTION;
    let choice = Choice {
        programs: names.map(str::to_owned).to_vec(),
        sections: vec![
            at("enter", format!("uprobe/{path}:{function}")),
            at("leave", format!("uretprobe/{path}:{function}")),
            at("tracepoint", format!("usdt/{path}:wprobe:target")),
        ],
        pid: std::process::id(),
        ..Choice::default()
    };
    let mut wasm = Wasm::choose(&guest::device()?, elf, "attach_user", &choice)?;
    ensure!(user::listeners() == 0, "somebody listens");
    wasm.attach()?;
    ensure!(user::listeners() == 1, "the semaphore stays down");
    native.attach_by(|name, program| {
        let uprobe = |retprobe| {
            let options = UprobeOpts {
                retprobe,
                func_name: Some(function.to_owned()),
                ..UprobeOpts::default()
            };
            program.attach_uprobe_with_opts(-1, &path, 0, options)
        };
        Ok(vec![match name {
            "enter" => uprobe(false)?,
            "leave" => uprobe(true)?,
            _ => program.attach_usdt(-1, &path, "wprobe", "target")?,
        }])
    })?;
    attacher(|| {
        user::call(EVENTS);
        user::tracepoint(EVENTS);
        Ok(())
    })?;
    native.detach();
    ensure!(user::listeners() == 1, "the semaphore goes down");
    wasm.detach();
    ensure!(user::listeners() == 0, "the semaphore stays up");
    check(&native.section(".bss")?, &wasm, elf, programs)
}

/// More places than there is room for specifications, in objects that were built with headers of this libbpf, and of older
/// ones, whose specifications are others: what libbpf writes for those they would misread.
fn many_places() -> Result<()> {
    const ROUNDS: u64 = 5;
    let path = own_path()?;
    for (object, by_libbpf) in [("usdt_many", true), ("usdt_old", false)] {
        let elf = corpus::object(object)?;
        let input = Input::from_bytes(elf, object, Path::new(object), None)?;
        let choice = Choice {
            sections: vec![("many".to_owned(), format!("usdt/{path}:wprobe:many"))],
            ..Choice::default()
        };
        let mut native = Native::open(&input, &choice, &Settings::default())?;
        let mut wasm = Wasm::choose(&guest::device()?, elf, object, &choice)?;
        ensure!(native.usdt_by_libbpf()? == by_libbpf, "{object}: by libbpf");
        native.attach_chosen(&choice)?;
        wasm.attach()?;
        user::many(ROUNDS);
        native.detach();
        wasm.detach();
        for (variable, expected) in [
            ("hits", ROUNDS * user::PLACES),
            ("sum", ROUNDS * user::PLACES * user::ARGUMENT),
        ] {
            let at = place(elf, variable)?;
            let word = |bytes: Vec<u8>| compare::counters(&bytes[at..at + 8])[0];
            let (theirs, ours) = (word(native.section(".bss")?), word(wasm.section(".bss")?));
            ensure!(
                (theirs, ours) == (expected, expected),
                "{object}: {variable} is {expected}, native {theirs}, wasm {ours}"
            );
        }
    }
    Ok(())
}

/// The CPU's clock, every five milliseconds.
const CLOCK: Sampling = Sampling {
    event_type: 1,
    event: 0,
    rate: Rate::Period(5_000_000),
};

/// As many are enough to compare, and the most seconds that they take.
const SAMPLES: u64 = 200;
const SECONDS: u32 = 20;

fn samples() -> Result<()> {
    let elf = corpus::object("attach_user")?;
    let choice = Choice {
        programs: vec!["sample".to_owned()],
        sampling: Some(CLOCK),
        ..Choice::default()
    };
    let mut native = Native::load(elf, "attach_user", &["sample"])?;
    let mut wasm = Wasm::choose(&guest::device()?, elf, "attach_user", &choice)?;
    let cpus = thread::available_parallelism()?.get();
    native.attach_by(|_, program| {
        let attach = |cpu| Ok(program.attach_perf_event(perf::open(cpu, CLOCK)?)?);
        (0..cpus).map(attach).collect()
    })?;
    wasm.attach()?;
    let at = place(elf, "samples")?;
    let words = |bytes: Vec<u8>| compare::counters(&bytes[at..at + SUMS]);
    // A busy host's guest gets few of them in a second.
    for _ in 0..SECONDS {
        on_every_cpu(|_| {
            let end = Instant::now() + Duration::from_secs(1);
            while Instant::now() < end {
                user::call(100);
            }
            Ok(())
        })?;
        if words(native.section(".bss")?)[0] >= SAMPLES {
            break;
        }
    }
    native.detach();
    wasm.detach();
    let (theirs, ours) = (words(native.section(".bss")?), words(wasm.section(".bss")?));
    let (n, w) = (theirs[0], ours[0]);
    println!("{n} samples natively, {w} in wasm");
    ensure!(
        n >= SAMPLES && w.abs_diff(n) * 5 <= n,
        "{n} samples natively, {w} in wasm"
    );
    // Each sample adds the same.
    let product = |sum: u64, count: u64| sum.wrapping_mul(count);
    ensure!(
        product(theirs[1], w) == product(ours[1], n) && ours[2] == 0,
        "periods: native {theirs:x?}, wasm {ours:x?}"
    );
    Ok(())
}

/// Programs, their variables, and whether this libbpf can give native ones a cookie.
const COOKIES: &[(&str, &str, bool)] = &[
    ("on_kprobe", "kprobe", true),
    ("on_kretprobe", "kretprobe", true),
    ("on_tracepoint", "tracepoint", true),
    ("on_sample", "sample", true),
    ("on_user", "user", true),
    ("on_raw", "raw", false),
    ("on_entry", "entry", false),
    ("on_exit", "leave", false),
];

/// The cookie of program `name`.
fn cookie_of(name: &str) -> u64 {
    let at = COOKIES.iter().position(|row| row.0 == name);
    0x1234_5678_9abc_0000 + at.map_or(0, |at| at as u64 + 1)
}

fn cookies() -> Result<()> {
    let elf = corpus::object("attach_cookie")?;
    let path = own_path()?;
    let all: Vec<&str> = COOKIES.iter().map(|row| row.0).collect();
    let natives: Vec<&str> = COOKIES
        .iter()
        .filter(|row| row.2)
        .map(|row| row.0)
        .collect();
    let mut native = Native::load(elf, "attach_cookie", &natives)?;
    native.attach_by(|name, program| Ok(vec![attach_with_cookie(name, program, &path)?]))?;
    let section = format!("uprobe/{path}:{}", user::FUNCTION);
    let choice = Choice {
        programs: all.iter().map(|name| (*name).to_owned()).collect(),
        sections: vec![("on_user".to_owned(), section)],
        cookies: all
            .iter()
            .map(|name| ((*name).to_owned(), cookie_of(name)))
            .collect(),
        ..Choice::default()
    };
    let mut wasm = Wasm::choose(&guest::device()?, elf, "attach_cookie", &choice)?;
    wasm.attach()?;
    let places: Result<Vec<usize>> = COOKIES.iter().map(|row| place(elf, row.1)).collect();
    let places = places?;
    let word = |bytes: &[u8], at: usize| compare::counters(&bytes[at..at + 8])[0];
    // The samples are the clock's, which ticks late on a busy machine.
    guest::wait_until("each program has run", || {
        syscalls::getpgrp(1);
        user::call(1);
        fs::read("/proc/self/comm")?;
        let (theirs, ours) = (native.section(".bss")?, wasm.section(".bss")?);
        let mut rows = COOKIES.iter().zip(&places);
        let is_there = |(row, &at): (&(_, _, bool), &usize)| {
            word(&ours, at) != 0 && (!row.2 || word(&theirs, at) != 0)
        };
        Ok(rows.all(is_there))
    })?;
    native.detach();
    wasm.detach();
    let (theirs, ours) = (native.section(".bss")?, wasm.section(".bss")?);
    for ((name, _, natively), &at) in COOKIES.iter().zip(&places) {
        let (theirs, ours) = (natively.then(|| word(&theirs, at)), word(&ours, at));
        let expected = cookie_of(name);
        ensure!(
            ours == expected && theirs.is_none_or(|theirs| theirs == expected),
            "{name}: {expected:#x}, native {theirs:x?}, wasm {ours:#x}"
        );
    }
    Ok(())
}

fn attach_with_cookie(name: &str, program: &ProgramMut<'_>, path: &str) -> Result<Link> {
    let cookie = cookie_of(name);
    let kprobe = |returns| {
        let options = KprobeOpts {
            cookie,
            ..KprobeOpts::default()
        };
        program.attach_kprobe_with_opts(returns, "__x64_sys_getpgrp", options)
    };
    Ok(match name {
        "on_kprobe" => kprobe(false)?,
        "on_kretprobe" => kprobe(true)?,
        "on_tracepoint" => {
            let options = TracepointOpts {
                cookie,
                ..TracepointOpts::default()
            };
            let category = TracepointCategory::Syscalls;
            program.attach_tracepoint_with_opts(category, "sys_enter_getpgrp", options)?
        }
        "on_sample" => {
            let options = PerfEventOpts {
                cookie,
                ..PerfEventOpts::default()
            };
            program.attach_perf_event_with_opts(perf::open(0, CLOCK)?, options)?
        }
        _ => {
            let options = UprobeOpts {
                cookie,
                func_name: Some(user::FUNCTION.to_owned()),
                ..UprobeOpts::default()
            };
            program.attach_uprobe_with_opts(-1, path, 0, options)?
        }
    })
}
