//! Values of CO-RE relocations, of every libbpf tool that Debian ships: ours against what libbpf patches into the
//! same instructions on this kernel.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use abi::imports::{POISON, resized};
use abi::manifest::CoreRelocation;
use anyhow::{Context, Result, ensure};
use bpf2wasm::btf::Btf;
use loader::core_values::{Target, evaluate};
use loader::module_btf::Modules;
use loader::open::Input;
use loader::values::KERNEL_BTF;

use super::Case;
use crate::compare::counters;
use crate::oracle::native::Native;
use crate::oracle::relocations::{self, Patch, Relocation};
use crate::wasm::Wasm;
use crate::workload::syscalls;
use crate::{corpus, guest};

/// The tests of this area.
pub const CASES: &[Case] = &[
    ("core_values::corpus_equals_libbpf", of_corpus),
    ("core_values::every_libbpf_tool_equals_libbpf", of_tools),
    ("core_values::types_of_modules_equal_native", of_modules),
];

/// Values for native programs and for those in wasm, of types that only a kernel module has.
fn of_modules() -> Result<()> {
    const EVENTS: u64 = 10;
    guest::succeed(Command::new("modprobe").arg("ext4"))?;
    let object = corpus::object("modtypes")?;
    let mut native = Native::load(object, "modtypes", &["module_types"])?;
    let mut wasm = Wasm::load(&guest::device()?, object, "modtypes", &["module_types"])?;
    native.attach()?;
    wasm.attach()?;
    syscalls::getpgrp(EVENTS);
    native.detach();
    wasm.detach();
    let [theirs, ours] = [native.section(".bss")?, wasm.section(".bss")?];
    ensure!(theirs == ours, "native {theirs:02x?}, wasm {ours:02x?}");
    let values = counters(&ours);
    // An inode is in the middle of what ext4 knows of it.
    let known = values[0] == 1 && values[2] > 0 && values[1] > values[2] && values[5] == 0;
    ensure!(known && values[6] >= EVENTS, "{values:?}");
    Ok(())
}

fn of_corpus() -> Result<()> {
    guest::succeed(Command::new("modprobe").arg("ext4"))?;
    let kernel = kernel()?;
    let modules = Modules::of(Arc::clone(&kernel));
    let target = Target::new(&kernel).with_modules(&modules);
    for (object, least) in [
        ("asks", 11),
        ("modtypes", 6),
        ("mkdirsnoop", 2),
        ("mkdirret", 3),
        ("poison", 2),
        ("relocations", 21),
        ("resized", 5),
        ("misfits", 2),
    ] {
        let compared = compare(object, corpus::object(object)?, &target)?;
        ensure!(compared >= least, "{object}: only {compared} relocations");
    }
    Ok(())
}

fn of_tools() -> Result<()> {
    let kernel = kernel()?;
    let modules = Modules::of(Arc::clone(&kernel));
    let target = Target::new(&kernel).with_modules(&modules);
    let (mut tools, mut compared) = (0, 0);
    let mut failures = Vec::new();
    for (name, object) in guest::libbpf_tools()? {
        tools += 1;
        match compare(&name, &object, &target) {
            Ok(count) => compared += count,
            Err(error) => failures.push(format!("{name}: {error:#}")),
        }
    }
    println!("{tools} objects, {compared} relocations equal");
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    ensure!(
        tools == 52 && compared >= 200,
        "{tools} objects, {compared} relocations are too few"
    );
    Ok(())
}

fn kernel() -> Result<Arc<Btf>> {
    let bytes = fs::read(KERNEL_BTF).context(KERNEL_BTF)?;
    Ok(Arc::new(Btf::parse(&bytes)?))
}

/// `BPF_CORE_ENUMVAL_EXISTS`, `BPF_CORE_ENUMVAL_VALUE`.
const ENUMVAL: [u32; 2] = [10, 11];

/// Compares every relocation of object `elf` on the running kernel; how many there were.
fn compare(name: &str, elf: &[u8], target: &Target<'_>) -> Result<usize> {
    let input = Input::from_bytes(elf, name, Path::new(name), None)?;
    let compared = against_libbpf(&input, elf, target, None)?;
    let wrong = [compared.unserved, compared.different].concat();
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(compared.equal)
}

/// What came of comparing an object's relocations.
#[derive(Debug, Default)]
pub struct Compared {
    /// How many are equal.
    pub equal: usize,
    /// Why libbpf gives no value, for each where it gives none.
    pub unserved: Vec<String>,
    /// What differs.
    pub different: Vec<String>,
}

/// Compares every relocation of object `elf` with what libbpf makes of it. Both know the kernel by `target`, which libbpf reads from `file`, by
/// default the running one's.
pub fn against_libbpf(
    input: &Input,
    elf: &[u8],
    target: &Target<'_>,
    file: Option<&Path>,
) -> Result<Compared> {
    let mut compared = Compared::default();
    let relocations = input.manifest.as_ref().map_or(&[][..], |m| &m.relocations);
    let Some(local) = input.btf().filter(|_| !relocations.is_empty()) else {
        return Ok(compared);
    };
    let ours = evaluate(&local, relocations, target);
    let theirs = relocations::of(elf, file)?;
    for (relocation, value) in relocations.iter().zip(ours) {
        let Some(patch) = patch(&local, relocation, &theirs)? else {
            compared.unserved.push("libbpf never came to it".to_owned());
            continue;
        };
        let expected = match patch {
            Patch::Value(value) => value,
            Patch::Resized(offset, bytes) => resized(offset, bytes),
            Patch::Poison => POISON as u64,
        };
        if value == Ok(expected) {
            compared.equal += 1;
        } else {
            let import = &relocation.import;
            let different = format!("{import}: {value:x?}, libbpf {patch:x?}");
            compared.different.push(different);
        }
    }
    Ok(compared)
}

/// What libbpf did for `relocation`.
fn patch(
    local: &Btf,
    relocation: &CoreRelocation,
    theirs: &BTreeMap<Relocation, Patch>,
) -> Result<Option<Patch>> {
    let access = access(local, relocation).with_context(|| relocation.import.clone())?;
    let load = relocation.access_bytes != 0;
    let key = |load| Relocation {
        kind: relocation.kind,
        type_id: relocation.type_id,
        access: access.clone(),
        load,
    };
    let poison = || theirs.get(&key(false)).filter(|p| **p == Patch::Poison);
    Ok(theirs.get(&key(load)).or_else(poison).copied())
}

/// The access string as libbpf words it: an enumerator by its name.
fn access(btf: &Btf, relocation: &CoreRelocation) -> Option<String> {
    let root = btf.resolve(relocation.type_id)?;
    match ENUMVAL.contains(&relocation.kind) {
        false => Some(relocation.access.clone()),
        true => {
            let enumerator = root.enumerators().nth(relocation.access.parse().ok()?)?;
            Some(enumerator.name.to_owned())
        }
    }
}
