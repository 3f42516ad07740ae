//! Values of CO-RE relocations, of every libbpf tool that Debian ships: ours against what libbpf patches into the
//! same instructions on this kernel.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

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
        ("resized", 5),
        ("misfits", 2),
    ] {
        let compared = compare(object, corpus::object(object)?, &target)?;
        ensure!(compared >= least, "{object}: only {compared} relocations");
    }
    Ok(())
}

fn of_tools() -> Result<()> {
    let target = target()?;
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

fn target() -> Result<Btf> {
    Ok(Btf::parse(&fs::read(KERNEL_BTF).context(KERNEL_BTF)?)?)
}

/// `BPF_CORE_ENUMVAL_EXISTS`, `BPF_CORE_ENUMVAL_VALUE`.
const ENUMVAL: [u32; 2] = [10, 11];

/// Compares every relocation of object `elf` on the running kernel; how many there were.
fn compare(name: &str, elf: &[u8], target: &Btf) -> Result<usize> {
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
    target: &Btf,
    file: Option<&Path>,
) -> Result<Compared> {
    let mut compared = Compared::default();
    let relocations = input.manifest.as_ref().map_or(&[][..], |m| &m.relocations);
    let Some(local) = input.btf().filter(|_| !relocations.is_empty()) else {
        return Ok(compared);
    };
    let ours = evaluate(&local, relocations, &Target::new(target));
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
