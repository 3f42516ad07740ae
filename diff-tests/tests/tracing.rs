//! How many of the tracing objects at hand call nothing that is not provided.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use abi::imports::{BPF, KFUNC};
use abi::sections::Attach;
use abi::traps::Trap;
use anyhow::Result;
use bpf2wasm::{Converted, Options, Raw, assemble, convert, convert_raw, embedded_objects};
use diff_tests::corpus;
use helpers::imports::host_function;
use loader::open::Input;
use loader::user::{self, EngineKind, UserHost};
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

/// Runs every program of Debian's tracing objects in this process, on a context of zeros: whoever traps for want of a helper was said to,
/// at that place; own variants, which are known to get there, do trap.
#[test]
fn who_is_said_to_trap_traps_and_nobody_else_does() {
    let mut ran = 0;
    let mut seen = BTreeSet::new();
    for file in files() {
        let bytes = fs::read(&file).unwrap_or_default();
        for object in embedded_objects(&bytes).unwrap_or_default() {
            if seen.insert(object.bytes.to_vec()) {
                ran += run_all(object.bytes).unwrap();
            }
        }
    }
    assert!(ran > 200, "{ran} programs ran");
}

/// How many programs of `object` ran.
fn run_all(object: &[u8]) -> Result<usize> {
    let Ok(input) = Input::from_bytes(object, "object", Path::new("object"), None) else {
        return Ok(0);
    };
    let programs = input.manifest.as_ref().map_or(&[][..], |m| &m.programs);
    // What needs another kernel than this one is not loaded here.
    let Ok(mut sandbox) = user::load(&input, EngineKind::Wasmi, 1 << 20, None) else {
        return Ok(0);
    };
    for program in programs {
        let Err(trapped) = sandbox.run(&program.export, &[0; 256]) else {
            continue;
        };
        let said = program.lacks.iter().any(|l| Some(l.site) == trapped.site);
        assert_eq!(
            trapped.trap == Trap::NoHelper,
            said,
            "{}: {trapped:?}",
            program.name
        );
    }
    Ok(programs.len())
}

/// Variants of one program: what is said of each, and what becomes of it.
#[test]
fn variants_trap_as_said() {
    for (code, said, traps) in [
        ("call 179\nexit", true, true),
        (
            "mov r0, 0\njne r0, 0, far\nexit\nfar:\ncall 179\nexit",
            true,
            false,
        ),
        ("call 5\nexit", false, false),
        ("call 4242\nexit", true, true),
    ] {
        let raw = Raw {
            code: &assemble(code).unwrap(),
            section: "kprobe/x",
            maps: &[],
            license: "GPL",
        };
        let converted = convert_raw(&raw, "x", &Options::default()).unwrap();
        let lacks = &converted.manifest.programs[0].lacks;
        assert_eq!(!lacks.is_empty(), said, "{code}");
        let input = Input::from_wasm(converted.wasm.clone(), "x").unwrap();
        let mut sandbox = user::load(&input, EngineKind::Wasmi, 1 << 20, None).unwrap();
        let result = sandbox.run(&converted.manifest.programs[0].export, &[0; 8]);
        let trapped = result.err();
        assert_eq!(trapped.is_some(), traps, "{code}: {trapped:?}");
        if let Some(trapped) = trapped {
            assert_eq!(trapped.site, Some(lacks[0].site));
        }
    }
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
