//! Helper functions, native on the running kernel by `BPF_PROG_TEST_RUN` and in the user-space runtime on
//! both engines: the same programs, the same results. Nothing is attached.

use std::path::Path;

use anyhow::{Context, Result};
use diff_tests::corpus;
use diff_tests::oracle::native::Native;
use loader::open::Input;
use loader::user::{self, EngineKind};

/// `.bss` after a native run.
fn native(object: &str, program: &str) -> Result<Vec<u8>> {
    let mut native = Native::load(corpus::object(object)?, object, &[program])?;
    native.test_run(program)?;
    native.section(".bss")
}

/// `.bss` after a run on `engine`.
fn translated(object: &str, program: &str, engine: EngineKind) -> Result<Vec<u8>> {
    let input = Input::from_bytes(corpus::object(object)?, object, Path::new(object), None)?;
    let manifest = input
        .manifest
        .clone()
        .context("a translated module has a manifest")?;
    let found = manifest.programs.iter().find(|p| p.name == program);
    let export = &found
        .with_context(|| format!("no program {program}"))?
        .export;
    let mut sandbox = user::load(&input, engine, 1 << 24, None)?;
    sandbox.run(export, &[0; 8])?;
    let bss = manifest.maps.iter().position(|map| map.name == ".bss");
    let map = sandbox
        .space()
        .map(bss.context("no .bss")? as u32)
        .context("no map")?;
    let offset = map.first_value().context(".bss has an address")?;
    let mut bytes = vec![0; map.spec().value_size as usize];
    sandbox
        .bytes(offset, map.spec().value_size)
        .read(&mut bytes);
    Ok(bytes)
}

/// `struct result` of `strings.bpf.c`.
#[derive(Debug, PartialEq)]
struct StringResult {
    ret: i64,
    number: i64,
    text: String,
}

fn string_results(bss: &[u8]) -> Vec<StringResult> {
    let number = |bytes: &[u8]| i64::from_ne_bytes(*bytes.first_chunk().unwrap());
    let result = |slot: &[u8]| StringResult {
        ret: number(slot),
        number: number(&slot[8..]),
        text: slot[16..].escape_ascii().to_string(),
    };
    bss.chunks(80).map(result).collect()
}

/// Loops and walks over maps, with and without an end.
#[test]
fn callbacks_are_called_as_by_the_kernel() {
    for program in ["loops", "elements"] {
        let expected = diff_tests::compare::counters(&native("callbacks", program).unwrap());
        assert!(expected.iter().filter(|result| **result != 0).count() > 7);
        for engine in [EngineKind::Wasmi, EngineKind::Wasmtime] {
            let found = translated("callbacks", program, engine).unwrap();
            let found = diff_tests::compare::counters(&found);
            assert_eq!(found, expected, "{program}, {engine:?}");
        }
    }
}

#[test]
fn strings_are_formatted_parsed_and_compared_as_by_the_kernel() {
    for program in ["format", "parse", "order"] {
        let expected = string_results(&native("strings", program).unwrap());
        assert!(expected.iter().filter(|result| result.ret != 0).count() > 2);
        for engine in [EngineKind::Wasmi, EngineKind::Wasmtime] {
            let found = string_results(&translated("strings", program, engine).unwrap());
            for (slot, (found, expected)) in found.iter().zip(&expected).enumerate() {
                assert_eq!(found, expected, "{program}, slot {slot}, {engine:?}");
            }
        }
    }
}
