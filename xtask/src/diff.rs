//! `cargo xtask diff`: every tool's object natively and as wasm, on the same events, and the table of what came out.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::exec::{cargo_target, command, output, root};
use crate::kernels::Kernel;
use crate::progress::{say, step};
use crate::vm::{self, Engine, Guest};
use crate::{kmod, setup};

/// Guests that run at the same time. Each is one thread of work.
const GUESTS: usize = 2;
/// How long a guest may take for all cases.
const PATIENCE: Duration = Duration::from_secs(45 * 60);
/// Where the table goes.
const TABLE: &str = "SUPPORT.md";

/// What to compare.
#[derive(clap::Args, Debug)]
pub(crate) struct Plan {
    /// A kernel; may be given several times. By default all
    #[arg(long, value_enum)]
    kernel: Vec<Kernel>,
    /// What runs the modules
    #[arg(long, value_enum, default_value = "wasmi")]
    engine: Engine,
    /// Write every result to a file, a line of JSON each
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a report for people
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write the table to SUPPORT.md; only for all cases on all kernels
    #[arg(long, conflicts_with_all = ["kernel", "case", "engine"])]
    table: bool,
    /// An object of one's own instead of cases: `wprobe diff` in a guest
    #[arg(long, value_name = "FILE", requires = "workload", conflicts_with_all = ["case", "table", "html"])]
    object: Option<PathBuf>,
    /// What happens meanwhile, for the guest's shell
    #[arg(long, value_name = "COMMAND", requires = "object")]
    workload: Option<String>,
    /// What may differ: the file of `wprobe diff --rules`
    #[arg(long, value_name = "FILE", requires = "object")]
    rules: Option<PathBuf>,
    /// Cases, by their names in diff-tests/cases; by default all
    case: Vec<String>,
}

/// The task itself. Exit status 1 if anything differs that must not.
pub(crate) fn run(plan: &Plan) -> Result<ExitCode> {
    let kernels = crate::kernels::or_all(plan.kernel.clone());
    setup::ensure(&kernels)?;
    for kernel in &kernels {
        kmod::build(*kernel)?;
    }
    step("diff", "building the guests' programs", || {
        output(command(["cargo", "build", "--locked", "--workspace", "--bins"]).current_dir(root()))
    })?;
    if let Some(object) = &plan.object {
        return own(plan, object, &kernels);
    }
    let results = Mutex::new(Vec::new());
    let healthy = guests(&kernels, plan, &results)?;
    let results = results.into_inner().expect("nothing panics here");
    let report = Report::new(&kernels, &results);
    print!("{}", report.text());
    if let Some(path) = &plan.json {
        let lines = results.iter().map(|row| format!("{row}\n"));
        fs::write(path, lines.collect::<String>())?;
    }
    if let Some(path) = &plan.html {
        fs::write(path, report.html())?;
    }
    if plan.table {
        fs::write(root().join(TABLE), report.markdown())?;
    }
    Ok(
        match healthy && results.iter().all(|row| row["good"] == true) {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        },
    )
}

/// `wprobe diff` of an object on each kernel. Exit status 1 if it is not equal on one.
fn own(plan: &Plan, object: &Path, kernels: &[Kernel]) -> Result<ExitCode> {
    let about = |path: &Path| {
        let path = fs::canonicalize(path).with_context(|| path.display().to_string())?;
        Ok::<_, anyhow::Error>(path.display().to_string())
    };
    let mut good = true;
    for &kernel in kernels {
        let insmod = "insmod \"$1\" && shift && exec \"$@\"";
        let wprobe = cargo_target().join("debug/wprobe").display().to_string();
        let mut words: Vec<String> = ["sh", "-c", insmod, "sh"].map(str::to_owned).into();
        words.extend([
            about(&kmod::path(kernel))?,
            wprobe,
            "diff".into(),
            about(object)?,
        ]);
        words.extend(
            plan.workload
                .iter()
                .flat_map(|w| ["--workload".into(), w.clone()]),
        );
        if let Some(rules) = &plan.rules {
            words.extend(["--rules".into(), about(rules)?]);
        }
        let outcome = Guest::new(kernel, words).boot(&|line, _| say(kernel.name(), line))?;
        outcome.explain(kernel.name());
        good &= outcome.is_good();
    }
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs the cases on each kernel; whether all guests were well to their end.
fn guests(kernels: &[Kernel], plan: &Plan, results: &Mutex<Vec<Value>>) -> Result<bool> {
    let (next, sick) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || -> Result<()> {
        while let Some(&kernel) = kernels.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (rows, healthy) = guest(kernel, plan)?;
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
fn guest(kernel: Kernel, plan: &Plan) -> Result<(Vec<Value>, bool)> {
    let name = format!("diff-{}.json", kernel.name());
    let file = vm::out_dir().join(&name);
    fs::create_dir_all(vm::out_dir())?;
    fs::write(&file, "")?;
    let program = cargo_target().join("debug/guest-diff");
    let mut words = vm::on_engine(plan.engine, &kmod::path(kernel), &program);
    words.extend(["--json".to_owned(), format!("/tmp/out/{name}")]);
    words.extend(plan.case.iter().cloned());
    let guest = Guest {
        timeout: PATIENCE,
        ..Guest::new(kernel, words)
    };
    let outcome = guest.boot(&|line, _| say(kernel.name(), line))?;
    for defect in &outcome.defects {
        say(kernel.name(), format_args!("defect: {defect}"));
    }
    let text = fs::read_to_string(&file)?;
    let rows = text.lines().map(serde_json::from_str);
    let rows: Vec<Value> = rows.collect::<Result<_, _>>().context("a line a case")?;
    // 1: something differs, which the rows say.
    let ended = matches!(outcome.status, Some(0 | 1)) && outcome.defects.is_empty();
    Ok((rows, ended))
}

/// Results by case and kernel.
struct Report<'r> {
    kernels: Vec<&'static str>,
    cases: BTreeMap<&'r str, BTreeMap<&'r str, &'r Value>>,
}

impl<'r> Report<'r> {
    fn new(kernels: &[Kernel], results: &'r [Value]) -> Self {
        let mut cases: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        for row in results {
            if let (Some(case), Some(kernel)) = (row["case"].as_str(), row["kernel"].as_str()) {
                cases.entry(case).or_default().insert(kernel, row);
            }
        }
        Report {
            kernels: kernels.iter().map(|kernel| kernel.name()).collect(),
            cases,
        }
    }

    /// A case's result on a kernel, in a few words.
    fn cell(&self, case: &str, kernel: &str) -> String {
        let Some(row) = self.cases[case].get(kernel) else {
            return "not run".to_owned();
        };
        let result = &row["result"];
        if result["except"].is_string() {
            return "native cannot".to_owned();
        }
        if result["absent"].is_string() {
            return "no such place".to_owned();
        }
        let compared = &result["compared"];
        if compared.is_null() {
            return "FAILS".to_owned();
        }
        let count = |key: &str| compared[key].as_u64().unwrap_or(0);
        let seen = match count("events") {
            0 => format!("{} runs", count("runs")),
            events => format!("{events} events"),
        };
        match row["good"] == true {
            true => format!("equal, {seen}"),
            false => "DIFFERS".to_owned(),
        }
    }

    fn lines(&self) -> impl Iterator<Item = (&str, Vec<String>)> {
        self.cases.keys().map(|case| {
            let cells = self.kernels.iter().map(|kernel| self.cell(case, kernel));
            (*case, cells.collect())
        })
    }

    /// How many cases are equal on every kernel.
    fn sum(&self) -> String {
        let all_equal =
            |(_, cells): &(&str, Vec<String>)| cells.iter().all(|c| c.starts_with("equal"));
        let equal = self.lines().filter(all_equal).count();
        let kernels = self.kernels.join(", ");
        format!("{equal} of {} equal on {kernels}", self.cases.len())
    }

    /// Why a case was not compared (`except`, `absent`), once for all kernels of which it is true.
    fn exceptions(&self, kind: &str) -> Vec<(&str, &str, String)> {
        let mut exceptions: Vec<(&str, &str, String)> = Vec::new();
        for (case, rows) in &self.cases {
            for (kernel, row) in rows {
                let Some(why) = row["result"][kind].as_str() else {
                    continue;
                };
                match exceptions.iter_mut().find(|e| e.0 == *case && e.1 == why) {
                    Some((_, _, kernels)) => *kernels += &format!(", {kernel}"),
                    None => exceptions.push((case, why, (*kernel).to_owned())),
                }
            }
        }
        exceptions
    }

    fn text(&self) -> String {
        let mut text = format!("{:<16}", "");
        text.extend(self.kernels.iter().map(|kernel| format!("  {kernel:<22}")));
        text.push('\n');
        for (case, cells) in self.lines() {
            text += &format!("{case:<16}");
            text.extend(cells.iter().map(|cell| format!("  {cell:<22}")));
            text.push('\n');
        }
        text + &self.sum() + "\n"
    }

    fn markdown(&self) -> String {
        let mut text = format!(
            "# Tools, native against wasm\n\nGenerated by `cargo xtask diff --table`: {}. Each tool's object ran under the kernel's eBPF and under\n\
             `wprobe.ko`, on the same kernel, attached to the same events at the same time; every map, global and event was compared.\n\
             What may differ, and why, is in [diff-tests/cases](diff-tests/cases), a file a tool.\n\n| tool |",
            self.sum()
        );
        text.extend(self.kernels.iter().map(|kernel| format!(" {kernel} |")));
        text += &format!("\n|---|{}\n", "---|".repeat(self.kernels.len()));
        for (case, cells) in self.lines() {
            text += &format!("| {case} | {} |\n", cells.join(" | "));
        }
        let kinds = [
            (
                "except",
                "Where native eBPF cannot run an object, as wasm it loads and attaches:",
            ),
            ("absent", "Places that kernels do not have:"),
        ];
        for (kind, title) in kinds {
            let exceptions = self.exceptions(kind);
            if !exceptions.is_empty() {
                text += &format!("\n{title}\n\n");
            }
            for (case, why, kernels) in exceptions {
                text += &format!("* {case} on {kernels}: {why}\n");
            }
        }
        text
    }

    fn html(&self) -> String {
        let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;");
        let mut body = format!(
            "<h1>Native against wasm</h1><p>{}</p><table><tr><th>tool</th>",
            self.sum()
        );
        body.extend(
            self.kernels
                .iter()
                .map(|kernel| format!("<th>{kernel}</th>")),
        );
        body += "</tr>";
        for (case, cells) in self.lines() {
            body += &format!("<tr><td><a href=\"#{case}\">{case}</a></td>");
            for cell in cells {
                let class = cell
                    .split([',', ' '])
                    .next()
                    .unwrap_or_default()
                    .to_lowercase();
                body += &format!("<td class=\"{class}\">{cell}</td>");
            }
            body += "</tr>";
        }
        body += "</table>";
        for (case, rows) in &self.cases {
            body += &format!("<h2 id=\"{case}\">{case}</h2>");
            for (kernel, row) in rows {
                let details = serde_json::to_string_pretty(&row["result"]).unwrap_or_default();
                body += &format!(
                    "<details><summary>{kernel}: {}</summary><pre>{}</pre></details>",
                    self.cell(case, kernel),
                    escape(&details)
                );
            }
        }
        format!(
            "<!doctype html><meta charset=\"utf-8\"><title>Native against wasm</title><style>body{{font:15px sans-serif;margin:2em}}\
             td,th{{padding:.2em .8em;text-align:left}}.equal{{background:#dfd}}.differs,.fails{{background:#fcc}}.native{{background:#eee}}</style>{body}\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_result_has_its_cell() {
        let row = |case: &str, kernel: &str, good: bool, result: Value| json!({ "case": case, "kernel": kernel, "good": good, "result": result });
        let compared = |events| json!({ "compared": { "events": events, "runs": 7 } });
        let results = [
            row("a", "6.1", true, compared(3)),
            row("a", "6.12", true, compared(0)),
            row("b", "6.1", false, compared(3)),
            row("b", "6.12", true, json!({ "except": "it is <new>" })),
            row("c", "6.1", false, json!({ "error": "no" })),
        ];
        let report = Report::new(&[Kernel::V6_1, Kernel::V6_12], &results);
        let lines: Vec<_> = report.lines().collect();
        assert_eq!(lines[0].1, ["equal, 3 events", "equal, 7 runs"]);
        assert_eq!(lines[1].1, ["DIFFERS", "native cannot"]);
        assert_eq!(lines[2].1, ["FAILS", "not run"]);
        assert_eq!(report.sum(), "1 of 3 equal on 6.1, 6.12");
        assert!(report.markdown().contains("* b on 6.12: it is <new>"));
        assert!(report.html().contains("it is &lt;new>"));
    }
}
