//! `wprobe run` on real tools, and the verbs that look at what stays loaded. Every tool: `guest-run`.

use std::fs;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Case;
use crate::workload::{syscalls, system};
use crate::{beside, corpus, guest, run, tool};

/// The tests of this area.
pub const CASES: &[Case] = &[
    ("run::sigsnoop_prints_what_debians_does", || {
        beside_debians("sigsnoop")
    }),
    ("run::syscount_counts_what_debians_does", || {
        beside_debians("syscount")
    }),
    ("run::tools_print_what_they_see", few_tools),
    ("run::auto_is_native_where_it_works", auto),
    ("run::tables_are_alike_on_both_runtimes", tables),
    ("run::the_example_runs_on_both_runtimes", example),
    ("run::events_of_what_stays_loaded", events),
    ("run::events_of_an_unknown_type_are_recovered", recovered),
    ("run::a_place_that_refuses_is_named", refused),
];

fn beside_debians(name: &str) -> Result<()> {
    let row = beside::tools().find(|row| row.name == name);
    let row = row.with_context(|| format!("no row of {name}"))?;
    println!("{}", beside::compare(row, "kernel-wasm")?);
    Ok(())
}

fn few_tools() -> Result<()> {
    for name in ["exitsnoop", "solisten"] {
        let printed = run::run(name, "kernel-wasm")?;
        ensure!(printed.records() > 0, "{name}: {}", printed.last);
        println!("{name}: {} records", printed.records());
    }
    Ok(())
}

fn auto() -> Result<()> {
    let printed = run::run("sigsnoop", "auto")?;
    ensure!(printed.runtime == "native", "{}", printed.last["why"]);
    ensure!(printed.records() >= 200, "{} records", printed.records());
    // Its object reads a field that no kernel here has where it was.
    let case = tool::Case::read("biosnoop")?;
    let printed = run::Tool::start("biosnoop", &case, 0, "auto")?.end()?;
    let why = printed.last["why"].as_str().unwrap_or_default();
    ensure!(
        printed.runtime == "kernel-wasm" && why.starts_with("not by native eBPF: "),
        "{}: {why}",
        printed.runtime
    );
    Ok(())
}

fn tables() -> Result<()> {
    let mut written = Vec::new();
    for runtime in ["native", "kernel-wasm"] {
        let printed = run::run("bitesize", runtime)?;
        let elements = printed.last["maps"]["hists"].as_array();
        // Linux 6.1 leaves in the buffer what lies behind the name, so that one name has several elements.
        let own = elements.into_iter().flatten();
        let own = own.filter(|element| element["key"]["comm"] == "dd");
        let slots = own.filter_map(|element| element["value"]["slots"].as_array());
        let counts: u64 = slots.flatten().filter_map(Value::as_u64).sum();
        written.push(counts);
    }
    ensure!(written[0] > 0 && written[0] == written[1], "{written:?}");
    Ok(())
}

fn example() -> Result<()> {
    let program = guest::wprobe()?
        .with_file_name("examples")
        .join("opensnoop");
    ensure!(program.exists(), "{} is not built", program.display());
    for runtime in ["native", "kernel-wasm"] {
        let child = Command::new(&program)
            .args([runtime, "2"])
            .stdout(Stdio::piped())
            .spawn()?;
        // Until it ends, something is opened all the time.
        let output = run::beside(child, || {
            fs::metadata("/etc").and_then(|_| fs::read("/etc/hostname"))?;
            Ok(())
        })?;
        let said = String::from_utf8(output.stdout)?;
        let is_row = |line: &str| line.contains("guest-tests") && line.ends_with(" /etc/hostname");
        ensure!(said.lines().any(is_row), "{runtime}: {said}");
    }
    Ok(())
}

pub(super) fn wprobe(line: &str) -> Result<Output> {
    let output = Command::new(guest::wprobe()?)
        .args(line.split(' '))
        .output();
    output.context("wprobe")
}

/// The JSON a verb prints; it must succeed.
pub(super) fn json(line: &str) -> Result<Value> {
    let mut command = Command::new(guest::wprobe()?);
    let output = guest::succeed(command.args(line.split(' ')).arg("--json"))?;
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn events() -> Result<()> {
    json("load /usr/sbin/sigsnoop")?;
    json("activate sigsnoop")?;
    let child = Command::new(guest::wprobe()?)
        .args(["events", "sigsnoop", "--duration", "0.5", "--json"])
        .stdout(Stdio::piped())
        .spawn()?;
    let output = run::beside(child, || Ok(system::signals(1)?))?;
    json("unload sigsnoop")?;
    let text = String::from_utf8(output.stdout)?;
    let lines = text.lines().map(serde_json::from_str::<Value>);
    let lines = lines.collect::<Result<Vec<_>, _>>()?;
    let own = std::process::id();
    let ours = lines.iter().filter(|line| line["data"]["tpid"] == own);
    ensure!(ours.count() > 1, "{text}");
    let last = lines.last().context("a last line")?;
    ensure!(last["name"] == "sigsnoop" && last["lost"] == 0, "{text}");
    Ok(())
}

/// An object whose BTF does not say what it sends, and that nobody has a layout for.
fn recovered() -> Result<()> {
    let path = guest::scratch("recovered")?.join("events.bpf.o");
    fs::write(&path, corpus::object("events")?)?;
    for runtime in ["native", "kernel-wasm"] {
        let child = Command::new(guest::wprobe()?)
            .arg("run")
            .arg(&path)
            .args([
                "--runtime",
                runtime,
                "--duration",
                "3",
                "--json",
                "--explain",
            ])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let directory = guest::scratch("recovered-made")?;
        let output = run::beside(child, || {
            syscalls::mkdir(&directory, 1, 0o750)?;
            Ok(())
        })?;
        let (text, said) = (
            String::from_utf8(output.stdout)?,
            String::from_utf8(output.stderr)?,
        );
        ensure!(
            said.contains("struct made {\n    __u64 time;\n    __u32 pid;\n    __u16 mode;\n    char comm[16];"),
            "{said}"
        );
        let first = text.lines().next().context("an event")?;
        let first: Value = serde_json::from_str(first)?;
        let data = &first["data"];
        let path = directory.join("d0");
        let path: String = path.to_string_lossy().chars().take(31).collect();
        ensure!(
            data["pid"] == std::process::id()
                && data["mode"] == 0o750
                && data["comm"] == "guest-tests"
                && data["path"] == path,
            "{runtime}: {first}"
        );
    }
    Ok(())
}

fn refused() -> Result<()> {
    let run = "run funclatency --program dummy_kprobe --at dummy_kprobe=kprobe/";
    for (runtime, function, expected) in [
        (
            "native",
            "no_such_function",
            "the kernel has no function no_such_function",
        ),
        (
            "kernel-wasm",
            "no_such_function",
            "the kernel has no function no_such_function",
        ),
        ("kernel-wasm", "memcpy", "memcpy"),
        (
            "auto",
            "memcpy",
            "nor by the kernel module (`wprobe doctor` says more)",
        ),
    ] {
        let output = wprobe(&format!("{run}{function} --runtime {runtime} --duration 1"))?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.code() == Some(1) && error.contains(expected),
            "{runtime} {function}: {}: {error}",
            output.status
        );
    }
    let doctor = json("doctor")?;
    let lacks = doctor.as_array().into_iter().flatten();
    let lacks: Vec<_> = lacks.filter(|check| !check["remedy"].is_null()).collect();
    ensure!(lacks.is_empty(), "{lacks:?}");
    Ok(())
}
