//! Honest code: what the compiler makes of all objects and modules at hand.
#![allow(dead_code, reason = "each test file takes a part of it")]

use std::path::{Path, PathBuf};
use std::process::Command;

use abi::imports::VALUE_MODULES;
use abi::native::DIGEST;
use bpf2wasm::{Options, convert, embedded_objects};
use wasmparser::{Parser, Payload, TypeRef};

// How the loader puts values into modules.
#[path = "../../../loader/src/constants.rs"]
#[allow(missing_docs, unreachable_pub, reason = "it is the loader's")]
mod constants;

/// Bytes of guest memory, if nothing else is said.
pub(crate) const MEMORY: u32 = 0x10_0000;

/// A module with its values.
pub(crate) struct Module {
    pub(crate) name: String,
    pub(crate) wasm: Vec<u8>,
}

/// Anything: nobody looks at it here.
pub(crate) fn digest(bytes: &[u8]) -> [u8; DIGEST] {
    let mut digest = [0; DIGEST];
    for (at, byte) in bytes.iter().enumerate() {
        digest[at % DIGEST] ^= byte.rotate_left(at as u32);
    }
    digest
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.expect("an entry").path();
        match path.symlink_metadata().expect("metadata").file_type() {
            kind if kind.is_dir() => collect(&path, files),
            kind if kind.is_file() => files.push(path),
            _ => {}
        }
    }
    files.sort();
}

/// Debian's tools, and what `cargo xtask setup` fetched.
fn object_files() -> Vec<PathBuf> {
    let output = Command::new("dpkg").args(["-L", "libbpf-tools"]).output();
    let list = String::from_utf8(output.expect("dpkg").stdout).expect("paths");
    let installed = list.lines().map(PathBuf::from);
    let mut files: Vec<PathBuf> = installed
        .filter(|p| p.is_file() && !p.is_symlink())
        .collect();
    collect(&root().join("target/vm/objects"), &mut files);
    // The corpus, where the comparing tests were built.
    let mut built = Vec::new();
    if let Ok(folders) = std::fs::read_dir(root().join("target/debug/build")) {
        for folder in folders.flatten() {
            let name = folder.file_name();
            if name.to_string_lossy().starts_with("wprobe-diff-tests-") {
                collect(&folder.path().join("out"), &mut built);
            }
        }
    }
    files.extend(
        built
            .into_iter()
            .filter(|p| p.extension().is_some_and(|e| e == "o")),
    );
    files
}

/// How many values a module imports.
fn values(wasm: &[u8]) -> usize {
    let mut count = 0;
    for payload in Parser::new(0).parse_all(wasm) {
        let Ok(Payload::ImportSection(section)) = payload else {
            continue;
        };
        for import in section.into_imports() {
            let import = import.expect("an import");
            let is_value = matches!(import.ty, TypeRef::Global(_));
            count += usize::from(is_value && VALUE_MODULES.contains(&import.module));
        }
    }
    count
}

/// `wasm` with values, of which most are small, as offsets are.
pub(crate) fn with_values(wasm: &[u8], seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let value = |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        match state >> 60 {
            0 => 0,
            1..=3 => 1,
            4 => state,
            5 => 0x5742_d000_0001_0000 + (state >> 48),
            _ => state >> 52 & !7,
        }
    };
    let values: Vec<u64> = (0..values(wasm)).map(value).collect();
    constants::put_in(wasm, &values).unwrap_or_else(|_| wasm.to_vec())
}

/// Every object at hand that converts, with values made of `seed`.
pub(crate) fn objects(seed: u64) -> Vec<Module> {
    let mut modules = Vec::new();
    for path in object_files() {
        let bytes = std::fs::read(&path).unwrap_or_default();
        let mut found = embedded_objects(&bytes).unwrap_or_default();
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        for object in found.drain(..) {
            let name = format!("{file}:{}", object.name);
            if let Ok(converted) = convert(object.bytes, &name, &Options::default()) {
                let wasm = with_values(&converted.wasm, seed);
                modules.push(Module { name, wasm });
            }
        }
    }
    modules
}

/// The modules by hand, those that mean ill among them.
pub(crate) fn by_hand() -> Vec<Module> {
    let mut files = Vec::new();
    collect(&root().join("corpus/modules"), &mut files);
    let read = |path: PathBuf| {
        let name = path.file_name()?.to_string_lossy().into_owned();
        let wasm = wat::parse_file(&path).ok()?;
        let wasm = with_values(&wasm, 7);
        Some(Module { name, wasm })
    };
    files.into_iter().filter_map(read).collect()
}

/// Its image, if the compiler takes it.
pub(crate) fn compiled(wasm: &[u8], memory: u32) -> Result<Vec<u8>, String> {
    compiler::compile(wasm, memory, digest, &|| false).map_err(|refused| refused.to_string())
}
