//! Who reads events waits for them: the reader's own system calls are counted, by native eBPF, while nothing happens.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};
use std::{fs, process};

use anyhow::{Context, Result, ensure};
use loader::open::Input;
use loader::probe::Probe;
use loader::runtime::Runtime;

use super::Case;
use super::run::json;
use crate::oracle::native::Native;
use crate::workload::syscalls;
use crate::{corpus, guest};

/// The tests of this area.
pub const CASES: &[Case] = &[
    ("waiting::run_looks_at_nothing_meanwhile", run),
    ("waiting::events_and_top_look_at_nothing_meanwhile", verbs),
    ("waiting::the_librarys_wait_is_one_call", library),
    ("waiting::diff_looks_at_nothing_meanwhile", diff),
];

/// How long nothing happens. Who looked every 20 ms would make 100 calls.
const QUIET: Duration = Duration::from_secs(2);
/// How long a reader may take to come to rest, and to print what it was woken for.
const PATIENCE: Duration = Duration::from_secs(20);

/// Counts one task's system calls.
struct Counter(Native);

impl Counter {
    fn start() -> Result<Self> {
        let mut native = Native::load(corpus::object("callers")?, "callers", &["count_call"])?;
        native.attach()?;
        Ok(Counter(native))
    }

    /// Counts those of `task` from now on.
    fn watch(&self, task: u32) -> Result<()> {
        let watch = [u64::from(task), 0].map(u64::to_ne_bytes);
        self.0.set_section(".bss", watch.as_flattened())
    }

    /// How many there were.
    fn calls(&self) -> Result<u64> {
        let section = self.0.section(".bss")?;
        let calls = section.get(8..).and_then(|bytes| bytes.first_chunk());
        Ok(u64::from_ne_bytes(*calls.context("two numbers")?))
    }

    /// Which there were, for messages.
    fn numbers(&self) -> Result<String> {
        let number = |bytes: &[u8]| bytes.first_chunk().copied().map_or(0, u64::from_ne_bytes);
        let elements = self.0.dump("numbers")?;
        let each = elements.iter();
        let each = each.map(|(call, count)| format!("{}: {}", number(call), number(count)));
        Ok(each.collect::<Vec<_>>().join(", "))
    }

    /// Waits until `task` rests; then it must not make a single call while nothing happens, but some once `wake` made
    /// something happen.
    fn rests(&self, what: &str, task: u32, wake: impl FnOnce() -> Result<()>) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            self.watch(task)?;
            thread::sleep(QUIET);
            let calls = self.calls()?;
            if calls == 0 {
                break;
            }
            ensure!(
                Instant::now() < end,
                "{what}: {calls} calls within {QUIET:?} of nothing; by number, in all: {}",
                self.numbers()?
            );
        }
        wake()?;
        let end = Instant::now() + PATIENCE;
        while self.calls()? == 0 {
            ensure!(Instant::now() < end, "{what}: it is not woken");
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

fn file(name: &str) -> Result<PathBuf> {
    let path = guest::scratch(&format!("waiting-{name}"))?.join(format!("{name}.bpf.o"));
    fs::write(&path, corpus::object(name)?)?;
    Ok(path)
}

/// Starts the command, and waits until it says on stderr that it runs.
fn start(args: &[&str]) -> Result<Child> {
    let mut child = Command::new(guest::wprobe()?)
        .args(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let stderr = child.stderr.as_mut().context("its stderr is a pipe")?;
    let mut said = String::new();
    BufReader::new(stderr).read_line(&mut said)?;
    ensure!(said.starts_with("running "), "{args:?}: {said}");
    Ok(child)
}

fn signal(child: &Child) -> Result<()> {
    // SAFETY: a signal to a child that nobody has waited for.
    let result = unsafe { libc::kill(child.id() as libc::pid_t, libc::SIGINT) };
    ensure!(result == 0, "kill");
    Ok(())
}

fn run() -> Result<()> {
    let counter = Counter::start()?;
    let (events, tables) = (file("rings")?, file("mkdirsnoop")?);
    for runtime in ["native", "kernel-wasm"] {
        for (path, sends) in [(&events, true), (&tables, false)] {
            let path = path.to_string_lossy();
            let mut child = start(&["run", &path, "--runtime", runtime, "--json"])?;
            let stdout = child.stdout.take().context("its stdout is a pipe")?;
            let wake = || match sends {
                true => {
                    syscalls::getpgrp(1);
                    Ok(())
                }
                false => signal(&child),
            };
            counter.rests(&format!("run {path} on {runtime}"), child.id(), wake)?;
            let mut lines = BufReader::new(stdout).lines();
            let first = lines.next().context("a line")??;
            ensure!(first.contains("\"event\"") == sends, "{first}");
            if sends {
                signal(&child)?;
            }
            ensure!(child.wait()?.success(), "{runtime} {path}");
        }
    }
    Ok(())
}

fn verbs() -> Result<()> {
    let counter = Counter::start()?;
    let path = file("rings")?;
    json(&format!("load {}", path.display()))?;
    json("activate rings")?;
    for (args, sends) in [
        (&["events", "rings", "--json"][..], true),
        (&["top", "--interval", "600"], false),
    ] {
        let mut child = Command::new(guest::wprobe()?)
            .args(args)
            .stdout(Stdio::null())
            .spawn()?;
        let wake = || match sends {
            true => {
                syscalls::getpgrp(1);
                Ok(())
            }
            false => signal(&child),
        };
        counter.rests(&format!("{args:?}"), child.id(), wake)?;
        if sends {
            signal(&child)?;
        }
        ensure!(child.wait()?.success(), "{args:?}");
    }
    json("unload rings")?;
    Ok(())
}

fn library() -> Result<()> {
    let counter = Counter::start()?;
    let path = file("rings")?;
    for runtime in [Runtime::Native, Runtime::KernelWasm] {
        let (send, receive) = mpsc::channel();
        let path = path.clone();
        let reader = thread::spawn(move || {
            let probe = Probe::new(Input::open(&path, None)?).runtime(runtime);
            let mut running = probe.start()?;
            // SAFETY: the call takes nothing.
            send.send(unsafe { libc::gettid() })?;
            running.wait(Duration::from_secs(600))
        });
        let task = receive.recv_timeout(PATIENCE);
        let Ok(task) = task else {
            let result = reader.join().expect("nothing panics there");
            return Err(result.err().context("it sent no number")?);
        };
        ensure!(task as u32 != process::id(), "a thread of its own");
        let wake = || {
            syscalls::getpgrp(1);
            Ok(())
        };
        counter.rests(&format!("wait on {runtime}"), task as u32, wake)?;
        let events = reader.join().expect("nothing panics there")?;
        ensure!(!events.is_empty(), "{runtime}: it was woken for nothing");
    }
    Ok(())
}

fn diff() -> Result<()> {
    let counter = Counter::start()?;
    let object = file("rings")?;
    let folder = guest::scratch("waiting-diff")?;
    let (begun, end) = (folder.join("begun"), folder.join("end"));
    guest::succeed(Command::new("mkfifo").arg(&end))?;
    let work = format!("touch {}; cat {}", begun.display(), end.display());
    let mut child = Command::new(guest::wprobe()?)
        .arg("diff")
        .arg(&object)
        .args(["--workload", &work])
        .stdout(Stdio::piped())
        .spawn()?;
    guest::wait_until("the workload", || Ok(begun.exists()))?;
    counter.rests("diff", child.id(), || {
        syscalls::getpgrp(1);
        Ok(())
    })?;
    fs::write(&end, "")?;
    let ended = child.wait()?;
    let mut said = String::new();
    let mut stdout = child.stdout.take().context("its stdout is a pipe")?;
    stdout.read_to_string(&mut said)?;
    ensure!(ended.success(), "{said}");
    Ok(())
}
