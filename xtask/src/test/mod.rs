//! `cargo xtask test`: everything that is checked, in phases.
//!
//! A phase that fails does not hide the others. What a phase's programs say goes to `target/xtask/<phase>.log`; the
//! screen gets one line when it begins, one a minute while it lasts, one when it ends, and the end of the log if it failed.
//! What is left out is said before the sum, which is the last line of all: `N passed, M failed`, with `, K skipped` if any were.

mod guests;
mod readme;
mod report;

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use guests::Boot;
use report::{Report, Tally};

use crate::dist::{self, Profile};
use crate::exec::{PROGRAMS, cargo_target, command, root};
use crate::kernels::{self, Kernel};
use crate::progress::{Tone, say, seconds, tell};
use crate::vm::Engine;
use crate::{kmod, setup, tidy, values};

/// Phases that run at the same time where they need not wait for each other. Each is one thread of work, mostly.
const LANES: usize = 2;
/// After this no guest is booted any more, unless everything was asked for: continuous integration ends a run after 90
/// minutes, and then says nothing of what failed.
const DEADLINE: Duration = Duration::from_secs(75 * 60);

/// What to test.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Only what needs neither kernel module nor guest.
    pub(crate) quick: bool,
    /// The whole matrix: all on every kernel, on every engine.
    pub(crate) all: bool,
    /// Kernels that were asked for.
    pub(crate) kernels: Vec<Kernel>,
    /// What runs modules in guests, if it is one engine for all.
    pub(crate) engine: Option<Engine>,
    /// Only tests whose names contain this; no lints then.
    pub(crate) filter: Option<String>,
}

/// The task itself. Exit status 1 if anything failed, or if nothing has the name that was asked for.
pub(crate) fn run(plan: &Plan) -> Result<ExitCode> {
    let start = Instant::now();
    let kernels = match plan.all {
        true => kernels::matrix().collect(),
        false => kernels::or_usual(plan.kernels.clone()),
    };
    setup::ensure(&kernels)?;
    let report = Report::default();
    if plan.filter.is_none() {
        report.phase("format", format);
        report.phase("tidy", |_| tidy::run().map(|()| Tally::ONE));
        report.phase("lint", lint);
    }
    let mut tests = report.phase("host", |log| host_tests(plan.filter.as_deref(), log));
    let mut jobs = Vec::new();
    let boots = guests::boots(plan);
    if !plan.quick {
        for kernel in kernels {
            report.phase(&format!("kmod-{}", kernel.name()), |_| {
                kmod::build(kernel).map(|_| Tally::ONE)
            });
        }
        report.phase("programs", |log| cargo(&PROGRAMS[1..], log));
        jobs.extend(boots.run.iter().map(Job::Boot));
        let filter = plan.filter.as_ref();
        let is_asked = filter.map_or(plan.all, |filter| README.contains(filter.as_str()));
        jobs.extend(is_asked.then_some(Job::Readme));
    }
    if plan.filter.is_none() {
        jobs.extend(SANITIZERS.iter().map(Job::Sanitizer));
    }
    let takes_long = plan.all || plan.kernels.iter().any(|kernel| kernel.is_made());
    let deadline = (!takes_long).then(|| start + DEADLINE);
    tests.add(together(&jobs, deadline, &report));
    if plan.filter.is_none() && !plan.quick {
        report.phase("install", |_| installed());
    }
    if plan.all {
        report.phase("values", |_| {
            values::run(Kernel::WITH_DEBUG).map(|()| Tally::ONE)
        });
    }
    let mut sum = report.summary();
    let took = seconds(start.elapsed());
    say("test", format_args!("all phases: {took}"));
    if !plan.quick && !boots.left_out.is_empty() {
        let mut left_out = boots.left_out;
        left_out.push(README.to_owned());
        let left_out = left_out.join(", ");
        say(
            "test",
            format_args!("left out, as `cargo xtask test --all` has it: {left_out}"),
        );
    }
    if let Some(filter) = &plan.filter
        && tests.passed + tests.failed == 0
    {
        let nothing = format_args!("no test has {filter} in its name");
        tell(Tone::Bad, "test", nothing);
        sum.failed += 1;
    }
    println!("{sum}");
    Ok(if sum.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// A phase that waits for no other.
enum Job<'a> {
    Boot(&'a Boot),
    /// The README's commands.
    Readme,
    Sanitizer(&'static Sanitizer),
}

/// The name of that phase.
const README: &str = "readme";

/// Runs `jobs`, some at a time, in their order; their sum.
fn together(jobs: &[Job<'_>], deadline: Option<Instant>, report: &Report) -> Tally {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut sum = Tally::default();
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            sum.add(match job {
                Job::Boot(boot) => report.phase(&boot.name, |log| boot.run(log, deadline)),
                Job::Readme => report.phase(README, |log| readme::test(log)),
                Job::Sanitizer(sanitizer) => {
                    report.phase(sanitizer.name, |log| sanitized(sanitizer, log))
                }
            });
        }
        sum
    };
    thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES).map(|_| scope.spawn(work)).collect();
        let mut sum = Tally::default();
        for lane in lanes {
            sum.add(lane.join().expect("nothing panics here"));
        }
        sum
    })
}

/// The packages, as users install them.
fn installed() -> Result<Tally> {
    dist::install::check(&dist::build(Profile::Debug)?)?;
    Ok(Tally::ONE)
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
    counted(result, log)
}

/// The sum of what test binaries say in `log`, or `result` if they do not say that any failed: without a count it did
/// not even build.
fn counted(result: Result<()>, log: &PathBuf) -> Result<Tally> {
    let text = fs::read_to_string(log)?;
    let mut sum = Tally::default();
    for line in text.lines().filter(|line| {
        line.contains("test result:") || line.contains(" tests run:") || line.contains(" test run:")
    }) {
        sum.add(Tally::parse(line));
    }
    if sum.failed == 0 {
        result.map(|()| sum)
    } else {
        Ok(sum)
    }
}

/// What the helpers' own tests run under once more.
struct Sanitizer {
    name: &'static str,
    flags: &'static str,
    options: (&'static str, &'static str),
}

const SANITIZERS: &[Sanitizer] = &[
    Sanitizer {
        name: "address",
        flags: "-Zsanitizer=address",
        // Tests leak their guest memory.
        options: ("ASAN_OPTIONS", "detect_leaks=0"),
    },
    Sanitizer {
        name: "thread",
        flags: "-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer",
        options: ("TSAN_OPTIONS", "suppressions=tests/tsan.supp"),
    },
];

/// The helpers' tests, built with a sanitizer. Of the tests of maps those beside the kernel's have no threads.
fn sanitized(sanitizer: &Sanitizer, log: &PathBuf) -> Result<Tally> {
    const TARGET: &str = "x86_64-unknown-linux-gnu";
    let (variable, options) = sanitizer.options;
    let words = [
        "cargo",
        "test",
        "--locked",
        "--no-fail-fast",
        "--package=wprobe-helpers",
        "--lib",
        "--test=calls",
        "--test=maps",
        "--test=rings",
        "--target",
        TARGET,
    ];
    let result = logged(
        command(words)
            .env("CARGO_TARGET_DIR", cargo_target().join(sanitizer.name))
            // The stable compiler has the flag, too.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RUSTFLAGS", sanitizer.flags)
            .env(variable, options),
        log,
    );
    counted(result, log)
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
