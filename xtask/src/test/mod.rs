//! `cargo xtask test`: everything that is checked, in phases.
//!
//! A phase that fails does not hide the others. What a phase's programs say goes to `target/xtask/<phase>.log`; the
//! screen gets one line when it begins, one when it ends, and the end of the log if it failed. The last line of all
//! is the sum: `N passed, M failed`, with `, K skipped` if any were.

mod report;

use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use report::{Report, Tally};

use crate::dist::{self, Profile};
use crate::exec::{PROGRAMS, cargo_target, command, root};
use crate::kernels::Kernel;
use crate::progress::{say, seconds};
use crate::vm::{self, Engine, Guest};
use crate::{kmod, setup, tidy};

/// How long a guest may take for its tests: on a busy machine thrice as long as on an idle one.
const PATIENCE: Duration = Duration::from_secs(25 * 60);
/// Guests that run at the same time. Each is one thread of work.
const GUESTS: usize = 2;

/// What to test.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Only what needs neither kernel module nor guest.
    pub(crate) quick: bool,
    /// Kernels to boot.
    pub(crate) kernels: Vec<Kernel>,
    /// What runs modules in guests, if it is one engine for all.
    pub(crate) engine: Option<Engine>,
    /// Only tests whose names contain this; no lints then.
    pub(crate) filter: Option<String>,
}

/// The task itself.
pub(crate) fn run(plan: &Plan) -> Result<ExitCode> {
    let start = Instant::now();
    setup::ensure(&plan.kernels)?;
    let report = Report::default();
    if plan.filter.is_none() {
        report.phase("format", format);
        report.phase("lint", lint);
        report.phase("tidy", |_| tidy::run().map(|()| Tally::ONE));
    }
    report.phase("host", |log| host_tests(plan.filter.as_deref(), log));
    if plan.filter.is_none() {
        for sanitizer in SANITIZERS {
            report.phase(sanitizer.name, |log| sanitized(sanitizer, log));
        }
    }
    if !plan.quick {
        for &kernel in &plan.kernels {
            report.phase(&format!("kmod-{}", kernel.name()), |_| {
                kmod::build(kernel).map(|_| Tally::ONE)
            });
        }
        report.phase("programs", |log| cargo(&PROGRAMS[1..], log));
        guests(plan, &report);
        if plan.filter.is_none() {
            report.phase("install", |_| installed());
        }
    }
    let sum = report.summary();
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

/// What one boot tests.
struct Boot<'a> {
    name: String,
    kernel: Kernel,
    engine: Engine,
    /// Which tests, in the words of libtest.
    tests: Vec<&'a str>,
    /// Whether there must be some.
    expected: bool,
}

/// A part of the guest tests, on a boot of its own.
struct Part {
    name: &'static str,
    tests: &'static [&'static str],
    /// The kernel on which it is native code's, unless all is one engine's.
    native: Kernel,
}

/// Two halves, so that the work of three kernels is even on two cores. Every test runs on both engines.
const PARTS: &[Part] = &[
    Part {
        name: "guest",
        tests: &["--skip", TOOLS],
        native: Kernel::V6_12,
    },
    Part {
        name: "tools",
        tests: &[TOOLS],
        native: Kernel::V6_1,
    },
];

impl<'a> Boot<'a> {
    /// With a filter one boot a kernel, else one for each part.
    fn all(plan: &'a Plan) -> Vec<Self> {
        let kernels = plan.kernels.iter().copied();
        if let Some(filter) = &plan.filter {
            let boot = |kernel: Kernel| Boot {
                name: format!("guest-{}", kernel.name()),
                kernel,
                engine: plan.engine.unwrap_or(Engine::Wasmi),
                tests: vec![filter],
                expected: false,
            };
            return kernels.map(boot).collect();
        }
        let boot = |part: &Part, kernel: Kernel| {
            let by_default = match kernel == part.native {
                true => Engine::Aot,
                false => Engine::Wasmi,
            };
            let engine = plan.engine.unwrap_or(by_default);
            Boot {
                name: format!("{}-{}-{}", part.name, kernel.name(), engine.name()),
                kernel,
                engine,
                tests: part.tests.to_vec(),
                expected: true,
            }
        };
        let boots = PARTS
            .iter()
            .flat_map(|part| kernels.clone().map(move |kernel| boot(part, kernel)));
        boots.collect()
    }
}

/// The names of the guest tests that compare Debian's tools.
const TOOLS: &str = "tools::";

/// The guest tests, some boots at a time.
fn guests(plan: &Plan, report: &Report) {
    let boots = Boot::all(plan);
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(boot) = boots.get(next.fetch_add(1, Ordering::Relaxed)) {
            report.phase(&boot.name, |log| guest(boot, log));
        }
    };
    thread::scope(|scope| {
        for _ in 0..GUESTS.min(boots.len()) {
            scope.spawn(work);
        }
    });
}

/// Some guest tests on one kernel, in one boot.
fn guest(boot: &Boot<'_>, log: &PathBuf) -> Result<Tally> {
    let kernel = boot.kernel;
    let program = cargo_target().join("debug/guest-tests");
    let mut words = vm::on_engine(boot.engine, &kmod::path(kernel), &program);
    words.extend(boot.tests.iter().map(|&word| word.to_owned()));
    let file = Mutex::new(File::create(log)?);
    let last = Mutex::new(String::new());
    let start = Instant::now();
    let guest = Guest {
        timeout: PATIENCE,
        ..Guest::new(kernel, words)
    };
    let outcome = guest.boot(&|line, is_err| {
        // The log is a courtesy; losing a line of it is no test failure.
        let _ = writeln!(
            file.lock().expect("nothing panics here"),
            "{:7.1} {line}",
            start.elapsed().as_secs_f64()
        );
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
    if tally == Tally::default() && boot.expected {
        bail!("no guest test ran");
    }
    Ok(tally)
}
