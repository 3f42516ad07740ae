//! `cargo xtask tidy`: habits of this repository that the compiler does not check.
//!
//! A problem fails; a notice is only printed.

mod arrows;
mod files;
mod links;
mod reachable;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::exec::{command, output, root};
use crate::generate;
use crate::progress::{Tone, say, tell};

/// A file of the repository as the checks see it.
#[derive(Debug)]
struct File {
    /// Path from the root.
    path: String,
    /// Its bytes.
    bytes: Vec<u8>,
}

impl File {
    /// Its text; empty for what is not text, which another check refuses.
    fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes).unwrap_or_default()
    }
}

/// The task itself.
pub(crate) fn run() -> Result<()> {
    let files = tree()?;
    for notice in files::notices(&files) {
        say("notice", notice);
    }
    let problems = problems(&files)?;
    for problem in &problems {
        tell(Tone::Bad, "tidy", problem);
    }
    if !problems.is_empty() {
        bail!("{} things are not tidy", problems.len());
    }
    say("tidy", format_args!("{} files are tidy", files.len()));
    Ok(())
}

fn problems(files: &[File]) -> Result<Vec<String>> {
    let mut problems = arrows::check()?;
    problems.extend(files::check(files));
    problems.extend(links::check(files));
    problems.extend(reachable::check(files));
    let stale = generate::stale();
    problems.extend(
        stale
            .iter()
            .map(|(path, _)| format!("{}: stale, cargo xtask generate", path.display())),
    );
    Ok(problems)
}

/// Every file that is, or would be, committed.
fn tree() -> Result<Vec<File>> {
    let mut git = command([
        "git",
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
    ]);
    let listed = output(git.current_dir(root()))?;
    let mut files = Vec::new();
    for path in listed
        .lines()
        .filter(|path| Path::new(&root().join(path)).exists())
    {
        let bytes = fs::read(root().join(path)).with_context(|| path.to_owned())?;
        files.push(File {
            path: path.to_owned(),
            bytes,
        });
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_tidy() {
        let files = tree().expect("git lists the tree");
        let problems = problems(&files).expect("the checks run");
        assert!(problems.is_empty(), "{}", problems.join("\n"));
    }
}
