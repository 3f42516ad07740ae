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
            "call get_current_pid_tgid                                | ",
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

/// Every eBPF instruction that is not dead stands beside wasm, and all of the wasm is shown once. (A tool to which the
/// translator adds no function.)
#[test]
fn disasm_shows_all_of_the_wasm() {
    let file = std::fs::read("/usr/sbin/tcplife").expect("package libbpf-tools");
    let object = bpf2wasm::embedded_objects(&file).expect("an object")[0].bytes;
    let options = bpf2wasm::Options::default();
    let converted = bpf2wasm::convert(object, "tcplife", &options).expect("it converts");
    let spans = &converted.spans;
    for pair in spans.windows(2) {
        assert!(pair[0].bytes.end <= pair[1].bytes.start, "{pair:?}");
    }
    let bytes: usize = spans.iter().map(|s| s.bytes.len()).sum();
    assert_eq!(bytes, converted.summary.code_bytes);
    let text = String::from_utf8(run(&["disasm", "/usr/sbin/tcplife"]).stdout).expect("text");
    let module = wasmprinter::print_bytes(&converted.wasm).expect("a module");
    let calls = |text: &str| text.matches(" call $").count();
    assert_eq!(calls(&text), calls(&module));
}

#[test]
fn completions_and_manual_pages() {
    for shell in ["bash", "zsh", "fish"] {
        let script = run(&["completions", shell]).stdout;
        let script = String::from_utf8(script).expect("text");
        assert!(script.contains("skip"), "{shell}");
    }
    let folder = std::env::temp_dir().join(format!("bpf2wasm-man-{}", std::process::id()));
    let path = folder.to_str().expect("a path");
    assert!(run(&["man", path]).status.success());
    let page = std::fs::read_to_string(folder.join("bpf2wasm-convert.1")).expect("a page");
    assert!(page.contains("SECTION=AS"));
    std::fs::remove_dir_all(folder).expect("ours");
}

fn with_stdout(args: &[&str], stdout: std::process::Stdio) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bpf2wasm"));
    command.args(args).stdout(stdout);
    command.output().expect("the command")
}

/// A reader that goes away ends nothing but the output; a full disk is an error.
#[test]
fn standard_output_may_close_and_may_be_full() {
    let verbs: &[&[&str]] = &[
        &["check", "/usr/sbin/opensnoop", "--json"],
        &["inspect", "/usr/sbin/opensnoop"],
        &["disasm", "/usr/sbin/opensnoop"],
        &["helpers", "--json"],
        &["completions", "bash"],
        &["convert", "/usr/sbin/opensnoop", "-o", "-"],
        &["--help"],
    ];
    for args in verbs {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let closed = with_stdout(args, writer.into());
        assert!(closed.status.success(), "{args:?}: {}", stderr(&closed));
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
        let full = with_stdout(args, full.expect("/dev/full").into());
        assert_eq!(full.status.code(), Some(1), "{args:?}");
        let said = stderr(&full);
        let wanted = "bpf2wasm: standard output: No space left on device";
        assert!(
            said.contains(wanted) && !said.contains("panicked"),
            "{args:?}: {said}"
        );
    }
    // The verdict counts, whoever reads it.
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let refused = with_stdout(&["check", "/bin/sh", "--json"], writer.into());
    assert_eq!(refused.status.code(), Some(1));
}

#[test]
fn modules_go_to_standard_output() {
    let output = run(&["convert", "/usr/sbin/vfsstat", "-o", "-"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(bpf2wasm::check(&output.stdout).is_ok());
    assert!(stderr(&output).contains("programs (10)"));
    let object = std::fs::File::open("/usr/sbin/vfsstat").expect("package libbpf-tools");
    let mut command = Command::new(env!("CARGO_BIN_EXE_bpf2wasm"));
    let command = command.args(["convert", "-", "-o", "-"]).stdin(object);
    let piped = command.output().expect("the command");
    assert!(bpf2wasm::check(&piped.stdout).is_ok(), "{}", stderr(&piped));
}

#[test]
fn errors_name_the_whole_path_and_what_is_unknown() {
    for (args, wanted) in [
        (
            &["check", "/usr/sbin/vfsstat", "--type", "mine=kprobe/x"][..],
            "\"mine\", for which a type is given",
        ),
        (
            &[
                "check",
                "/usr/sbin/vfsstat",
                "--type",
                "kprobe_vfs_read=mine",
            ],
            "type \"mine\", given for \"kprobe_vfs_read\"",
        ),
        (
            &["check", "/usr/sbin/vfsstat", "--program", "mine"],
            "no program mine, only kprobe_vfs_read",
        ),
        (
            &[
                "convert",
                "/usr/sbin/vfsstat",
                "--skip",
                "mine",
                "-o",
                "/dev/null",
            ],
            "no program mine",
        ),
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        let said = stderr(&output);
        assert!(
            said.starts_with("bpf2wasm: /usr/sbin/vfsstat: ") && said.contains(wanted),
            "{said}"
        );
    }
}
