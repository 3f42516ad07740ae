//! Programs with many places by a pattern, each with a cookie: as native ones on the same events.

use std::fs;

use abi::uapi::{AttachPoint, MAX_PLACES};
use anyhow::{Result, ensure};
use libbpf_rs::{KprobeMultiOpts, UprobeMultiOpts};
use loader::attach::Choice;
use loader::device::{LinkPlace, LinkSpec};

use super::Case;
use super::attach::{EVENTS, attacher, check, is_6_1};
use crate::oracle::native::Native;
use crate::wasm::Wasm;
use crate::workload::{syscalls, user};
use crate::{corpus, guest};

/// The tests of this area.
pub const CASES: &[Case] = &[
    ("attach_many::functions_of_the_kernel_equal_native", kernel),
    ("attach_many::functions_of_a_file_equal_native", file),
    ("attach_many::the_device_checks_places", checks),
];

/// Places of `mark`, and their cookies.
const MARKED: [(&str, u64); 2] = [("__x64_sys_getpgid", 7), ("__x64_sys_getpriority", 9)];

fn kernel() -> Result<()> {
    let elf = corpus::object("attach_many")?;
    let programs = &[
        ("enter", "enters", 2 * EVENTS),
        ("leave", "returns", 2 * EVENTS),
        ("mark", "marked", 2 * EVENTS),
    ];
    let names = programs.map(|p| p.0);
    let mut native = Native::load(elf, "attach_many", &names)?;
    let mut cookies = vec![("enter".to_owned(), 3)];
    cookies.extend(MARKED.map(|(function, cookie)| (format!("mark@{function}"), cookie)));
    let choice = Choice {
        programs: names.map(str::to_owned).to_vec(),
        cookies,
        ..Choice::default()
    };
    let mut wasm = Wasm::choose(&guest::device()?, elf, "attach_many", &choice)?;
    let functions = listed()?;
    let cookie = |function: &String| {
        let marked = MARKED.iter().find(|(name, _)| function == name);
        marked.map_or(0, |(_, cookie)| *cookie)
    };
    let natively = native.attach_by(|name, program| {
        let with = |cookies| {
            program.attach_kprobe_multi_with_opts(KprobeMultiOpts {
                symbols: functions.clone(),
                cookies,
                ..KprobeMultiOpts::default()
            })
        };
        Ok(vec![match name {
            "enter" => with(vec![3; functions.len()])?,
            "mark" => with(functions.iter().map(cookie).collect())?,
            // Its pattern libbpf reads.
            _ => program.attach()?,
        }])
    });
    // Debian's 6.1 has no fprobe, which native ones stand on.
    ensure!(natively.is_ok() != is_6_1()?, "native: {natively:?}");
    wasm.attach()?;
    for decision in wasm.decisions().iter().filter(|d| d.attached) {
        let why = &decision.reason;
        let is_many = why.contains("probe at ") && why.contains(" places on __x64_sys_get");
        ensure!(is_many, "{why}");
    }
    attacher(|| {
        syscalls::getpgid(EVENTS);
        syscalls::getpriority(EVENTS);
        Ok(())
    })?;
    native.detach();
    wasm.detach();
    let theirs = match natively {
        Ok(()) => native.section(".bss")?,
        Err(_) => wasm.section(".bss")?,
    };
    check(&theirs, &wasm, elf, programs)
}

/// The functions that `enter` and `mark` are about, as this kernel lists them.
fn listed() -> Result<Vec<String>> {
    let functions = fs::read_to_string("/sys/kernel/tracing/available_filter_functions")?;
    let names = functions.lines();
    let names = names.filter(|name| name.starts_with("__x64_sys_getp"));
    Ok(names.map(str::to_owned).collect())
}

fn file() -> Result<()> {
    let elf = corpus::object("attach_many")?;
    let path = std::env::current_exe()?.to_string_lossy().into_owned();
    let programs = &[
        ("user_enter", "user_enters", 2 * EVENTS),
        ("user_leave", "user_returns", 2 * EVENTS),
    ];
    let names = programs.map(|p| p.0);
    let section = |prefix: &str| format!("{prefix}/{path}:{}", user::FUNCTIONS);
    let mut cookies = vec![("user_leave".to_owned(), 5)];
    cookies.extend(
        (1..)
            .zip(user::EACH)
            .map(|(n, name)| (format!("user_enter@{name}"), n)),
    );
    let choice = Choice {
        programs: names.map(str::to_owned).to_vec(),
        sections: vec![
            ("user_enter".to_owned(), section("uprobe.multi")),
            ("user_leave".to_owned(), section("uretprobe.multi")),
        ],
        cookies,
        ..Choice::default()
    };
    let mut wasm = Wasm::choose(&guest::device()?, elf, "attach_many", &choice)?;
    let work = || {
        user::each(EVENTS);
        Ok(())
    };
    let mut native = Native::load(elf, "attach_many", &names)?;
    let natively = native.attach_by(|name, program| {
        let retprobe = name == "user_leave";
        let options = UprobeMultiOpts {
            syms: user::EACH.map(str::to_owned).to_vec(),
            cookies: if retprobe { vec![5, 5] } else { vec![1, 2] },
            retprobe,
            ..UprobeMultiOpts::default()
        };
        Ok(vec![
            program.attach_uprobe_multi_with_opts(-1, &path, "", options)?,
        ])
    });
    // Native eBPF has them from 6.6 on.
    ensure!(natively.is_ok() != is_6_1()?, "native: {natively:?}");
    wasm.attach()?;
    attacher(work)?;
    native.detach();
    wasm.detach();
    let theirs = match natively {
        Ok(()) => native.section(".bss")?,
        Err(_) => wasm.section(".bss")?,
    };
    check(&theirs, &wasm, elf, programs)
}

/// What no loader of ours asks for.
fn checks() -> Result<()> {
    let elf = corpus::object("attach_kprobe")?;
    let wasm = Wasm::load(&guest::device()?, elf, "attach_kprobe", &["enter"])?;
    let spec = |attach, places: Vec<LinkPlace>| LinkSpec {
        places,
        ..LinkSpec::new("kprobe:__x64_sys_getpgrp:pre", "some", attach)
    };
    let at = |at| LinkPlace { at, cookie: 1 };
    let one = vec![at(1 << 63)];
    let many = vec![at(1 << 63); MAX_PLACES as usize + 1];
    for (spec, expected) in [
        // Those that are no text of the kernel's.
        (spec(AttachPoint::Kprobe, one.clone()), "kprobe some: "),
        (
            spec(AttachPoint::Kretprobe, one.clone()),
            "kretprobe some: ",
        ),
        (spec(AttachPoint::Kprobe, many), "Argument list too long"),
        (spec(AttachPoint::Fentry, one.clone()), "Invalid argument"),
        (
            LinkSpec {
                offset: 8,
                ..spec(AttachPoint::Kprobe, one.clone())
            },
            "Invalid argument",
        ),
        (
            LinkSpec {
                semaphore: 8,
                ..spec(AttachPoint::Uprobe, one)
            },
            "Invalid argument",
        ),
    ] {
        let said = match wasm.attach_as(&spec) {
            Ok(_) => anyhow::bail!("{:?} at {} places", spec.attach, spec.places.len()),
            Err(error) => format!("{error:#}"),
        };
        ensure!(said.contains(expected), "{expected}: {said}");
    }
    Ok(())
}
