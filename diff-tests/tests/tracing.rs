//! How many of the tracing objects at hand call nothing that is not provided.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use abi::imports::{BPF, KFUNC};
use abi::sections::Attach;
use anyhow::Result;
use bpf2wasm::{Converted, Options, convert, embedded_objects};
use diff_tests::corpus;
use helpers::imports::host_function;
use loader::user::UserHost;
use wasmparser::{Parser, Payload};

/// Where the share is told.
const HELPERS: &str = include_str!("../../helpers/HELPERS.md");

/// What is unpacked by `cargo xtask setup`, and the installed tools.
fn files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    collect(&corpus::unpacked(""), &mut files);
    let list = Command::new("dpkg").args(["-L", "libbpf-tools"]).output();
    let list = String::from_utf8(list.unwrap().stdout).unwrap();
    files.extend(list.lines().map(PathBuf::from));
    files.retain(|path| path.is_file() && !path.is_symlink());
    files
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        match path.is_dir() && !path.is_symlink() {
            true => collect(&path, files),
            false => files.push(path),
        }
    }
}

fn is_tracing(converted: &Converted) -> bool {
    let programs = &converted.manifest.programs;
    let traces = |attach| {
        matches!(
            attach,
            Attach::Kprobe
                | Attach::Kretprobe
                | Attach::Ksyscall
                | Attach::Kretsyscall
                | Attach::KprobeMulti
                | Attach::KretprobeMulti
                | Attach::Uprobe
                | Attach::Uretprobe
                | Attach::UprobeMulti
                | Attach::UretprobeMulti
                | Attach::Usdt
                | Attach::Tracepoint
                | Attach::RawTracepoint
                | Attach::TpBtf
                | Attach::Fentry
                | Attach::Fexit
                | Attach::FmodRet
                | Attach::PerfEvent
        )
    };
    !programs.is_empty() && programs.iter().all(|program| traces(program.attach))
}

/// What it calls that is not provided.
fn missing(wasm: &[u8]) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for payload in Parser::new(0).parse_all(wasm) {
        let Payload::ImportSection(imports) = payload? else {
            continue;
        };
        for import in imports.into_imports() {
            let import = import?;
            let function = host_function::<UserHost>(import.module, import.name);
            let is_call = [BPF, KFUNC].contains(&import.module);
            if is_call && !function.is_some_and(|function| function.provided) {
                names.insert(import.name.to_owned());
            }
        }
    }
    Ok(names)
}

#[test]
fn nine_tenths_of_all_tracing_objects_have_all_that_they_call() {
    let (mut seen, mut complete) = (BTreeSet::new(), 0);
    let mut lacking = BTreeMap::<String, usize>::new();
    for file in files() {
        let bytes = fs::read(&file).unwrap_or_default();
        for object in embedded_objects(&bytes).unwrap_or_default() {
            let Ok(converted) = convert(object.bytes, "object", &Options::default()) else {
                continue;
            };
            if !is_tracing(&converted) || !seen.insert(object.bytes.to_vec()) {
                continue;
            }
            let missing = missing(&converted.wasm).unwrap();
            complete += usize::from(missing.is_empty());
            for name in missing {
                *lacking.entry(name).or_default() += 1;
            }
        }
    }
    println!(
        "{complete} of {} are complete; others lack {lacking:?}",
        seen.len()
    );
    let said = format!(
        "Of the {} tracing objects in Debian's packages, {complete} call nothing else",
        seen.len()
    );
    assert!(HELPERS.contains(&said), "HELPERS.md does not say: {said}");
    assert!(seen.len() > 60, "{} objects", seen.len());
    assert!(
        complete * 10 >= seen.len() * 9,
        "{complete} of {}",
        seen.len()
    );
}
