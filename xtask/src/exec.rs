//! Running other programs, with errors that name the command and show the end of what it said.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The repository's root.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the repository")
}

/// Builds the guests' programs. All in the same words: with others, cargo builds crates with other features, and thus again.
pub(crate) const PROGRAMS: [&str; 6] = [
    "cargo",
    "build",
    "--locked",
    "--workspace",
    "--bins",
    "--examples",
];

/// Cargo's build directory, `target/` unless `CARGO_TARGET_DIR` says otherwise.
pub(crate) fn cargo_target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// A command from words.
pub(crate) fn command<I, S>(words: I) -> Command
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    let mut words = words.into_iter();
    let mut command = Command::new(words.next().expect("a command has a first word"));
    command.args(words);
    command
}

/// Runs `command` silently; its stdout on success, both streams' end in the error otherwise.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let shown = describe(command);
    let output = command
        .output()
        .with_context(|| format!("cannot run `{shown}`"))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let said = stdout + &String::from_utf8_lossy(&output.stderr);
        bail!("`{shown}` failed: {}\n{}", output.status, tail(&said, 30));
    }
    Ok(stdout)
}

/// The last `lines` lines of `text`.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

fn describe(command: &Command) -> String {
    let mut shown = command.get_program().to_string_lossy().into_owned();
    for arg in command.get_args().take(6) {
        shown += " ";
        shown += &arg.to_string_lossy();
    }
    if command.get_args().count() > 6 {
        shown += " …";
    }
    shown
}
