//! Helper functions, native on the running kernel by `BPF_PROG_TEST_RUN` and in the user-space runtime on
//! both engines: the same programs, the same results. Nothing is attached.

use std::collections::BTreeSet;
use std::path::Path;

use abi::helpers::{HELPERS, KFUNCS};
use abi::imports::{BPF, KFUNC};
use anyhow::{Context, Result};
use diff_tests::corpus;
use diff_tests::oracle::native::Native;
use helpers::imports::host_function;
use loader::open::Input;
use loader::user::{self, EngineKind, UserHost};
use wasmparser::{Parser, Payload};

/// Where objects have what their calls gave.
const RESULTS: &str = ".bss.results";

/// A section after a native run.
fn native(object: &str, program: &str, section: &str) -> Result<Vec<u8>> {
    let mut native = Native::load(corpus::object(object)?, object, &[program])?;
    native.test_run(program)?;
    native.section(section)
}

/// All that run modules here.
const ENGINES: [EngineKind; 3] = [EngineKind::Wasmi, EngineKind::Wasmtime, EngineKind::Jit];

/// A section after a run on `engine`.
fn translated(object: &str, program: &str, section: &str, engine: EngineKind) -> Result<Vec<u8>> {
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
    let map = manifest.maps.iter().position(|map| map.name == section);
    let map = sandbox
        .space()
        .map(map.context("no such section")? as u32)
        .context("no map")?;
    let offset = map.first_value().context("a section has an address")?;
    let mut bytes = vec![0; map.spec().value_size as usize];
    sandbox
        .bytes(offset, map.spec().value_size)
        .read(&mut bytes);
    Ok(bytes)
}

/// `struct result` of `calls.h`: what a call gave, and wrote.
#[derive(Debug, PartialEq)]
struct Called {
    line: i64,
    ret: i64,
    text: String,
}

fn results(section: &[u8]) -> Vec<Called> {
    let number = |bytes: &[u8]| i64::from_ne_bytes(*bytes.first_chunk().unwrap());
    let result = |slot: &[u8]| Called {
        line: number(slot),
        ret: number(&slot[8..]),
        text: slot[16..].escape_ascii().to_string(),
    };
    section.chunks(80).map(result).collect()
}

/// What a translated module imports, and what it has values for: `module.item`.
fn imports(wasm: &[u8]) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for payload in Parser::new(0).parse_all(wasm) {
        if let Payload::ImportSection(imports) = payload? {
            for import in imports.into_imports() {
                let import = import?;
                names.insert(format!("{}.{}", import.module, import.name));
            }
        }
    }
    Ok(names)
}

/// The guest test `calls::equal_native` runs every program of these objects under both; here is all that they call.
#[test]
fn every_helper_is_compared_with_the_kernels() {
    let mut called = BTreeSet::new();
    for (name, object) in corpus::calls() {
        let input = Input::from_bytes(object, name, Path::new(name), None).unwrap();
        called.extend(imports(&input.wasm).unwrap());
    }
    let helpers = HELPERS.iter().filter(|helper| {
        host_function::<UserHost>(BPF, helper.name).is_some_and(|function| function.provided)
    });
    let helpers = helpers.map(|helper| format!("{BPF}.{}", helper.name));
    let kfuncs = KFUNCS.iter().map(|name| format!("{KFUNC}.{name}"));
    let provided: Vec<String> = helpers.chain(kfuncs).collect();
    assert!(provided.len() > 60);
    let missing = provided.iter().filter(|name| !called.contains(*name));
    assert_eq!(missing.collect::<Vec<_>>(), [] as [&String; 0]);
}

/// Loops and walks over maps, with and without an end.
#[test]
fn callbacks_are_called_as_by_the_kernel() {
    for program in ["loops", "elements"] {
        let expected =
            diff_tests::compare::counters(&native("callbacks", program, ".bss").unwrap());
        assert!(expected.iter().filter(|result| **result != 0).count() > 7);
        for engine in ENGINES {
            let found = translated("callbacks", program, ".bss", engine).unwrap();
            let found = diff_tests::compare::counters(&found);
            assert_eq!(found, expected, "{program}, {engine:?}");
        }
    }
}

#[test]
fn strings_are_formatted_parsed_and_compared_as_by_the_kernel() {
    for program in ["format", "parse", "order"] {
        let native = native("calls_text", program, RESULTS).unwrap();
        let expected = results(&native);
        assert!(expected.iter().filter(|result| result.ret != 0).count() > 2);
        for engine in ENGINES {
            let found = translated("calls_text", program, RESULTS, engine).unwrap();
            for (found, expected) in results(&found).iter().zip(&expected) {
                assert_eq!(found, expected, "{program}, {engine:?}");
            }
        }
    }
}

/// What programs of an object give and leave in `.bss`, on every engine as natively.
fn equal_native(object: &str, programs: &[&str]) {
    for program in programs {
        for section in [RESULTS, ".bss"] {
            let expected = native(object, program, section).unwrap();
            assert!(section == ".bss" || expected.iter().any(|byte| *byte != 0));
            for engine in ENGINES {
                let found = translated(object, program, section, engine).unwrap();
                match section {
                    RESULTS => {
                        assert_eq!(results(&found), results(&expected), "{program}, {engine:?}")
                    }
                    _ => assert_eq!(found, expected, "{program}, {engine:?}"),
                }
            }
        }
    }
}

/// This kernel has the functions that `bpf_for` calls.
#[test]
fn ranges_are_gone_through_as_by_the_kernel() {
    equal_native("calls_iter", &["range", "nest"]);
}

#[test]
fn dynptrs_lead_where_the_kernels_do() {
    equal_native("calls_dynptr", &["memory", "records"]);
    equal_native("calls_dynptr_kfunc", &["parts"]);
}

/// Tail calls from functions that programs call, and what their callers find then.
#[test]
fn functions_tail_calls_are_as_the_kernels() {
    const NAME: &str = "tailwithin";
    let object = corpus::object(NAME).unwrap();
    let mut native = Native::load(object, NAME, &["within", "leaf", "link", "deeper"]).unwrap();
    native.test_run("within").unwrap();
    let expected = diff_tests::compare::counters(&native.section(".bss").unwrap());
    assert!(expected.iter().filter(|count| **count != 0).count() > 7);
    for engine in ENGINES {
        let found = translated(NAME, "within", ".bss", engine).unwrap();
        let found = diff_tests::compare::counters(&found);
        assert_eq!(found, expected, "{engine:?}");
    }
}
