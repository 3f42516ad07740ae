//! Hosts whose kernel has no BTF: it is hidden, and what modules ask of it was answered before.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use loader::answers::Source;
use loader::attach::{Choice, Plan};
use loader::load::Options;
use loader::open::Input;
use loader::profile::Profile;
use loader::session::wasm::Wasm;
use loader::values::{self, KERNEL_BTF};

use super::Case;
use crate::guest;
use crate::tool;

/// The tests of this area.
pub const CASES: &[Case] = &[
    ("values::tools_are_equal_to_runs_with_btf", tools),
    ("values::a_host_without_btf_is_told_what_to_do", told),
    ("values::a_module_carries_its_own", carried),
];

/// Tools whose programs are on system calls, functions and tracepoints with types.
const TOOLS: [&str; 4] = ["opensnoop", "execsnoop", "tcpconnect", "biolatency"];

/// The kernel's BTF, hidden until this is dropped.
struct Hidden;

impl Hidden {
    fn new() -> Result<Self> {
        guest::succeed(
            Command::new("mount")
                .args(["-t", "tmpfs", "none"])
                .arg(place()),
        )?;
        let hidden = Hidden;
        ensure!(
            !Path::new(KERNEL_BTF).exists(),
            "{KERNEL_BTF} is still there"
        );
        Ok(hidden)
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // A test that fails because of it says so itself.
        let _ = guest::succeed(Command::new("umount").arg(place()));
    }
}

fn place() -> &'static Path {
    Path::new(KERNEL_BTF).parent().unwrap_or(Path::new("/"))
}

/// What `wprobe values` makes of `tool`, at `output`.
fn made(tool: &str, output: PathBuf) -> Result<PathBuf> {
    let mut command = Command::new(guest::wprobe()?);
    guest::succeed(command.args(["values", tool, "-o"]).arg(&output))?;
    Ok(output)
}

/// All that is found out about `input` from the kernel's types, and its links.
fn found(input: &Input, choice: &Choice, options: &Options) -> Result<(Vec<u64>, String)> {
    let source = options.source(input)?;
    let values = values::compute(input, &[], &source)?;
    let plan = Plan::with(input, choice, &source)?;
    let links: Vec<_> = plan.links().collect();
    ensure!(!links.is_empty(), "nothing is attached");
    Ok((values.globals, format!("{links:?}")))
}

fn tools() -> Result<()> {
    let folder = guest::scratch("values")?;
    let device = guest::device()?;
    for name in TOOLS {
        let path = made(name, folder.join(format!("{name}.values")))?;
        let size = fs::metadata(&path)?.len();
        ensure!(size < 8192, "{name}: {size} bytes");
        let input = Input::open(&Path::new("/usr/sbin").join(name), None)?;
        let mut choice = Choice::default();
        Profile::of(&input).complete(&mut choice)?;
        let by = |values: &Path| Options {
            values: Some(values.to_owned()),
            ..Options::default()
        };
        let with = found(&input, &choice, &Options::default())?;
        let hidden = Hidden::new()?;
        for values in [&path, &folder] {
            let without = found(&input, &choice, &by(values))?;
            ensure!(with == without, "{name}: {with:?}, without BTF {without:?}");
        }
        let mut wasm = Wasm::open(&device, input.clone(), &choice, &by(&path))?;
        wasm.attach()?;
        drop((wasm, hidden));
        let outcome = tool::Case::read(name)?.run_by(&device, name, &path)?;
        ensure!(outcome.equal() && outcome.seen() > 0, "{name}: {outcome}");
        println!("{name}: {size} bytes of values; {outcome}");
    }
    Ok(())
}

fn told() -> Result<()> {
    let folder = guest::scratch("values")?;
    let path = made("execsnoop", folder.join("execsnoop.values"))?;
    let hidden = Hidden::new()?;
    let said = |args: &[&str]| -> Result<String> {
        let output = Command::new(guest::wprobe()?).args(args).output()?;
        ensure!(!output.status.success(), "wprobe {args:?} succeeded");
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let opensnoop = ["load", "/usr/sbin/opensnoop"];
    let refusal = said(&opensnoop)?;
    ensure!(
        refusal.contains("`wprobe doctor` says what to do"),
        "{refusal}"
    );
    let doctor = guest::succeed(Command::new(guest::wprobe()?).arg("doctor"))?;
    let doctor = String::from_utf8_lossy(&doctor.stdout).into_owned();
    ensure!(doctor.contains("wprobe values MODULE --btf"), "{doctor}");
    let path = path.display().to_string();
    let others = said(&[&opensnoop[..], &["--values", &path]].concat())?;
    ensure!(
        others.contains("no values of opensnoop as it is here, but of: execsnoop"),
        "{others}"
    );
    drop(hidden);
    Ok(())
}

fn carried() -> Result<()> {
    let folder = guest::scratch("values")?;
    let path = made("biolatency", folder.join("biolatency.wasm"))?;
    let hidden = Hidden::new()?;
    let wprobe = |args: &[&str]| guest::succeed(Command::new(guest::wprobe()?).args(args));
    let input = Input::open(&path, None)?;
    let source = Source::find(&input, None, None)?;
    ensure!(matches!(source, Source::Answers(_)), "{source:?}");
    let path = path.to_str().context("a path in UTF-8")?;
    wprobe(&["load", path, "--name", "carrier"])?;
    // What was loaded is read back from the kernel, values and all.
    let activated = wprobe(&["activate", "carrier", "--explain"]);
    wprobe(&["unload", "carrier"])?;
    let activated = String::from_utf8_lossy(&activated?.stdout).into_owned();
    ensure!(activated.contains("attached  block_rq_"), "{activated}");
    drop(hidden);
    Ok(())
}
