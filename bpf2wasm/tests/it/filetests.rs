//! Filetests: one file is one test. `tests/filetests/readme.bpf` explains the format.
//!
//! `BLESS=1` rewrites the expected wasm.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use abi::manifest::Map;
use bpf2wasm::{Converted, Options, Raw, assemble, convert_raw, instructions};

use crate::support::engine::Machine;
use crate::support::{array, kernel};

#[test]
fn all_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/filetests");
    let mut files = Vec::new();
    collect(&root, &mut files);
    assert!(!files.is_empty());
    let native = kernel::available();
    let failures: Vec<String> = files
        .iter()
        .filter_map(|path| {
            let name = path
                .strip_prefix(&root)
                .unwrap_or(path)
                .display()
                .to_string();
            run(path, native)
                .err()
                .map(|error| format!("{name}: {error}"))
        })
        .collect();
    println!("{} files, {} failures", files.len(), failures.len());
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

/// Every instruction, in every width, stands in some file.
#[test]
fn files_cover_the_table() {
    let mut files = Vec::new();
    collect(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/filetests"),
        &mut files,
    );
    let texts: Vec<String> = files
        .iter()
        .map(|f| std::fs::read_to_string(f).expect("text"))
        .collect();
    let used: std::collections::BTreeSet<&str> = texts
        .iter()
        .flat_map(|t| t.lines())
        .filter_map(|l| l.split_whitespace().next())
        .collect();
    let missing: Vec<String> = instructions()
        .map(|i| i.mnemonic)
        .filter(|m| !used.contains(m.as_str()))
        .collect();
    assert!(missing.is_empty(), "no filetest uses {missing:?}");
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = std::fs::read_dir(folder)
        .expect("a folder")
        .map(|e| e.expect("an entry").path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|e| e == "bpf") {
            files.push(path);
        }
    }
}

/// The directives of a file.
struct Case<'a> {
    section: &'a str,
    maps: Vec<Map>,
    /// Context bytes and expected r0 or trap.
    runs: Vec<(Vec<u8>, Result<u32, &'a str>)>,
    /// What packet loads see.
    packet: Vec<u8>,
    error: Option<&'a str>,
    /// Why the kernel is not asked.
    not_native: bool,
    wasm: Option<String>,
}

fn parse(text: &str) -> Result<Case<'_>, String> {
    let (mut section, mut maps, mut runs) = ("syscall", Vec::new(), Vec::new());
    let (mut packet, mut error, mut not_native) = (Vec::new(), None, false);
    let (head, wasm) = match text.split_once(";; wasm:\n") {
        Some((head, wasm)) => (head, Some(wasm)),
        None => (text, None),
    };
    for line in head.lines().filter_map(|l| l.trim().strip_prefix(";; ")) {
        let Some((key, value)) = line.split_once(": ") else {
            continue;
        };
        match key {
            "section" => section = value,
            "map" => maps.push(map(value).ok_or(format!("bad map {value:?}"))?),
            "run" => runs.push(outcome(value).ok_or(format!("bad run {value:?}"))?),
            "packet" => packet = bytes(value).ok_or(format!("bad packet {value:?}"))?,
            "error" => error = Some(value),
            "not native" => not_native = true,
            _ => {}
        }
    }
    let wasm = wasm.map(|w| {
        w.lines()
            .map(|l| l.trim_start_matches(';').strip_prefix(' ').unwrap_or(""))
            .fold(String::new(), |all, l| all + l + "\n")
    });
    Ok(Case {
        section,
        maps,
        runs,
        packet,
        error,
        not_native,
        wasm,
    })
}

/// `NAME VALUE_SIZE ENTRIES`.
fn map(text: &str) -> Option<Map> {
    let mut words = text.split(' ');
    Some(array(
        words.next()?,
        words.next()?.parse().ok()?,
        words.next()?.parse().ok()?,
    ))
}

/// Hexadecimal digits, spaces between.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().filter(|b| *b != b' ').collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.chunks(2).map(byte).collect()
}

/// `(CONTEXT) == R0` or `(CONTEXT) traps TEXT`.
fn outcome(text: &str) -> Option<(Vec<u8>, Result<u32, &str>)> {
    let (context, rest) = text.strip_prefix('(')?.split_once(')')?;
    let context = bytes(context)?;
    let rest = rest.trim();
    if let Some(trap) = rest.strip_prefix("traps ") {
        return Some((context, Err(trap)));
    }
    let number = rest.strip_prefix("== ")?;
    let value = match number.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok()?,
        None => number.parse::<i64>().ok()? as u32,
    };
    Some((context, Ok(value)))
}

fn run(path: &Path, native: bool) -> Result<(), String> {
    let text = std::fs::read_to_string(path).map_err(|e| e.to_string())?;
    let case = parse(&text)?;
    let code = assemble(&text).map_err(|e| e.to_string())?;
    let raw = Raw {
        code: &code,
        section: case.section,
        maps: &case.maps,
        license: "GPL",
    };
    let converted = match (convert_raw(&raw, "test", &Options::default()), case.error) {
        (Ok(converted), None) => converted,
        (Err(error), Some(wanted)) => {
            let error = error.to_string();
            return if error.ends_with(wanted) {
                Ok(())
            } else {
                Err(format!("refused: {error}"))
            };
        }
        (Ok(_), Some(wanted)) => return Err(format!("converted, but should be refused: {wanted}")),
        (Err(error), None) => return Err(error.to_string()),
    };
    for (context, wanted) in &case.runs {
        let mut machine = Machine::new(&converted, &[]);
        machine.set_packet(&case.packet);
        let seen = machine.run(context);
        if seen.result.as_ref().map_err(String::as_str) != wanted.as_ref().map_err(|e| *e) {
            return Err(format!("wasm: {:?}, expected {wanted:?}", seen.result));
        }
        if native && !case.not_native && case.section == "syscall" {
            let reference = kernel::Program::load(&code, &case.maps)?.run(context);
            if reference != seen {
                return Err(format!("the kernel: {reference:?}\nwasm: {seen:?}"));
            }
        }
    }
    compare(path, &text, &case, &converted)
}

/// Compares the translation with the blessed one, or blesses it.
fn compare(path: &Path, text: &str, case: &Case<'_>, converted: &Converted) -> Result<(), String> {
    let body = functions(&converted.wasm)?;
    if case.wasm.as_ref() == Some(&body) {
        return Ok(());
    }
    if std::env::var_os("BLESS").is_none() {
        return Err(format!("another translation (BLESS=1 accepts it):\n{body}"));
    }
    let head = text
        .split_once(";; wasm:\n")
        .map_or(text, |(head, _)| head)
        .trim_end();
    let mut blessed = format!("{head}\n\n;; wasm:\n");
    for line in body.lines() {
        let _ = writeln!(blessed, "{}", format!(";; {line}").trim_end());
    }
    std::fs::write(path, blessed).map_err(|e| e.to_string())
}

/// The functions of a module as text.
fn functions(wasm: &[u8]) -> Result<String, String> {
    let text = wasmprinter::print_bytes(wasm).map_err(|e| e.to_string())?;
    let mut kept = String::new();
    let mut inside = false;
    for line in text.lines() {
        inside = line.starts_with("  (func ") || inside && !line.starts_with("  (") && line != ")";
        if inside {
            kept += line.strip_prefix("  ").unwrap_or(line);
            kept.push('\n');
        }
    }
    Ok(kept)
}
