//! Values of CO-RE relocations, of every libbpf tool that Debian ships: ours against what libbpf patches into the
//! same instructions on this kernel.

use std::fs;
use std::path::Path;
use std::process::Command;

use abi::imports::{POISON, resized};
use abi::manifest::CoreRelocation;
use anyhow::{Context, Result, ensure};
use bpf2wasm::btf::Btf;
use loader::core_values::{Target, evaluate};
use loader::open::Input;
use loader::values::KERNEL_BTF;

use super::Case;
use crate::oracle::relocations::{self, Patch, Relocation};
use crate::{corpus, guest};

/// The tests of this area.
pub const CASES: &[Case] = &[
    ("core_values::corpus_equals_libbpf", of_corpus),
    ("core_values::every_libbpf_tool_equals_libbpf", of_tools),
];

fn of_corpus() -> Result<()> {
    let target = target()?;
    for (object, least) in [
        ("mkdirsnoop", 2),
        ("mkdirret", 3),
        ("poison", 2),
        ("relocations", 21),
        ("resized", 8),
    ] {
        let compared = compare(object, corpus::object(object)?, &target)?;
        ensure!(compared >= least, "{object}: only {compared} relocations");
    }
    Ok(())
}

fn of_tools() -> Result<()> {
    let target = target()?;
    let files = guest::succeed(Command::new("dpkg-query").args(["-L", "libbpf-tools"]))?;
    let (mut tools, mut compared) = (0, 0);
    let mut failures = Vec::new();
    for path in String::from_utf8(files.stdout)?
        .lines()
        .filter(|path| path.starts_with("/usr/sbin/"))
    {
        let file = fs::read(path)?;
        let Ok(objects) = bpf2wasm::embedded_objects(&file) else {
            continue;
        };
        for object in objects {
            tools += 1;
            match compare(path, object.bytes, &target) {
                Ok(count) => compared += count,
                Err(error) => failures.push(format!("{path}: {error:#}")),
            }
        }
    }
    println!("{tools} objects, {compared} relocations equal");
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    ensure!(
        tools >= 50 && compared >= 200,
        "{tools} objects, {compared} relocations are too few"
    );
    Ok(())
}

fn target() -> Result<Btf> {
    Ok(Btf::parse(&fs::read(KERNEL_BTF).context(KERNEL_BTF)?)?)
}

/// `BPF_CORE_ENUMVAL_EXISTS`, `BPF_CORE_ENUMVAL_VALUE`.
const ENUMVAL: [u32; 2] = [10, 11];

/// Compares every relocation of object `elf`; how many there were.
fn compare(name: &str, elf: &[u8], target: &Btf) -> Result<usize> {
    let input = Input::from_bytes(elf, name, Path::new(name), None)?;
    let relocations = input.manifest.as_ref().map_or(&[][..], |m| &m.relocations);
    let Some(local) = input.btf().filter(|_| !relocations.is_empty()) else {
        return Ok(0);
    };
    let ours = evaluate(&local, relocations, &Target::new(target));
    let theirs = relocations::of(elf)?;
    for (relocation, value) in relocations.iter().zip(ours) {
        let value = value.with_context(|| relocation.import.clone())?;
        let mut key = Relocation {
            kind: relocation.kind,
            type_id: relocation.type_id,
            access: access(&local, relocation).with_context(|| relocation.import.clone())?,
            load: relocation.access_bytes != 0,
        };
        let mut patch = theirs.get(&key);
        if patch.is_none() {
            key.load = false;
            patch = theirs.get(&key).filter(|p| **p == Patch::Poison);
        }
        let expected = match patch.with_context(|| format!("libbpf never saw {key:?}"))? {
            Patch::Value(value) => *value,
            Patch::Resized(offset, bytes) => resized(*offset, *bytes),
            Patch::Poison => POISON as u64,
        };
        ensure!(
            value == expected,
            "{}: {value:#x}, libbpf {patch:?}",
            relocation.import
        );
    }
    Ok(relocations.len())
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
