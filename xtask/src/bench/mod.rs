//! `cargo xtask bench`: what things cost beside native eBPF. One file a mode.

mod compute;
mod event;
mod footprint;
mod picture;
mod profile;
mod scaling;
mod sharing;
mod svg;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::exec::{cargo_target, command, output, root};
use crate::kernels::Kernel;
use crate::progress::{say, step};
use crate::vm::{self, Guest};
use crate::{kmod, setup};

/// How long a guest may take.
const LONGEST: Duration = Duration::from_secs(3600);

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Nanoseconds of an event.
    Wall,
    /// Its instructions.
    Instructions,
    /// Its instructions, by function.
    Profile,
    /// Nothing of one: what computing costs, in this process.
    Compute,
    /// What a loaded tool takes, and how soon it sees something.
    Footprint,
    /// What an event costs as things grow.
    Scaling,
}

impl Mode {
    /// What `guest-bench`, and the file of results, call it.
    fn name(self) -> &'static str {
        match self {
            Mode::Wall => "wall",
            Mode::Instructions => "instructions",
            Mode::Profile => "profile",
            Mode::Compute => "compute",
            Mode::Footprint => "footprint",
            Mode::Scaling => "scaling",
        }
    }
}

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Plan {
    /// A minute instead of several
    #[arg(long)]
    quick: bool,
    /// The kernel
    #[arg(long, value_enum, default_value = "6.12")]
    kernel: Kernel,
    /// Put the result into this file as well, beside those of other modes, and draw a picture of it (.svg)
    #[arg(long)]
    json: Option<PathBuf>,
    #[command(flatten)]
    modes: Modes,
    /// Only these programs of corpus/src/lseek.bpf.c, or, of --footprint, these tools
    #[arg(conflicts_with = "compute")]
    names: Vec<String>,
}

/// Which of the modes; none of them: nanoseconds.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
struct Modes {
    /// Count the guest's instructions instead of nanoseconds: the same in each run, whatever else the machine does
    #[arg(long)]
    instructions: bool,
    /// Count the instructions of one event, by function
    #[arg(long, conflicts_with = "json")]
    profile: bool,
    /// Measure programs that only compute, in this process and in this machine's kernel
    #[arg(long)]
    compute: bool,
    /// Measure the memory of loaded tools, and the time until their first event
    #[arg(long)]
    footprint: bool,
    /// Count the instructions of an event as maps, loaded programs and busy CPUs become more, and events a second on two CPUs
    #[arg(long, conflicts_with = "names")]
    scaling: bool,
}

impl Modes {
    fn mode(&self) -> Mode {
        let modes = [
            (self.instructions, Mode::Instructions),
            (self.profile, Mode::Profile),
            (self.compute, Mode::Compute),
            (self.footprint, Mode::Footprint),
            (self.scaling, Mode::Scaling),
        ];
        let chosen = modes.iter().find(|(is_chosen, _)| *is_chosen);
        chosen.map_or(Mode::Wall, |(_, mode)| *mode)
    }
}

/// What came of it.
struct Measured {
    /// For people.
    text: String,
    /// For others.
    json: Value,
}

/// The task itself.
pub(crate) fn run(plan: &Plan) -> Result<ExitCode> {
    let mode = plan.modes.mode();
    let measured = match mode {
        Mode::Compute => Some(compute::run(plan.quick)?),
        Mode::Footprint => Some(footprint::run(plan)?),
        Mode::Scaling => Some(scaling::run(plan)?),
        Mode::Wall | Mode::Instructions | Mode::Profile => event::run(plan, mode)?,
    };
    if let Some(measured) = measured {
        print!("{}", measured.text);
        if let Some(file) = &plan.json {
            keep(file, mode.name(), measured.json)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Puts a mode's result into `file`, and draws what is in there.
fn keep(file: &Path, mode: &str, result: Value) -> Result<()> {
    let mut all = match file.exists() {
        true => serde_json::from_str(&fs::read_to_string(file)?)
            .with_context(|| format!("{}: not of this command", file.display()))?,
        false => serde_json::Map::new(),
    };
    all.insert(mode.to_owned(), result);
    fs::write(file.with_extension("svg"), picture::draw(&all))?;
    fs::write(file, serde_json::to_string_pretty(&all)? + "\n")
        .with_context(|| file.display().to_string())
}

/// The guest's program, where only what the kernel does is counted: as tests build it, which is quicker.
fn unoptimised(part: &str) -> Result<PathBuf> {
    step("build", "as for tests", || {
        let mut cargo = command(["cargo", "build", "--quiet", "--locked", "--workspace"]);
        cargo.args(["--bins", "--examples"]);
        output(cargo.current_dir(root()))
    })?;
    Ok(cargo_target().join("debug").join(part))
}

/// What user space has a share in, optimised: the guest's program and the example `compute`, which is built with it.
fn release(part: &str) -> Result<PathBuf> {
    step(
        "build",
        "optimised, which takes a while the first time",
        || {
            let mut cargo = command(["cargo", "build", "--release", "--quiet", "--locked"]);
            cargo.args(["--package", "wprobe-diff-tests"]).args([
                "--bin",
                "guest-bench",
                "--example",
                "compute",
            ]);
            output(cargo.current_dir(root()))
        },
    )?;
    Ok(cargo_target().join("release").join(part))
}

/// A guest that runs `program`, which is `guest-bench`.
fn guest_bench(plan: &Plan, program: &Path, words: Vec<String>) -> Result<Guest> {
    setup::ensure(&[plan.kernel])?;
    let module = kmod::build(plan.kernel)?;
    let mut command = vm::with_module(&module, program);
    command.extend(words);
    let mut guest = Guest::new(plan.kernel, command);
    // Other work on the machine makes it slow, and results no worse.
    guest.timeout = LONGEST;
    Ok(guest)
}

/// Boots `guest`; what it printed.
fn measured(guest: &Guest) -> Result<Value> {
    let said = Mutex::new(String::new());
    let outcome = guest.boot(&|line, is_err| {
        if is_err {
            say("guest", line);
        } else {
            said.lock().expect("nothing panics here").push_str(line);
        }
    })?;
    outcome.explain("bench");
    if !outcome.is_good() {
        bail!("nothing was measured");
    }
    Ok(serde_json::from_str(
        &said.into_inner().expect("nothing panics here"),
    )?)
}

/// The sample at that part of the way through `sorted`.
fn quantile(sorted: &[f64], part: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    sorted.get((last as f64 * part).round() as usize).copied()
}
