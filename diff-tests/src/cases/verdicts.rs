//! One program's fault is that program's, and what is said to trap does.

use std::path::Path;

use abi::manifest::LICENSE_SECTION;
use anyhow::{Context, Result, ensure};
use loader::load::{self, Options};
use loader::open::Input;
use loader::session::Session;
use loader::warnings;

use super::Case;
use crate::compare::counters;
use crate::oracle::native::Native;
use crate::wasm::Wasm;
use crate::workload::syscalls;
use crate::{corpus, guest};

/// The tests of this area.
pub const CASES: &[Case] = &[
    ("verdicts::a_faulty_program_costs_no_other", others_run),
    ("verdicts::what_is_said_to_trap_does", said_to_trap),
    ("verdicts::the_kernel_module_asks_for_the_licence", licence),
];

const OBJECT: &str = "verdicts";
const CALLS: u64 = 100;

/// Which of `hits`, `after`, `asks` counted.
fn counted(section: &[u8]) -> [bool; 3] {
    let counts = counters(section);
    [counts[0] > 0, counts[1] > 0, counts[2] > 0]
}

fn others_run() -> Result<()> {
    let (device, object) = (guest::device()?, corpus::object(OBJECT)?);
    let mut native = Native::load(object, OBJECT, &["good"])?;
    let mut wasm = Wasm::load(&device, object, OBJECT, &[])?;
    native.attach()?;
    wasm.attach()?;
    syscalls::getpgrp(CALLS);
    native.detach();
    wasm.detach();
    for section in [native.section(".bss")?, wasm.section(".bss")?] {
        ensure!(counted(&section) == [true, false, false], "{section:?}");
    }
    let attached = wasm.decisions().iter().filter(|d| d.attached).count();
    ensure!(attached == 1, "{:?}", wasm.decisions());
    let odd = wasm.decisions().iter().find(|d| d.program == "odd");
    let odd = &odd.context("odd has a verdict")?.reason;
    ensure!(odd.contains("section \"?odd/section\""), "{odd}");
    let no_map = wasm.map("inodes").is_err();
    ensure!(no_map, "a map that nobody uses was made");
    let notes = wasm.notes().join("; ");
    ensure!(
        notes.contains("inodes"),
        "nothing is said of the map: {notes}"
    );
    // Asked for, it is refused, and says why.
    for (program, why) in [("stores", "inodes"), ("odd", "?odd/section")] {
        let asked = Wasm::load(&device, object, OBJECT, &[program]);
        let refusal = asked.and_then(|mut wasm| wasm.attach()).err();
        let refusal = format!("{:#}", refusal.context("it is refused")?);
        ensure!(
            refusal.contains(program) && refusal.contains(why),
            "{refusal}"
        );
    }
    Ok(())
}

fn said_to_trap() -> Result<()> {
    let (device, object) = (guest::device()?, corpus::object(OBJECT)?);
    let input = Input::from_bytes(object, OBJECT, Path::new(OBJECT), None)?;
    let said = |program: &str| {
        let warnings = warnings::of(&input).into_iter();
        let mut warnings = warnings.filter(|w| w.program == program);
        warnings.next().map(|w| w.what)
    };
    for (program, word, traps) in [
        ("good", None, false),
        ("lacks", Some("will trap: bpf_kallsyms_lookup_name"), true),
        (
            "guarded",
            Some("traps if reached: bpf_kallsyms_lookup_name"),
            false,
        ),
    ] {
        let is_said = match (said(program), word) {
            (Some(said), Some(word)) => said.starts_with(word) && said.contains("verdicts.bpf.c:"),
            (said, word) => said.is_none() && word.is_none(),
        };
        ensure!(is_said, "{program}: {:?}", said(program));
        let mut wasm = Wasm::load(&device, object, OBJECT, &[program])?;
        wasm.attach()?;
        syscalls::getpgrp(CALLS);
        wasm.detach();
        let counts = wasm.counts()?;
        let count = counts.first().context("it ran")?;
        ensure!(count.runs >= CALLS, "{program}: {count:?}");
        ensure!((count.traps > 0) == traps, "{program}: {count:?}");
        if traps {
            let last = count.last_trap.as_deref().unwrap_or_default();
            let named =
                last.contains("bpf_kallsyms_lookup_name") && last.contains("verdicts.bpf.c:");
            ensure!(named, "{last}");
        }
    }
    Ok(())
}

/// The loader's own check left out: the module's bytes with another licence.
fn licence() -> Result<()> {
    let (device, object) = (guest::device()?, corpus::object("misfits")?);
    let load = |text: &[u8]| {
        let mut input = Input::from_bytes(object, "misfits", Path::new("misfits"), None)?;
        let at = input.wasm.windows(LICENSE_SECTION.len());
        let at = at
            .clone()
            .position(|bytes| bytes == LICENSE_SECTION.as_bytes());
        let at = at.context("a section of its own")? + LICENSE_SECTION.len();
        input.wasm[at..at + text.len()].copy_from_slice(text);
        Ok::<_, anyhow::Error>(load::load(&device, &input, &Options::default()))
    };
    load(b"GPL")?.context("under the GPL")?;
    let refusal = load(b"BSD")?
        .err()
        .context("refused under another licence")?;
    let refusal = refusal.to_string();
    for word in ["bpf.get_current_task", "GPL-compatible", "\"BSD\""] {
        ensure!(refusal.contains(word), "{refusal}");
    }
    Ok(())
}
