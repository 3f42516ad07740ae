//! `wprobe run` on real tools: what it prints of a workload that triggers them.

use std::fs::{self, File};
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::guest;
use crate::tool::{Case, workload};

/// How long a tool may take until it is attached, and until it has ended.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long after a workload its events may be on their way.
const SETTLE: Duration = Duration::from_millis(200);

/// What a tool printed.
#[derive(Clone, Debug)]
pub struct Printed {
    /// Events, in their order.
    pub events: Vec<Value>,
    /// Maps and variables, as they were printed.
    pub tables: Vec<Value>,
    /// The last line: maps, variables, decisions.
    pub last: Value,
    /// The runtime that it ran on.
    pub runtime: String,
}

impl Printed {
    /// How many records there are: events, or else elements and variables that are not all zeros.
    pub fn records(&self) -> usize {
        if !self.events.is_empty() {
            return self.events.len();
        }
        let tables = self.tables.iter().map(filled);
        tables.max().unwrap_or(0)
    }
}

/// Elements and variables of a table that are not all zeros.
fn filled(table: &Value) -> usize {
    let maps = table["maps"].as_object().into_iter().flatten();
    let elements = maps.filter_map(|(_, elements)| elements.as_array());
    let elements = elements.flatten().map(|element| &element["value"]);
    let globals = table["globals"].as_object().into_iter().flatten();
    let globals = globals.map(|(_, value)| value);
    elements.chain(globals).filter(|v| is_something(v)).count()
}

/// Whether a value is more than zeros.
fn is_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(values) => values.iter().any(is_something),
        Value::Object(fields) => fields.values().any(is_something),
    }
}

/// A tool under `wprobe run`, attached.
pub struct Tool {
    child: Child,
    name: String,
    printed: PathBuf,
}

impl Tool {
    /// Starts it as its case says, and waits until it is attached.
    pub fn start(name: &str, case: &Case, pid: u32, runtime: &str) -> Result<Self> {
        let mut command = Command::new(guest::wprobe()?);
        command.args(["run", "--json", "--runtime", runtime]);
        command.arg(case.file.clone().unwrap_or_else(|| name.into()));
        let (choice, settings) = (case.choice()?, case.settings(pid));
        for (variable, value) in &settings.globals {
            command.args(["--set", &format!("{variable}={value}")]);
        }
        for (map, entries) in &settings.entries {
            command.args(["--entries", &format!("{map}={entries}")]);
        }
        for (program, section) in &choice.sections {
            command.args(["--at", &format!("{program}={section}")]);
        }
        for program in &choice.programs {
            command.args(["--program", program]);
        }
        Tool::launch(name, command)
    }

    /// Starts `command`, a `wprobe run --json`, and waits until it is attached.
    pub fn launch(name: &str, mut command: Command) -> Result<Self> {
        // More events than a pipe holds: nobody reads before the end.
        let printed = guest::scratch("run-tool")?.join("printed");
        let mut child = command
            .stdout(File::create(&printed)?)
            .stderr(Stdio::piped())
            .spawn()?;
        let stderr = child.stderr.as_mut().context("its stderr is a pipe")?;
        let mut said = Vec::new();
        let mut byte = [0];
        // It says so when it is attached; what comes later is little, and stays in the pipe.
        while stderr.read(&mut byte)? == 1 {
            said.push(byte[0]);
            if said.ends_with(b"\n") && said.starts_with(b"running ") {
                let name = name.to_owned();
                return Ok(Tool {
                    child,
                    name,
                    printed,
                });
            }
        }
        bail!("{name}: {}", String::from_utf8_lossy(&said))
    }

    /// The events that it has printed so far.
    pub fn events(&self) -> Result<Vec<Value>> {
        let text = fs::read_to_string(&self.printed)?;
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let lines = whole.lines().map(serde_json::from_str::<Value>);
        let mut lines = lines.collect::<Result<Vec<_>, _>>()?;
        lines.retain(|line| !line["event"].is_null());
        Ok(lines)
    }

    /// As [`Tool::end`], where what came last is still on its way.
    pub fn settle(self) -> Result<Printed> {
        thread::sleep(SETTLE);
        self.end()
    }

    /// Ends it as Ctrl-C does; what it printed.
    pub fn end(mut self) -> Result<Printed> {
        let pid = self.child.id() as libc::pid_t;
        // SAFETY: a signal to a child that nobody has waited for.
        ensure!(unsafe { libc::kill(pid, libc::SIGINT) } == 0, "kill");
        let end = Instant::now() + PATIENCE;
        let status = loop {
            match self.child.try_wait()? {
                Some(status) => break status,
                None if Instant::now() > end => bail!("{}: does not end", self.name),
                None => thread::sleep(Duration::from_millis(10)),
            }
        };
        let text = fs::read_to_string(&self.printed)?;
        ensure!(status.success(), "{}: {status}\n{text}", self.name);
        let lines = text.lines().map(serde_json::from_str::<Value>);
        let mut lines = lines.collect::<Result<Vec<_>, _>>()?;
        let is_table = |line: &&Value| line["event"].is_null();
        let tables: Vec<_> = lines.iter().filter(is_table).cloned().collect();
        let last = lines.pop().context("no last line")?;
        let runtime = last["runtime"].as_str().unwrap_or_default().to_owned();
        lines.retain(|line| !line["event"].is_null());
        Ok(Printed {
            events: lines,
            tables,
            last,
            runtime,
        })
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Does `work` again and again until `child` has ended; what it printed. It may print more than a pipe holds, so somebody reads all
/// the while.
pub fn beside(child: Child, mut work: impl FnMut() -> Result<()>) -> Result<Output> {
    let reader = thread::spawn(|| child.wait_with_output());
    while !reader.is_finished() {
        work()?;
        thread::sleep(Duration::from_millis(20));
    }
    Ok(reader.join().expect("nothing panics there")?)
}

/// Runs the tool `name` under its case's workload.
pub fn run(name: &str, runtime: &str) -> Result<Printed> {
    let case = Case::read(name)?;
    let mut work = workload(&case.workload)?;
    let tool = Tool::start(name, &case, work.pid(), runtime)?;
    work.start()?;
    while !work.is_done()? {
        thread::sleep(Duration::from_millis(20));
    }
    tool.settle()
}
