//! Hosts where bpf(2) is refused, as container runtimes and `kernel.unprivileged_bpf_disabled` do: everything but native eBPF works.

use std::io;
use std::thread;

use anyhow::{Context, Result, ensure};
use loader::attach::Choice;
use loader::device::{Rate, Sampling};
use loader::doctor::{Facts, checks, no_native};
use loader::load::Options;
use loader::open::Input;
use loader::runtime::{self, Runtime, Wish};

use super::Case;
use super::attach::{EVENTS, SUMS, attacher, place};
use crate::wasm::Wasm;
use crate::workload::{syscalls, user};
use crate::{compare, corpus, guest};

/// The tests of this area.
pub const CASES: &[Case] = &[
    ("hosts::without_ebpf_every_attach_type_works", || {
        refused(attached)
    }),
    (
        "hosts::without_ebpf_auto_is_wasm_and_native_says_why",
        || refused(chosen),
    ),
];

/// Does `work` in a thread that the kernel refuses bpf(2), as it does those that it starts.
fn refused(work: fn() -> Result<()>) -> Result<()> {
    let thread = thread::spawn(move || {
        refuse().context("seccomp")?;
        let ebpf = Facts::gather().ebpf.context("bpf(2) makes maps")?;
        ensure!(ebpf.denied, "{}", ebpf.why);
        work()
    });
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Has this thread's bpf(2) answered with EPERM.
fn refuse() -> io::Result<()> {
    let step = |code: u32, jt: u8, k: u32| libc::sock_filter {
        code: code as u16,
        jt,
        jf: 0,
        k,
    };
    let load_number = step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0);
    let is_bpf = step(
        libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
        1,
        libc::SYS_bpf as u32,
    );
    let give = |what: u32| step(libc::BPF_RET | libc::BPF_K, 0, what);
    let mut steps = [
        load_number,
        is_bpf,
        give(libc::SECCOMP_RET_ALLOW),
        give(libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
    ];
    let program = libc::sock_fprog {
        len: steps.len() as u16,
        filter: steps.as_mut_ptr(),
    };
    // SAFETY: `program` and the steps that it points to live as long as the call, which copies them.
    let error = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            &raw const program,
        )
    };
    match error {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// An object, its programs with what each counts in, and where they are attached if their sections do not say.
type Row = (
    &'static str,
    &'static [(&'static str, &'static str)],
    fn() -> Result<Vec<(String, String)>>,
);

const OBJECTS: &[Row] = &[
    (
        "attach_several",
        &[
            ("kprobe_first", "first"),
            ("kretprobe_too", "leave"),
            ("fentry_too", "entry"),
            ("tracepoint_first", "exits"),
        ],
        || Ok(Vec::new()),
    ),
    ("attach_raw", &[("sys_enter", "enters")], || Ok(Vec::new())),
    (
        "attach_tracepoint",
        &[("openat_enter", "enters"), ("sched_switch", "switches")],
        || Ok(Vec::new()),
    ),
    (
        "attach_function",
        &[("read_exit", "exits"), ("permission", "modifies")],
        || Ok(Vec::new()),
    ),
    (
        "attach_user",
        &[
            ("enter", "enters"),
            ("leave", "returns"),
            ("tracepoint", "tracepoints"),
            ("sample", "samples"),
        ],
        || {
            let path = std::env::current_exe()?;
            let path = path.to_str().context("an odd path")?;
            let function = user::FUNCTION;
            let at = |name: &str, section: String| (name.to_owned(), section);
            Ok(vec![
                at("enter", format!("uprobe/{path}:{function}")),
                at("leave", format!("uretprobe/{path}:{function}")),
                at("tracepoint", format!("usdt/{path}:wprobe:target")),
            ])
        },
    ),
];

fn attached() -> Result<()> {
    let device = guest::device()?;
    for (object, programs, sections) in OBJECTS {
        let elf = corpus::object(object)?;
        let choice = Choice {
            programs: programs
                .iter()
                .map(|(name, _)| (*name).to_owned())
                .collect(),
            sections: sections()?,
            sampling: (*object == "attach_user").then_some(Sampling {
                event_type: 1,
                event: 0,
                rate: Rate::Period(1_000_000),
            }),
            ..Choice::default()
        };
        let mut wasm = Wasm::choose(&device, elf, object, &choice)?;
        wasm.attach()?;
        attacher(work)?;
        wasm.detach();
        let counted = wasm.section(".bss")?;
        for (program, variable) in *programs {
            let at = place(elf, variable)?;
            let sums = counted.get(at..at + SUMS).context("its variable")?;
            let events = compare::counters(sums)[0];
            ensure!(events > 0, "{object}: {program} saw nothing");
            println!("{object}: {program} saw {events} events");
        }
    }
    Ok(())
}

/// Something for each of them.
fn work() -> Result<()> {
    syscalls::getpgrp(EVENTS);
    syscalls::getpgid(EVENTS);
    syscalls::openat(EVENTS)?;
    for _ in 0..EVENTS {
        std::fs::read("/proc/self/comm")?;
    }
    thread::sleep(std::time::Duration::from_millis(5));
    user::call(EVENTS);
    user::tracepoint(EVENTS);
    Ok(())
}

fn chosen() -> Result<()> {
    let lack = no_native(&checks(&Facts::gather())).context("nothing is lacking")?;
    ensure!(lack.starts_with("eBPF: not for this user"), "{lack}");
    let input = Input::open("/usr/sbin/opensnoop".as_ref(), None)?;
    let wish = |runtime| Wish {
        runtime,
        choice: Choice::default(),
        options: Options::default(),
    };
    let started = runtime::start(&input, &wish(Runtime::Auto), &[])?;
    ensure!(
        started.runtime == Runtime::KernelWasm && started.why.contains(&lack),
        "{}: {}",
        started.runtime,
        started.why
    );
    drop(started);
    let refusal = runtime::start(&input, &wish(Runtime::Native), &[]).err();
    let refusal = format!("{:#}", refusal.context("native eBPF works")?);
    ensure!(refusal.contains("Operation not permitted"), "{refusal}");
    Ok(())
}
