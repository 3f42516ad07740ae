//! The command `wprobe` as people meet it: a whole life through its verbs, and what it says to bad input.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Case;
use crate::workload::syscalls;
use crate::{corpus, guest};

/// The tests of this area.
pub const CASES: &[Case] = &[
    ("cli::a_translated_objects_life", object),
    ("cli::a_hand_written_modules_life", hand_written),
    ("cli::run_shows_maps_and_leaves_nothing", run),
    ("cli::traps_are_visible_in_info", traps),
    ("cli::a_poisoned_relocation_is_named_with_its_line", poison),
    ("cli::bad_input_is_refused", bad_input),
    ("cli::wrong_usage_is_status_2", usage),
];

/// How long a command may take to attach.
const PATIENCE: Duration = Duration::from_secs(30);
/// Forks of each step.
const FORKS: u64 = 25;

fn wprobe(args: &[&str]) -> Result<Output> {
    Command::new(guest::wprobe()?)
        .args(args)
        .output()
        .context("wprobe")
}

/// The JSON a verb prints; it must succeed.
fn json(args: &[&str]) -> Result<Value> {
    let output = guest::succeed(Command::new(guest::wprobe()?).args(args).arg("--json"))?;
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// A file of the corpus.
fn file(name: &str, bytes: &[u8]) -> Result<PathBuf> {
    let path = guest::scratch(&format!("cli-{name}"))?.join(name);
    fs::write(&path, bytes)?;
    Ok(path)
}

fn object() -> Result<()> {
    let path = file("syscalls.bpf.o", corpus::object("syscalls")?)?;
    let path = path.to_string_lossy();
    let id = json(&["load", &path])?["id"].to_string();
    let listed = json(&["list"])?;
    ensure!(
        listed[0]["name"] == "syscalls" && listed[0]["links"] == 0,
        "{listed}"
    );
    ensure!(json(&["activate", &id])?["links"] == 3, "three programs");
    ensure!(
        !wprobe(&["activate", &id])?.status.success(),
        "activated twice"
    );
    syscalls::fork(FORKS)?;
    ensure!(
        json(&["deactivate", "syscalls"])?["links"] == 3,
        "three links"
    );
    syscalls::fork(FORKS)?;
    let globals = json(&["globals", &id])?;
    ensure!(globals[".bss"]["forks"] == FORKS, "{globals}");
    let text = guest::succeed(Command::new(guest::wprobe()?).args(["globals", &id]))?;
    let text = String::from_utf8(text.stdout)?;
    ensure!(
        text.contains("forks") && text.contains(&FORKS.to_string()),
        "{text}"
    );
    json(&["unload", &id])?;
    ensure!(
        json(&["list"])?.as_array().is_some_and(Vec::is_empty),
        "unloaded"
    );
    Ok(())
}

fn hand_written() -> Result<()> {
    let path = file("fork.wasm", corpus::module("fork")?)?;
    json(&["load", &path.to_string_lossy(), "--name", "forks"])?;
    json(&["activate", "forks"])?;
    syscalls::fork(FORKS)?;
    let report = json(&["report", "forks"])?;
    ensure!(
        report["report"].as_str() == Some(&FORKS.to_string()),
        "{report}"
    );
    let info = json(&["info", "forks"])?;
    ensure!(
        info["exclusive"] == true && info["programs"][0]["runs"] == FORKS,
        "{info}"
    );
    // Also while it is active.
    json(&["unload", "forks"])?;
    Ok(())
}

fn run() -> Result<()> {
    let path = file("mkdirsnoop.bpf.o", corpus::object("mkdirsnoop")?)?;
    let command = Command::new(guest::wprobe()?)
        .arg("run")
        .arg(&path)
        .args(["--runtime", "kernel-wasm", "--duration", "3", "--json"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()?;
    let device = guest::device()?;
    let end = Instant::now() + PATIENCE;
    while device.ids(abi::uapi::Kind::Link)?.is_empty() {
        ensure!(Instant::now() < end, "nothing is attached");
        std::thread::sleep(Duration::from_millis(20));
    }
    syscalls::mkdir(&guest::scratch("run")?, 1, 0o755)?;
    let output = command.wait_with_output()?;
    let lines = String::from_utf8(output.stdout)?;
    let shown: Value = serde_json::from_str(lines.lines().last().context("it prints nothing")?)?;
    let element = &shown["maps"]["directories"][0]["value"];
    let pathname = element["pathname"].as_str().unwrap_or_default();
    ensure!(
        pathname.ends_with("/d0") && element["mode"] == 0o755,
        "{shown}"
    );
    Ok(())
}

fn traps() -> Result<()> {
    let path = file("endless_loop.wasm", corpus::hostile_module("endless_loop")?)?;
    json(&["load", &path.to_string_lossy(), "--trap-limit", "5"])?;
    json(&["activate", "endless_loop"])?;
    syscalls::getpgrp(10);
    let info = json(&["info", "endless_loop"])?;
    let program = &info["programs"][0];
    json(&["unload", "endless_loop"])?;
    ensure!(
        program["traps"] == 5 && program["disabled"] == true,
        "{info}"
    );
    let why = program["last_trap"].as_str().unwrap_or_default();
    ensure!(why.contains("budget"), "{info}");
    Ok(())
}

fn poison() -> Result<()> {
    let path = file("poison.bpf.o", corpus::object("poison")?)?;
    json(&["load", &path.to_string_lossy()])?;
    json(&["activate", "poison", "--program", "guarded"])?;
    syscalls::getpgrp(5);
    json(&["deactivate", "poison"])?;
    json(&["activate", "poison", "--program", "reached"])?;
    syscalls::getpgrp(3);
    let globals = json(&["globals", "poison"])?;
    let info = json(&["info", "poison"])?;
    json(&["unload", "poison"])?;
    ensure!(
        globals[".bss"]["asked"] == 5 && globals[".bss"]["value"] == 0,
        "{globals}"
    );
    let programs = info["programs"].as_array().context("programs")?;
    let trapped = programs
        .iter()
        .find(|p| p["traps"] == 3)
        .with_context(|| info.to_string())?;
    let why = trapped["last_trap"].as_str().unwrap_or_default();
    let expected = ["CO-RE", "reached insn", "poison.bpf.c:"];
    ensure!(expected.iter().all(|part| why.contains(part)), "{why}");
    Ok(())
}

fn bad_input() -> Result<()> {
    let object = corpus::object("syscalls")?;
    let truncated = file("truncated.bpf.o", &object[..object.len() / 2])?;
    let text = file("text", b"hello")?;
    let wasm = file("bad.wasm", b"\0asm\x01\0\0\0\x01\xff")?;
    let good = file("good.bpf.o", object)?;
    let path = |p: &PathBuf| p.to_string_lossy().into_owned();
    let cases: [(&[&str], &str); 8] = [
        (&["load", "/no/such/file"], "/no/such/file"),
        (&["load", &path(&truncated)], "truncated.bpf.o"),
        (
            &["load", &path(&text)],
            "neither a wasm module nor an ELF file",
        ),
        (&["load", &path(&wasm)], "bad.wasm"),
        (&["load", "/bin/true"], "no BPF object"),
        (
            &["run", &path(&good), "--program", "nosuch"],
            "no program nosuch",
        ),
        (&["info", "12345"], "no module 12345"),
        (&["report", "nosuch"], "no module nosuch"),
    ];
    for (args, expected) in cases {
        let output = wprobe(args)?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.code() == Some(1),
            "{args:?}: {}: {error}",
            output.status
        );
        ensure!(
            error.contains(expected) && !error.contains("panicked"),
            "{args:?}: {error}"
        );
    }
    Ok(())
}

fn usage() -> Result<()> {
    for args in [
        &["frobnicate"][..],
        &["load"],
        &["run", "x", "--duration", "soon"],
        &[],
    ] {
        let output = wprobe(args)?;
        ensure!(
            output.status.code() == Some(2),
            "{args:?}: {}",
            output.status
        );
    }
    for verb in [
        "load",
        "activate",
        "deactivate",
        "unload",
        "list",
        "info",
        "report",
        "globals",
        "top",
        "limits",
        "run",
    ] {
        let help = guest::succeed(Command::new(guest::wprobe()?).args([verb, "--help"]))?;
        ensure!(
            String::from_utf8(help.stdout)?.contains("Examples:"),
            "{verb} --help"
        );
    }
    Ok(())
}
