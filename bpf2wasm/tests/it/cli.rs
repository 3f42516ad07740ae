//! The command as a user meets it: exit codes, messages, files.

use std::process::{Command, Output};

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bpf2wasm"))
        .args(args)
        .output()
        .expect("the command")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn converts_a_tool() {
    let out = std::env::temp_dir().join(format!("bpf2wasm-{}.wasm", std::process::id()));
    let path = out.to_str().expect("a path");
    let output = run(&["convert", "/usr/sbin/vfsstat", "-o", path]);
    assert!(output.status.success(), "{}", stderr(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for wanted in [
        "programs (10)",
        "kprobe:vfs_read:pre",
        ".bss",
        "map..bss",
        "atomic.add64",
        "of eBPF",
    ] {
        assert!(text.contains(wanted), "{wanted} not in:\n{text}");
    }
    let wasm = std::fs::read(&out).expect("the module");
    assert!(bpf2wasm::check(&wasm).is_ok());
    let json = run(&["convert", "/usr/sbin/vfsstat", "-o", path, "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(report["manifest"]["programs"][0]["name"], "kprobe_vfs_read");
    std::fs::remove_file(out).expect("ours");
}

#[test]
fn refusals_are_1_and_usage_is_2() {
    let output = run(&["convert", "/bin/sh", "-o", "/dev/null"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("no BPF object is embedded in it"),
        "{}",
        stderr(&output)
    );
    let output = run(&["convert", "/nonexistent", "-o", "/dev/null"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("/nonexistent: No such file"),
        "{}",
        stderr(&output)
    );
    assert_eq!(run(&["convert"]).status.code(), Some(2));
    assert_eq!(run(&["no-such-verb"]).status.code(), Some(2));
}

#[test]
fn every_verb_prints_text_and_json() {
    let verbs: &[(&[&str], &str)] = &[
        (
            &["check", "/usr/sbin/opensnoop"],
            "tracepoint__syscalls__sys_enter_open",
        ),
        (&["inspect", "/usr/sbin/opensnoop"], "memory accesses"),
        (
            &["disasm", "/usr/sbin/opensnoop"],
            "call get_current_pid_tgid",
        ),
        (&["helpers"], "map_lookup_elem"),
    ];
    for (args, wanted) in verbs {
        let output = run(args);
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        assert!(
            String::from_utf8_lossy(&output.stdout).contains(wanted),
            "{args:?}: no {wanted:?}"
        );
        let json = run(&[args, &["--json"][..]].concat());
        serde_json::from_slice::<serde_json::Value>(&json.stdout).expect("JSON");
    }
}
