//! `cargo xtask diff`: every tool's object natively and as wasm, on the same events, and the table of what came out.

mod own;
mod report;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::exec::{PROGRAMS, cargo_target, command, output, root};
use crate::kernels::Kernel;
use crate::progress::{say, step};
use crate::vm::{self, Engine, Guest};
use crate::{cases, kmod, setup};
use report::Report;

/// Guests that run at the same time. Each is one thread of work.
const GUESTS: usize = 2;
/// How long a guest may take for all cases.
const PATIENCE: Duration = Duration::from_secs(45 * 60);
/// Where the table goes.
const TABLE: &str = "SUPPORT.md";

/// What to compare.
#[derive(clap::Args, Debug)]
pub(crate) struct Plan {
    /// A kernel; may be given several times. By default the usual ones
    #[arg(long, value_enum)]
    kernel: Vec<Kernel>,
    /// What runs the modules
    #[arg(long, value_enum, default_value = "wasmi")]
    engine: Engine,
    /// Repeat a case's workload until its tool has seen so many events
    #[arg(long, value_name = "N")]
    events: Option<u64>,
    /// Write every result to a file, a line of JSON each
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a report for people
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write the table to SUPPORT.md; only for all cases on the usual kernels
    #[arg(long, conflicts_with_all = ["kernel", "case", "engine"])]
    table: bool,
    /// An object of one's own instead of cases: `wprobe diff` in a guest
    #[arg(long, value_name = "FILE", requires = "workload", conflicts_with_all = ["case", "table", "events"])]
    object: Option<PathBuf>,
    /// What happens meanwhile, for the guest's shell
    #[arg(long, value_name = "COMMAND", requires = "object")]
    workload: Option<String>,
    /// What may differ: the file of `wprobe diff --rules`
    #[arg(long, value_name = "FILE", requires = "object")]
    rules: Option<PathBuf>,
    /// A field of the object's data that may differ, or by how much (repeatable)
    #[arg(long, value_name = "FIELD[=N]", requires = "object")]
    differ: Vec<String>,
    /// Types of the object's events: the file of `wprobe diff --layout`
    #[arg(long, value_name = "FILE", requires = "object")]
    layout: Option<PathBuf>,
    /// The struct in the object that its events are
    #[arg(long, value_name = "STRUCT", requires = "object")]
    event: Option<String>,
    /// Cases, by their names in diff-tests/cases; by default all
    case: Vec<String>,
}

/// The task itself. Exit status 1 if anything differs that must not, or was not compared.
pub(crate) fn run(plan: &Plan) -> Result<ExitCode> {
    let cases = match &plan.object {
        Some(object) => vec![own::name(object)],
        None => cases::wanted(&plan.case)?,
    };
    let kernels = crate::kernels::or_usual(plan.kernel.clone());
    setup::ensure(&kernels)?;
    for kernel in &kernels {
        kmod::build(*kernel)?;
    }
    step("diff", "building the guests' programs", || {
        output(command(PROGRAMS).current_dir(root()))
    })?;
    let results = Mutex::new(Vec::new());
    let healthy = match &plan.object {
        Some(object) => own::compare(plan, object, &kernels, &results)?,
        None => guests(&kernels, plan, &cases, &results)?,
    };
    let results = results.into_inner().expect("nothing panics here");
    let report = Report::new(&kernels, &cases, &results);
    print!("{}", report.text());
    if let Some(path) = &plan.json {
        let lines = results.iter().map(|row| format!("{row}\n"));
        fs::write(path, lines.collect::<String>())?;
    }
    if let Some(path) = &plan.html {
        let date = output(&mut command(["date", "-u", "+%Y-%m-%d %H:%M UTC"]))?;
        fs::write(path, report.html(plan.engine.name(), date.trim()))?;
    }
    if plan.table {
        fs::write(root().join(TABLE), report.markdown())?;
    }
    Ok(match healthy && report.is_good() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// Runs the cases on each kernel; whether all guests were well to their end.
fn guests(
    kernels: &[Kernel],
    plan: &Plan,
    cases: &[String],
    results: &Mutex<Vec<Value>>,
) -> Result<bool> {
    let (next, sick) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || -> Result<()> {
        while let Some(&kernel) = kernels.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (rows, healthy) = guest(kernel, plan, cases)?;
            sick.fetch_add(usize::from(!healthy), Ordering::Relaxed);
            results.lock().expect("nothing panics here").extend(rows);
        }
        Ok(())
    };
    thread::scope(|scope| {
        let guests = GUESTS.min(kernels.len());
        let threads: Vec<_> = (0..guests).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().expect("nothing panics here"))
    })?;
    Ok(sick.into_inner() == 0)
}

/// The cases on one kernel: their results, and whether the guest was well to its end.
fn guest(kernel: Kernel, plan: &Plan, cases: &[String]) -> Result<(Vec<Value>, bool)> {
    let name = format!("diff-{}.json", kernel.name());
    let file = vm::out_dir().join(&name);
    fs::create_dir_all(vm::out_dir())?;
    fs::write(&file, "")?;
    let program = cargo_target().join("debug/guest-diff");
    let mut words = vm::on_engine(plan.engine, &kmod::path(kernel), &program);
    words.extend(["--json".to_owned(), format!("/tmp/out/{name}")]);
    if let Some(events) = plan.events {
        words.extend(["--events".to_owned(), events.to_string()]);
    }
    words.extend(cases.iter().cloned());
    let guest = Guest {
        timeout: PATIENCE,
        ..Guest::new(kernel, words)
    };
    let outcome = guest.boot(&|line, _| say(kernel.name(), line))?;
    outcome.explain(kernel.name());
    let text = fs::read_to_string(&file)?;
    let rows = text.lines().map(serde_json::from_str);
    let rows: Vec<Value> = rows.collect::<Result<_, _>>().context("a line a case")?;
    // 1: something differs, or the guest's program failed: rows say it, or are missing.
    let ended = matches!(outcome.status, Some(0 | 1)) && outcome.defects.is_empty();
    Ok((rows, ended))
}
