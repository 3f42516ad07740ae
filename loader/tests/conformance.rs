//! The conformance plugin, called as the runner calls it.

use std::io::Write;
use std::process::{Command, Stdio};

/// Exit status, stdout and stderr of the plugin.
fn plugin(program: &str, args: &[&str]) -> (Option<i32>, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_bpf2wasm-conformance"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A plugin that refuses its arguments does not read.
    let _ = child.stdin.take().unwrap().write_all(program.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap().trim().to_owned();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

fn r0(assembly: &str, memory: Option<&str>) -> String {
    let code = bpf2wasm::assemble(assembly).unwrap();
    let hex: Vec<_> = code.iter().map(|byte| format!("{byte:02x}")).collect();
    let [wasmi, wasmtime, jit] = ["wasmi", "wasmtime", "jit"].map(|engine| {
        let mut args = vec!["--engine", engine];
        args.extend(memory);
        let (status, out, error) = plugin(&hex.join(" "), &args);
        assert_eq!((status, error.as_str()), (Some(0), ""), "{assembly}");
        out
    });
    assert_eq!(wasmi, wasmtime);
    assert_eq!(wasmi, jit);
    wasmi
}

#[test]
fn memory_and_its_length_are_the_arguments() {
    assert_eq!(r0("mov r0, r2\nexit", None), "0");
    assert_eq!(r0("mov r0, r2\nexit", Some("aa bb cc")), "3");
    assert_eq!(r0("ldxh r0, [r1+1]\nexit", Some("aa bb cc")), "ccbb");
}

#[test]
fn results_have_64_bits() {
    assert_eq!(r0("mov r0, -1\nexit", None), "ffffffffffffffff");
}

#[test]
fn helper_5_returns_its_argument_also_through_a_register() {
    assert_eq!(r0("mov r1, 7\ncall 5\nexit", None), "7");
    let (status, out, error) = plugin(
        "b7 01 00 00 ff ff ff ff b7 02 00 00 05 00 00 00 8d 02 00 00 00 00 00 00
         b7 00 00 00 02 00 00 00 95 00 00 00 00 00 00 00",
        &[],
    );
    assert_eq!((status, out.as_str()), (Some(0), "2"), "{error}");
}

#[test]
fn failures_say_why() {
    for (program, reason) in [
        ("b7 00", "program"),
        ("zz", "no byte in hex"),
        ("1", "odd number"),
        ("ff 00 00 00 00 00 00 00", "program"),
        ("05 00 ff ff 00 00 00 00", "budget"),
    ] {
        let (status, _, error) = plugin(program, &["--fuel", "1000"]);
        assert_eq!(status, Some(1), "{program}");
        assert!(error.contains(reason), "{program}: {error}");
    }
}
