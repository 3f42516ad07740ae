//! Running other programs, with errors that name the command and show the end of what it said.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};

/// What only this repository's root has.
const MARKS: [&str; 2] = ["xtask/Cargo.toml", "kmod/build.sh"];

/// The repository's root, which [`find_root`] found.
pub(crate) fn root() -> &'static Path {
    find_root().expect("main() found it")
}

/// Finds the repository's root: the one that cargo runs this from, or that of the current directory. Not the one that this was
/// compiled in, for a checkout may have been copied or moved since.
pub(crate) fn find_root() -> Result<&'static Path> {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    if let Some(root) = ROOT.get() {
        return Ok(root);
    }
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let manifest = manifest.as_deref().and_then(Path::parent);
    let here = std::env::current_dir()?;
    let found = root_of(manifest, &here)
        .with_context(|| format!("{} is in no checkout of bpf2wasm", here.display()))?;
    Ok(ROOT.get_or_init(|| found.to_owned()))
}

/// `cargo`, if that is one; else the one that `here` is in.
fn root_of<'p>(cargo: Option<&'p Path>, here: &'p Path) -> Option<&'p Path> {
    let is_root = |dir: &&Path| MARKS.iter().all(|mark| dir.join(mark).exists());
    cargo
        .filter(is_root)
        .or_else(|| here.ancestors().find(is_root))
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_copy_is_its_own_root() {
        let place = std::env::temp_dir().join(format!("xtask-root-{}", std::process::id()));
        let [copy, other] = ["copy", "other"].map(|name| place.join(name));
        for mark in MARKS {
            let mark = copy.join(mark);
            fs::create_dir_all(mark.parent().expect("a file lies in a directory")).unwrap();
            fs::write(mark, "").unwrap();
        }
        fs::create_dir_all(copy.join("deep/er")).unwrap();
        fs::create_dir_all(&other).unwrap();
        let deep = copy.join("deep/er");
        assert_eq!(root_of(None, &deep), Some(copy.as_path()));
        assert_eq!(root_of(Some(&copy), &other), Some(copy.as_path()));
        assert_eq!(root_of(Some(&other), &deep), Some(copy.as_path()));
        assert_eq!(root_of(Some(&other), &other), None);
        fs::remove_dir_all(place).unwrap();
    }
}
