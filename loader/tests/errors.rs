//! What the command says to people whose wish cannot be met: each message names what is wrong, and what to do.
//!
//! Nothing is attached here: every case ends before that.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// The status and what was said on stderr.
fn said(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), text.trim_end().to_owned())
}

fn wprobe(words: &str) -> (Option<i32>, String) {
    said(Command::new(env!("CARGO_BIN_EXE_wprobe")).args(words.split(' ')))
}

/// A reader that goes away ends nothing but the output; a full disk is an error, with a message and without a panic.
#[test]
fn standard_output_may_close_and_may_be_full() {
    for words in [
        "completions bash",
        "doctor --json",
        "doctor",
        "--help",
        "run --help",
    ] {
        let run = |stdout: Stdio| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_wprobe"));
            said(command.args(words.split(' ')).stdout(stdout))
        };
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        assert_eq!(run(writer.into()), (Some(0), String::new()), "{words}");
        let full = fs::OpenOptions::new().write(true).open("/dev/full");
        let (status, text) = run(full.unwrap().into());
        assert_eq!(status, Some(1), "{words}: {text}");
        let wanted = "wprobe: standard output: No space left on device (os error 28)";
        assert_eq!(text, wanted, "{words}");
    }
}

fn is_loaded() -> bool {
    Path::new("/dev/wprobe").exists()
}

#[test]
fn what_is_wrong_with_a_request_is_said_with_what_is_known() {
    for (words, expected) in [
        (
            "run opensnop",
            "wprobe: opensnop: no such file, and no tool of that name in /usr/sbin, /usr/bin, /usr/share/bcc/tools (`apt install libbpf-tools` has 52)",
        ),
        (
            "run /no/such.o",
            "wprobe: /no/such.o: No such file or directory (os error 2)",
        ),
        (
            "run opensnoop --set targ_pit=1",
            "wprobe: no variable targ_pit; did you mean targ_pid? There are targ_pid, targ_tgid, targ_uid, targ_failed",
        ),
        (
            "run opensnoop --set targ_failed=2",
            "wprobe: variable targ_failed: 2: does not fit 1 bits",
        ),
        (
            "run opensnoop --entries stacks=1",
            "wprobe: no map stacks; did you mean start? There are start, events",
        ),
        (
            "run opensnoop --program nosuch --runtime kernel-wasm",
            if is_loaded() {
                ""
            } else {
                "wprobe: /dev/wprobe is not there: load the kernel module first (insmod wprobe.ko; `wprobe doctor` says more)"
            },
        ),
        (
            "run opensnoop --event nosuch",
            "wprobe: --event nosuch: the object has no such struct",
        ),
        (
            "run opensnoop --runtime user",
            "wprobe: --runtime user: a process sees no events of the kernel; `wprobe prog run` runs a program in a process, on given input",
        ),
        (
            "run opensnoop --runtime native --btf /sys/kernel/btf/vmlinux",
            "wprobe: --btf is for wasm: the kernel's eBPF is for the running kernel",
        ),
        (
            "run funclatency --runtime native --at dummy_kprobe=kprobe/no_such_function --program dummy_kprobe",
            "wprobe: program dummy_kprobe: the kernel has no function no_such_function",
        ),
        (
            "run vfsstat --runtime native --pid 7",
            "wprobe: --pid: nothing that is attached is a uprobe or usdt program (what a tool looks at is for its variables to say: --set)",
        ),
        (
            "run vfsstat --runtime native --frequency 9",
            "wprobe: --frequency: nothing that is attached is a perf_event program (what a tool looks at is for its variables to say: --set)",
        ),
        (
            "run bashreadline --runtime native --at printret=uretprobe//no/such/bash:readline",
            "wprobe: nothing to attach\n  printret: /no/such/bash: No such file or directory (os error 2)",
        ),
    ] {
        if expected.is_empty() {
            continue;
        }
        assert_eq!(
            wprobe(words),
            (Some(1), expected.to_owned()),
            "wprobe {words}"
        );
    }
}

#[test]
fn wrong_usage_names_what_is_possible() {
    let (status, text) = wprobe("run opensnoop --runtime fast");
    assert_eq!(status, Some(2));
    let expected = "[possible values: auto, kernel-wasm, native, user]";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn what_would_do_nothing_or_never_end_is_wrong_usage() {
    for (words, expected) in [
        ("run opensnoop --interval 0", "it must be more than 0"),
        ("top --interval 0", "it must be more than 0"),
        ("run opensnoop --frequency 0", "0 is not in"),
        ("activate x --pid 0", "0 is not in"),
        ("load opensnoop --name=", "it is empty"),
        ("load opensnoop --name 7", "an id, and no name"),
    ] {
        let (status, text) = wprobe(words);
        assert_eq!(status, Some(2), "wprobe {words}: {text}");
        assert!(text.contains(expected), "wprobe {words}: {text}");
    }
}

/// Types of maps are in BTF, which a compiler writes only when it is asked to.
#[test]
fn an_object_without_btf_is_said_to_want_it() {
    let tool = fs::read("/usr/sbin/opensnoop").unwrap();
    let object = bpf2wasm::embedded_objects(&tool).unwrap().remove(0);
    let mut bytes = object.bytes.to_vec();
    let names: Vec<_> = (0..bytes.len())
        .filter(|at| bytes[*at..].starts_with(b".BTF\0"))
        .collect();
    for at in names {
        bytes[at..at + 4].copy_from_slice(b".XTF");
    }
    let refused = bpf2wasm::convert(&bytes, "without", &Default::default());
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("compile with -g"), "{text}");
}

#[test]
fn a_layout_that_is_none_is_said_with_its_line() {
    let path = std::env::temp_dir().join(format!("wprobe-layout-{}.h", std::process::id()));
    fs::write(&path, "struct events {\n long x; };").unwrap();
    let (status, text) = wprobe(&format!("run opensnoop --layout {}", path.display()));
    fs::remove_file(&path).unwrap();
    let expected = format!(
        "wprobe: {}: layout, line 2: long: no type that is known here",
        path.display()
    );
    assert_eq!((status, text), (Some(1), expected));
}

/// Nobody's user.
const NOBODY: u32 = 65534;

#[test]
fn without_privileges_it_says_which_are_needed() {
    // The build lies where another user may not read it.
    let copy = std::env::temp_dir().join(format!("wprobe-nobody-{}", std::process::id()));
    fs::copy(env!("CARGO_BIN_EXE_wprobe"), &copy).unwrap();
    let mut command = Command::new(&copy);
    command.args(["run", "opensnoop"]).uid(NOBODY).gid(NOBODY);
    let (status, text) = said(&mut command);
    let mut doctor = Command::new(&copy);
    let doctor = doctor
        .arg("doctor")
        .uid(NOBODY)
        .gid(NOBODY)
        .output()
        .unwrap();
    fs::remove_file(&copy).unwrap();
    assert_eq!(status, Some(1), "{text}");
    let expected = "wprobe: not by native eBPF: privileges: neither CAP_SYS_ADMIN, nor CAP_BPF and CAP_PERFMON\nnor by the kernel module (`wprobe doctor` says more)";
    assert!(text.starts_with(expected), "{text}");
    let doctor = String::from_utf8(doctor.stdout).unwrap();
    let remedy = "--  privileges       neither CAP_SYS_ADMIN, nor CAP_BPF and CAP_PERFMON\n                     run it with sudo";
    assert!(doctor.starts_with(remedy), "{doctor}");
}
