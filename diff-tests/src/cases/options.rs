//! What a person chooses acts, on both runtimes, or is refused; and what is shown has one name.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{fs, thread};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Case;
use super::run::{json, wprobe};
use crate::workload::syscalls;
use crate::{corpus, guest};

/// The tests of this area.
pub const CASES: &[Case] = &[
    ("options::a_process_and_a_cookie_act", process),
    ("options::what_nobody_heeds_is_refused", idle),
    (
        "options::data_is_shown_at_the_end_beside_events",
        at_the_end,
    ),
    ("options::a_program_has_one_name", names),
    ("options::every_variable_and_cpu_is_looked_up", lookup),
    ("options::updates_have_conditions", conditions),
    ("options::a_ring_buffer_has_one_reader", one_reader),
    ("options::stacks_are_shown_without_the_runtime", stacks),
    (
        "options::an_ordinary_user_is_told_what_it_may_not_see",
        doctor,
    ),
];

/// A file of the corpus.
fn file(name: &str) -> Result<PathBuf> {
    let path = guest::scratch(&format!("options-{name}"))?.join(format!("{name}.bpf.o"));
    fs::write(&path, corpus::object(name)?)?;
    Ok(path)
}

/// What `wprobe run` said and printed, with `work` done all the while.
fn run(words: &[&str], work: impl Fn() -> Result<()>) -> Result<(String, String)> {
    let child = Command::new(guest::wprobe()?)
        .arg("run")
        .args(words)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let output = crate::run::beside(child, work)?;
    let text = |bytes| String::from_utf8(bytes).context("text");
    let (out, err) = (text(output.stdout)?, text(output.stderr)?);
    ensure!(
        output.status.success(),
        "{words:?}: {}: {err}",
        output.status
    );
    Ok((out, err))
}

fn process() -> Result<()> {
    let path = file("of_process")?;
    let path = path.to_string_lossy();
    let own = std::process::id().to_string();
    // The wrapper of the C library, which the probe is in.
    let work = || {
        // SAFETY: takes no argument and changes nothing.
        unsafe { libc::getpgrp() };
        Ok(())
    };
    for runtime in ["native", "kernel-wasm"] {
        let common = [&path, "--runtime", runtime, "--duration", "3", "--json"];
        for (options, is_seen) in [
            (
                vec!["--pid", &own, "--cookie", "count_hits_of_a_process=77"],
                true,
            ),
            // The first process calls nothing of the kind.
            (vec!["--pid", "1"], false),
        ] {
            let (out, _) = run(&[&common[..], &options].concat(), work)?;
            let shown: Value = serde_json::from_str(&out)?;
            let globals = &shown["globals"];
            let hits = globals["hits"].as_u64().context("hits")?;
            ensure!((hits > 0) == is_seen, "{runtime} {options:?}: {globals}");
            let cookie = if is_seen { 77 } else { 0 };
            ensure!(
                globals["cookie"] == cookie,
                "{runtime} {options:?}: {globals}"
            );
        }
    }
    Ok(())
}

fn idle() -> Result<()> {
    let path = file("mkdirsnoop")?;
    let path = path.display();
    json(&format!("load {path}"))?;
    for (line, expected) in [
        (
            format!("run {path} --pid 1 --duration 1 --runtime native"),
            "--pid: nothing that is attached is a uprobe or usdt program",
        ),
        (
            format!("run {path} --frequency 9 --duration 1 --runtime kernel-wasm"),
            "--frequency: nothing that is attached is a perf_event program",
        ),
        (
            "activate mkdirsnoop --pid 1".to_owned(),
            "--pid: nothing that is attached",
        ),
        ("deactivate mkdirsnoop".to_owned(), "is not active"),
        ("events mkdirsnoop".to_owned(), "sends no events"),
    ] {
        let output = wprobe(&line)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.code() == Some(1) && said.contains(expected),
            "{line}: {}: {said}",
            output.status
        );
    }
    json("activate mkdirsnoop")?;
    json("deactivate mkdirsnoop")?;
    let again = wprobe("deactivate mkdirsnoop")?;
    ensure!(again.status.code() == Some(1), "deactivated twice");
    json("unload mkdirsnoop")?;
    Ok(())
}

/// Text, for people: events, then what the maps hold; and before any event, that there is none.
fn at_the_end() -> Result<()> {
    let path = file("rings")?;
    let path = path.to_string_lossy();
    for runtime in ["native", "kernel-wasm"] {
        let words = [&path, "--runtime", runtime, "--duration", "3", "--explain"];
        let (out, said) = run(&words, || {
            syscalls::getpgrp(1);
            Ok(())
        })?;
        let at = out.find("\ncounts:\n").with_context(|| out.clone())?;
        ensure!(out[..at].contains("TIME "), "{runtime}: {out}");
        let line = "Attached 1 program, waiting for events";
        let (quiet, waiting) = run(&[&path, "--runtime", runtime, "--duration", "1"], || Ok(()))?;
        ensure!(waiting.lines().any(|l| l == line), "{runtime}: {waiting}");
        ensure!(!quiet.contains("TIME "), "{runtime}: {quiet}");
        ensure!(said.contains("  engine    "), "{runtime}: {said}");
    }
    Ok(())
}

/// Its C name, everywhere; as input also the export's.
fn names() -> Result<()> {
    const NAME: &str = "count_hits_of_a_process";
    const EXPORT: &str = "uprobe:getpgrp:pre";
    let path = file("of_process")?;
    let shown = path.display();
    json(&format!("load {shown}"))?;
    let export = json("info of_process")?["programs"][0]["export"].clone();
    let export = export.as_str().context("an export")?;
    ensure!(export != NAME, "{export} (not {EXPORT}) is no other name");
    let activated = json(&format!("activate of_process --program {export}"))?;
    ensure!(activated["programs"][0]["program"] == NAME, "{activated}");
    for (line, at) in [
        ("info of_process", "/programs/0/name"),
        ("info of_process", "/links/0/program"),
        ("top --once --interval 0.1", "/programs/0/program"),
        ("prog list", "/0/name"),
        (&format!("prog show {export}"), "/0/name"),
        (&format!("prog show name {NAME}"), "/0/name"),
        ("link list", "/0/program"),
    ] {
        let value = json(line)?;
        ensure!(
            value.pointer(at).is_some_and(|v| v == NAME),
            "{line}: {value}"
        );
    }
    let listed = json("list")?;
    let origin = &listed[0]["origin"];
    ensure!(
        origin["state"] == "active" && origin["owner"] == "root" && origin["uid"] == 0,
        "{listed}"
    );
    ensure!(
        origin["age_seconds"].as_u64().is_some_and(|age| age < 600),
        "{listed}"
    );
    ensure!(
        origin["process"]["comm"].is_null(),
        "`wprobe load` has ended: {listed}"
    );
    json("unload of_process")?;
    for runtime in ["native", "kernel-wasm"] {
        let path = path.to_string_lossy();
        for name in [NAME, export] {
            let words = [
                &path,
                "--program",
                name,
                "--runtime",
                runtime,
                "--duration",
                "1",
                "--json",
            ];
            let (out, _) = run(&words, || Ok(()))?;
            let last: Value = serde_json::from_str(&out)?;
            ensure!(last["decisions"][0]["program"] == NAME, "{runtime}: {last}");
        }
    }
    Ok(())
}

fn lookup() -> Result<()> {
    let path = file("of_process")?;
    json(&format!("load {} --name seen", path.display()))?;
    let shown = json("map lookup name .bss key 0")?;
    ensure!(
        shown["value"] == serde_json::json!({ "hits": 0, "cookie": 0 }),
        "{shown}"
    );
    json("map update name .bss key 0 value hex 05 00 00 00 00 00 00 00 06 00 00 00 00 00 00 00")?;
    let shown = json("map lookup name .bss key 0")?;
    let globals = json("globals seen")?;
    ensure!(
        shown["value"]["hits"] == globals[".bss"]["hits"]
            && shown["value"]["cookie"] == globals[".bss"]["cookie"]
            && shown["value"]["hits"]
                .as_u64()
                .is_some_and(|hits| hits == 5 || hits == 6),
        "{shown}, {globals}"
    );
    json("unload seen")?;
    Ok(())
}

fn conditions() -> Result<()> {
    let path = file("mkdirsnoop")?;
    json(&format!("load {}", path.display()))?;
    let value = "00 ".repeat(80);
    let update = |condition: &str| {
        let line = format!("map update name directories key 7 value hex {value}{condition}");
        Ok::<_, anyhow::Error>(wprobe(line.trim_end())?.status.code())
    };
    for (condition, status) in [
        ("exist", 1),
        ("noexist", 0),
        ("noexist", 1),
        ("exist", 0),
        ("any", 0),
        ("", 0),
    ] {
        let ended = update(condition)?;
        ensure!(ended == Some(status), "{condition}: {ended:?}");
    }
    let shown = json("map dump name directories")?;
    ensure!(shown[0]["key"] == 7, "{shown}");
    json("unload mkdirsnoop")?;
    Ok(())
}

fn one_reader() -> Result<()> {
    let path = file("rings")?;
    json(&format!("load {}", path.display()))?;
    json("activate rings")?;
    let mut first = Command::new(guest::wprobe()?)
        .args(["events", "rings", "--json"])
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = first.stdout.take().context("its stdout is a pipe")?;
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(stdout));
    // It reads once it has printed something.
    let worker = thread::spawn(|| {
        for _ in 0..200 {
            syscalls::getpgrp(1);
            thread::sleep(Duration::from_millis(50));
        }
    });
    lines.next().context("an event")??;
    let second = wprobe("events rings --duration 1")?;
    let said = String::from_utf8_lossy(&second.stderr);
    ensure!(
        second.status.code() == Some(1) && said.contains("one reader at a time"),
        "{}: {said}",
        second.status
    );
    first.kill()?;
    first.wait()?;
    worker.join().expect("nothing panics there");
    let third = wprobe("events rings --duration 1")?;
    ensure!(third.status.success(), "the first has ended");
    json("unload rings")?;
    Ok(())
}

/// Who sleeps is seen with the kernel's frames above its own, and without those of who looks.
fn stacks() -> Result<()> {
    for runtime in ["native", "kernel-wasm"] {
        let words = ["offcputime", "--runtime", runtime, "--duration", "3"];
        let (out, _) = run(&words, || Ok(()))?;
        let frames = out.lines().filter(|line| line.starts_with("    "));
        let of_runtime = |line: &&str| {
            let name = line.trim_start();
            // A program's name ends in its tag; the kernel has functions that begin alike.
            ["bpf_trace_run", "__bpf_trace", "wprobe_"]
                .iter()
                .any(|part| name.starts_with(part))
        };
        let wrong: Vec<_> = frames.filter(of_runtime).collect();
        ensure!(wrong.is_empty(), "{runtime}: {wrong:?}");
        let separated = out.lines().any(|line| line == "    --");
        ensure!(separated, "{runtime}: {out}");
        ensure!(out.contains("schedule"), "{runtime}: {out}");
        // Who waited all the while is not the first of those that waited.
        let last = out.lines().last().unwrap_or_default();
        ensure!(
            last.starts_with("(without ") && out.matches("wprobe").count() == 1,
            "{runtime}: {out}"
        );
    }
    Ok(())
}

fn doctor() -> Result<()> {
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(guest::wprobe()?)
        .args(["doctor", "--json"])
        .output()?;
    let checks: Value = serde_json::from_slice(&output.stdout)?;
    let found = |what: &str| {
        let mut checks = checks.as_array().into_iter().flatten();
        let check = checks.find(|check| check["what"] == what);
        check
            .map(|check| check["found"].to_string())
            .unwrap_or_default()
    };
    for what in ["kernel module", "eBPF", "tracefs"] {
        ensure!(found(what).contains("this user"), "{what}: {checks}");
    }
    Ok(())
}
