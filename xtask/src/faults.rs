//! `cargo xtask faults`: whether the tests would notice. Puts the faults of `diff-tests/faults.toml` into a copy of the
//! tree, one at a time, and runs the test that should fail.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::exec::{PROGRAMS, command, output, root};
use crate::kernels::Kernel;
use crate::progress::{Tone, say, step, tell};
use crate::setup;
use crate::vm::{self, Guest};

/// The list, from the root.
const LIST: &str = "diff-tests/faults.toml";
/// Packages that the module is made from, rather than the guests' programs.
const IN_MODULE: &[&str] = &["kmod/", "helpers/"];

/// Which faults.
#[derive(clap::Args, Debug)]
pub(crate) struct Plan {
    /// The kernel
    #[arg(long, value_enum, default_value = "6.12")]
    kernel: Kernel,
    /// Only faults whose names contain this
    filter: Option<String>,
}

#[derive(Deserialize)]
struct List {
    fault: Vec<Fault>,
}

/// A fault.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fault {
    name: String,
    file: PathBuf,
    /// Once in the file.
    find: String,
    replace: String,
    /// The guest tests whose names contain this: one of them fails.
    test: String,
}

impl Fault {
    fn list() -> Result<Vec<Self>> {
        let text = fs::read_to_string(root().join(LIST))?;
        let list: List = toml::from_str(&text).context(LIST)?;
        Ok(list.fault)
    }

    /// The file's text with the fault.
    fn applied(&self, text: &str) -> Result<String> {
        let found = text.matches(&self.find).count();
        ensure!(
            found == 1,
            "{}: {found} times in {}: {}",
            self.name,
            self.file.display(),
            self.find
        );
        Ok(text.replacen(&self.find, &self.replace, 1))
    }

    /// What it is built into.
    fn part(&self) -> Part {
        match IN_MODULE.iter().any(|part| self.file.starts_with(part)) {
            true => Part::Module,
            false => Part::Programs,
        }
    }
}

/// The task itself. Exit status 1 if a fault stays unnoticed.
pub(crate) fn run(plan: &Plan) -> Result<ExitCode> {
    let is_it = |fault: &Fault| plan.filter.as_ref().is_none_or(|f| fault.name.contains(f));
    let faults: Vec<_> = Fault::list()?.into_iter().filter(is_it).collect();
    ensure!(
        !faults.is_empty(),
        "no fault's name contains {}",
        plan.filter.as_deref().unwrap_or_default()
    );
    setup::ensure(&[plan.kernel])?;
    let mut tree = Tree::copy(plan.kernel)?;
    let tests: BTreeSet<_> = faults.iter().map(|fault| &fault.test).collect();
    for test in tests {
        if let Verdict::Failed(line) = tree.test(test)? {
            bail!("{test} fails without any fault: {line}");
        }
    }
    let mut unnoticed = 0;
    for fault in &faults {
        let (tone, said) = match tree.with(fault) {
            Ok(Verdict::Failed(line)) => (Tone::Good, line),
            Ok(Verdict::Passed) => (Tone::Bad, format!("unnoticed by {}", fault.test)),
            Err(why) => (Tone::Bad, format!("{why:#}")),
        };
        unnoticed += usize::from(tone == Tone::Bad);
        tell(tone, "faults", format_args!("{}: {said}", fault.name));
    }
    println!("{} faults, {unnoticed} unnoticed", faults.len());
    Ok(ExitCode::from(u8::from(unnoticed > 0)))
}

/// What a test came to.
enum Verdict {
    Passed,
    /// What it said.
    Failed(String),
}

/// What is built from the tree.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Programs,
    Module,
}

/// A copy of the tree, built apart from it.
struct Tree {
    dir: PathBuf,
    target: PathBuf,
    kernel: Kernel,
    /// What was changed since it was built.
    stale: Vec<Part>,
}

impl Tree {
    /// Every file that git knows or would take, as it is now.
    fn copy(kernel: Kernel) -> Result<Self> {
        let place = root().join("target/faults");
        let dir = place.join("tree");
        say("faults", format_args!("copying to {}", dir.display()));
        let files =
            output(command(["git", "ls-files", "-co", "--exclude-standard"]).current_dir(root()))?;
        let known: BTreeSet<PathBuf> = files.lines().map(|file| dir.join(file)).collect();
        if dir.exists() {
            remove_others(&dir, &known)?;
        }
        for file in files.lines() {
            copy_changed(&root().join(file), &dir.join(file))?;
        }
        Ok(Tree {
            dir,
            target: place.join("target"),
            kernel,
            stale: vec![Part::Programs, Part::Module],
        })
    }

    /// What becomes of its test with `fault`, which goes again.
    fn with(&mut self, fault: &Fault) -> Result<Verdict> {
        let file = self.dir.join(&fault.file);
        let text = fs::read_to_string(&file)?;
        fs::write(&file, fault.applied(&text)?)?;
        self.stale.push(fault.part());
        let verdict = self.test(&fault.test);
        fs::write(&file, text)?;
        self.stale.push(fault.part());
        verdict
    }

    fn module(&self) -> PathBuf {
        self.target.join("kmod").join(self.kernel.name())
    }

    /// Builds what is stale.
    fn build(&mut self) -> Result<()> {
        if self.stale.contains(&Part::Programs) {
            step("faults", "building the guests' programs", || {
                output(
                    command(PROGRAMS)
                        .env("CARGO_TARGET_DIR", &self.target)
                        .current_dir(&self.dir),
                )
            })?;
        }
        if self.stale.contains(&Part::Module) {
            let mut build = command(["kmod/build.sh", &self.kernel.release()?]);
            build
                .arg(self.module())
                .env("WPROBE_KERNEL_HEADERS", self.kernel.headers()?)
                .env("WPROBE_KMOD_TARGET_DIR", self.target.join("kmod"))
                .current_dir(&self.dir);
            step("faults", "building the module", || output(&mut build))?;
        }
        self.stale.clear();
        Ok(())
    }

    /// What becomes of the guest tests whose names contain `test`.
    fn test(&mut self, test: &str) -> Result<Verdict> {
        self.build()?;
        let program = self.target.join("debug/guest-tests");
        let mut words = vm::with_module(&self.module().join("wprobe.ko"), &program);
        words.push(test.to_owned());
        let said = Mutex::new(Vec::new());
        let outcome = Guest::new(self.kernel, words).boot(&|line, _| {
            said.lock()
                .expect("nothing panics here")
                .push(line.to_owned());
        })?;
        let said = said.into_inner().expect("nothing panics here");
        if let Some(defect) = outcome.defects.first() {
            return Ok(Verdict::Failed(format!("the kernel reports: {defect}")));
        }
        let last = said.iter().rfind(|line| line.starts_with("test result:"));
        match (outcome.status, last) {
            (Some(0), Some(last)) if !last.contains(" 0 passed") => Ok(Verdict::Passed),
            (Some(0), _) => bail!("no test is called {test}"),
            (Some(101), Some(_)) => Ok(Verdict::Failed(reason(&said))),
            (status, _) => bail!(
                "{test}: the guest ended with {status:?}: {}",
                said.join("\n")
            ),
        }
    }
}

/// What the first failed test said.
fn reason(said: &[String]) -> String {
    let mut lines = said.iter().skip_while(|line| !line.starts_with("---- "));
    let test = lines
        .next()
        .map_or("", |line| line.trim_matches(['-', ' ']));
    let text: Vec<_> = lines.take(4).map(|line| line.trim()).collect();
    format!("{test}: {}", text.join(" "))
}

/// Removes what an earlier copy had and this one has not.
fn remove_others(dir: &Path, known: &BTreeSet<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            remove_others(&path, known)?;
        } else if !known.contains(&path) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Copies a file, unless it is the same already: what is built from it then stays.
fn copy_changed(from: &Path, to: &Path) -> Result<()> {
    let bytes = fs::read(from).with_context(|| from.display().to_string())?;
    if fs::read(to).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    fs::create_dir_all(to.parent().context("a file lies in a directory")?)?;
    fs::copy(from, to)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_can_be_put_in() {
        let faults = Fault::list().unwrap();
        for fault in &faults {
            let text = fs::read_to_string(root().join(&fault.file)).unwrap();
            assert_ne!(fault.applied(&text).unwrap(), text, "{}", fault.name);
        }
        assert!(faults.len() >= 15, "{} faults", faults.len());
    }
}
