//! `cargo xtask test`: everything that is checked, in phases.
//!
//! A phase that fails does not hide the others. What a phase's programs say goes to `target/xtask/<phase>.log`; the
//! screen gets one line when it begins, one when it ends, and the end of the log if it failed. The last line of all
//! is the sum: `N passed, M failed`, with `, K skipped` if any were.

use std::fmt;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::exec::{cargo_target, command, root, tail};
use crate::kernels::Kernel;
use crate::progress::{Tone, say, seconds, tell};
use crate::vm::{self, Guest};
use crate::{kmod, setup, tidy};

/// Guests that run at the same time. Each is one thread of work.
const GUESTS: usize = 2;

/// Lines of a failed phase's log that the screen gets.
const SHOWN: usize = 60;

/// What to test.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Only what needs neither kernel module nor guest.
    pub(crate) quick: bool,
    /// Kernels to boot.
    pub(crate) kernels: Vec<Kernel>,
    /// Only tests whose names contain this; no lints then.
    pub(crate) filter: Option<String>,
}

/// Tests counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl Tally {
    const ONE: Tally = Tally {
        passed: 1,
        failed: 0,
        skipped: 0,
    };
    const LOST: Tally = Tally {
        passed: 0,
        failed: 1,
        skipped: 0,
    };

    fn add(&mut self, other: Tally) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    /// The counts in a line such as `3 passed; 1 failed; 2 ignored` or `5 tests run: 5 passed, 0 skipped`.
    fn parse(line: &str) -> Tally {
        let words: Vec<&str> = line
            .split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .collect();
        let count = |names: &[&str]| {
            let pair = words.windows(2).find(|pair| names.contains(&pair[1]));
            pair.and_then(|pair| pair[0].parse().ok()).unwrap_or(0)
        };
        Tally {
            passed: count(&["passed"]),
            failed: count(&["failed"]),
            skipped: count(&["skipped", "ignored"]),
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        Ok(())
    }
}

/// The task itself.
pub(crate) fn run(plan: &Plan) -> Result<ExitCode> {
    let start = Instant::now();
    setup::ensure(&plan.kernels)?;
    let mut sum = Tally::default();
    if plan.filter.is_none() {
        sum.add(phase("format", format));
        sum.add(phase("lint", lint));
        sum.add(phase("tidy", |_| tidy::run().map(|()| Tally::ONE)));
    }
    sum.add(phase("host", |log| host_tests(plan.filter.as_deref(), log)));
    if !plan.quick {
        for &kernel in &plan.kernels {
            sum.add(phase(&format!("kmod-{}", kernel.name()), |_| {
                kmod::build(kernel).map(|_| Tally::ONE)
            }));
        }
        sum.add(phase("programs", |log| {
            cargo(&["build", "--locked", "--workspace", "--bins"], log)
        }));
        sum.add(guests(plan));
    }
    say(
        "test",
        format_args!("all phases: {}", seconds(start.elapsed())),
    );
    println!("{sum}");
    Ok(if sum.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs one phase and says how it went.
fn phase(name: &str, work: impl FnOnce(&PathBuf) -> Result<Tally>) -> Tally {
    let log = root().join("target/xtask").join(format!("{name}.log"));
    say("test", format_args!("{name} …"));
    let start = Instant::now();
    let result = fs::create_dir_all(root().join("target/xtask"))
        .and_then(|()| fs::write(&log, ""))
        .map_err(Into::into)
        .and_then(|()| work(&log));
    let took = seconds(start.elapsed());
    match result {
        Ok(tally) if tally.failed == 0 => {
            tell(Tone::Good, "test", format_args!("{name}: {tally} ({took})"));
            tally
        }
        Ok(tally) => {
            failed(name, &format!("{tally} ({took})"), &log);
            tally
        }
        Err(error) => {
            failed(name, &format!("{error:#} ({took})"), &log);
            Tally::LOST
        }
    }
}

fn failed(name: &str, what: &str, log: &PathBuf) {
    let text = fs::read_to_string(log).unwrap_or_default();
    if !text.is_empty() {
        eprintln!("{}", tail(&text, SHOWN));
    }
    tell(
        Tone::Bad,
        "test",
        format_args!("{name}: {what}, log {}", log.display()),
    );
}

/// Runs cargo; one test, passed if it succeeds.
fn cargo(words: &[&str], log: &PathBuf) -> Result<Tally> {
    logged(command(["cargo"]).args(words), log)?;
    Ok(Tally::ONE)
}

/// Both workspaces.
fn format(log: &PathBuf) -> Result<Tally> {
    cargo(&["fmt", "--all", "--check"], log)?;
    cargo(
        &["fmt", "--check", "--manifest-path", "kmod/Cargo.toml"],
        log,
    )
}

fn lint(log: &PathBuf) -> Result<Tally> {
    cargo(
        &[
            "clippy",
            "--locked",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ],
        log,
    )
}

/// Unit, file and integration tests, with nextest where it is installed.
fn host_tests(filter: Option<&str>, log: &PathBuf) -> Result<Tally> {
    let nextest = command(["cargo", "nextest", "--version"])
        .output()
        .is_ok_and(|out| out.status.success());
    let words: &[&str] = if nextest {
        &["nextest", "run", "--no-tests=pass", "--no-fail-fast"]
    } else {
        &["test", "--no-fail-fast"]
    };
    let result = logged(
        command(["cargo"])
            .args(words)
            .args(["--locked", "--workspace"])
            .args(filter),
        log,
    );
    let text = fs::read_to_string(log)?;
    let mut sum = Tally::default();
    for line in text.lines().filter(|line| {
        line.contains("test result:") || line.contains(" tests run:") || line.contains(" test run:")
    }) {
        sum.add(Tally::parse(line));
    }
    // Without a count it did not even build.
    if sum.failed == 0 {
        result.map(|()| sum)
    } else {
        Ok(sum)
    }
}

/// Runs `command` with both its streams in `log`.
fn logged(command: &mut Command, log: &PathBuf) -> Result<()> {
    let file = File::options().append(true).open(log)?;
    let status = command
        .current_dir(root())
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .status()
        .context("cannot run cargo")?;
    if !status.success() {
        bail!("cargo failed: {status}");
    }
    Ok(())
}

/// The guest tests, one boot a kernel, some at a time.
fn guests(plan: &Plan) -> Tally {
    let next = AtomicUsize::new(0);
    let sum = Mutex::new(Tally::default());
    thread::scope(|scope| {
        for _ in 0..GUESTS.min(plan.kernels.len()) {
            scope.spawn(|| {
                while let Some(&kernel) = plan.kernels.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let name = format!("guest-{}", kernel.name());
                    let tally = phase(&name, |log| guest(kernel, plan.filter.as_deref(), log));
                    sum.lock().expect("no phase panics").add(tally);
                }
            });
        }
    });
    sum.into_inner().expect("no phase panics")
}

/// All guest tests on one kernel, in one boot.
fn guest(kernel: Kernel, filter: Option<&str>, log: &PathBuf) -> Result<Tally> {
    let program = cargo_target().join("debug/guest-tests");
    let mut words = vm::with_module(&kmod::path(kernel), &program);
    words.extend(filter.map(str::to_owned));
    let file = Mutex::new(File::create(log)?);
    let last = Mutex::new(String::new());
    let outcome = Guest::new(kernel, words).boot(&|line, is_err| {
        // The log is a courtesy; losing a line of it is no test failure.
        let _ = writeln!(file.lock().expect("nothing panics here"), "{line}");
        if !is_err && line.contains(" passed") {
            line.clone_into(&mut last.lock().expect("nothing panics here"));
        }
    })?;
    outcome.explain(kernel.name());
    let mut tally = Tally::parse(&last.into_inner().expect("nothing panics here"));
    // A sick kernel, or a runner that ended early, is a failure of its own.
    if tally.failed == 0 && !outcome.is_good() {
        tally.failed = 1;
    }
    if tally == Tally::default() && filter.is_none() {
        bail!("no guest test ran");
    }
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_from_every_runner() {
        let tally = |passed, failed, skipped| Tally {
            passed,
            failed,
            skipped,
        };
        let libtest = "test result: FAILED. 3 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        assert_eq!(Tally::parse(libtest), tally(3, 1, 2));
        let nextest =
            "     Summary [   0.018s] 20 tests run: 19 passed (1 slow), 1 failed, 4 skipped";
        assert_eq!(Tally::parse(nextest), tally(19, 1, 4));
        assert_eq!(Tally::parse("12 passed, 0 failed"), tally(12, 0, 0));
        assert_eq!(
            Tally::parse("12 passed, 1 failed, 2 skipped").to_string(),
            "12 passed, 1 failed, 2 skipped"
        );
    }
}
