//! The README's commands, as they are written there: in blocks, each behind a `$`, with what they print.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, anyhow, bail, ensure};

use super::report::Tally;
use crate::exec::{command, root};

/// The commands of the guest that `cargo xtask vm --with wprobe` boots.
const GUESTS: &[&str] = &["wprobe", "bpf2wasm"];
/// This guest.
const VM: &str = "cargo xtask vm --with wprobe";
/// What other phases run, and which.
const ELSEWHERE: &[(&str, &str)] = &[
    ("cargo xtask test", "all of them"),
    ("cargo xtask dist", "install"),
    ("sudo apt install", "install"),
    ("sudo modprobe wprobe", "install"),
];
/// What stands for lines that are not shown.
const ELLIPSIS: &str = "…";

/// A command, and what the README shows of its output.
#[derive(Debug, PartialEq)]
struct Shown<'a> {
    line: &'a str,
    output: Vec<&'a str>,
}

/// The commands of `text`.
fn commands(text: &str) -> Vec<Shown<'_>> {
    let mut commands: Vec<Shown<'_>> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if line.starts_with("```") {
            inside = !inside;
        } else if let Some(line) = line.strip_prefix("$ ").filter(|_| inside) {
            let output = Vec::new();
            commands.push(Shown { line, output });
        } else if let Some(command) = commands.last_mut().filter(|_| inside) {
            command.output.push(line);
        }
    }
    commands
}

impl Shown<'_> {
    /// Where it is run.
    fn place(&self) -> Result<Place> {
        let word = self.line.split(' ').next().unwrap_or_default();
        if GUESTS.contains(&word) {
            return Ok(Place::Guest);
        }
        if self.line == VM
            || ELSEWHERE
                .iter()
                .any(|(begin, _)| self.line.starts_with(begin))
        {
            return Ok(Place::Elsewhere);
        }
        match self.line.starts_with("cargo xtask ") {
            true => Ok(Place::Here),
            false => bail!("README.md: nobody tests `{}`", self.line),
        }
    }

    /// Whether `said` has the lines that are shown, but for numbers and blanks.
    fn check(&self, succeeded: bool, said: &str) -> Result<()> {
        ensure!(succeeded, "`{}` failed:\n{said}", self.line);
        let shapes: Vec<_> = said.lines().map(shape).collect();
        let is_missing = |line: &&&str| line.trim() != ELLIPSIS && !shapes.contains(&shape(line));
        let missing = self.output.iter().find(is_missing);
        ensure!(
            missing.is_none(),
            "`{}` does not print {missing:?}:\n{said}",
            self.line
        );
        Ok(())
    }
}

/// Where a command is run.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Guest,
    Here,
    Elsewhere,
}

/// A line without what is different in each run.
fn shape(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let mut shape = String::new();
    for c in words.join(" ").chars() {
        match c.is_ascii_digit() {
            true if shape.ends_with('0') => {}
            true => shape.push('0'),
            false => shape.push(c),
        }
    }
    shape
}

/// Runs every one; a test each.
pub(super) fn test(log: &Path) -> Result<Tally> {
    let text = fs::read_to_string(root().join("README.md"))?;
    let commands = commands(&text);
    let at = |place| {
        let is_it = move |command: &&Shown<'_>| command.place().is_ok_and(|p| p == place);
        commands.iter().filter(is_it)
    };
    let untested = commands.iter().find_map(|command| command.place().err());
    if let Some(error) = untested {
        return Err(error);
    }
    let mut problems = Vec::new();
    let guests: Vec<_> = at(Place::Guest).collect();
    ensure!(!guests.is_empty(), "README.md: no commands of a guest");
    let line = format!("{VM} -- sh -c \"$SCRIPT\"");
    let (is_well, said) = run(&line, &script(&guests), log)?;
    for (number, command) in guests.iter().enumerate() {
        let (succeeded, part) = part(&said, number);
        problems.extend(command.check(succeeded, part).err());
    }
    if !is_well && problems.is_empty() {
        problems.push(anyhow!("`{VM}` failed"));
    }
    let here: Vec<_> = at(Place::Here).collect();
    for command in &here {
        let (succeeded, said) = run(command.line, "", log)?;
        problems.extend(command.check(succeeded, &said).err());
    }
    let failed = problems.len() as u64;
    for problem in problems {
        note(log, &format!("{problem:#}\n"))?;
    }
    let all = (guests.len() + here.len()) as u64;
    Ok(Tally {
        passed: all.saturating_sub(failed),
        failed,
        ..Tally::default()
    })
}

/// Says what comes next, and in the end with what status it ended.
fn script(commands: &[&Shown<'_>]) -> String {
    let one = |(number, command): (usize, &&Shown<'_>)| {
        let line = command.line;
        format!("echo '== begin {number}'\n( {line}\n) 2>&1\necho \"== end {number} $?\"\n")
    };
    commands.iter().enumerate().map(one).collect()
}

/// Whether that command of a script succeeded, and what it said.
fn part(said: &str, number: usize) -> (bool, &str) {
    let behind = said.split_once(&format!("== begin {number}\n"));
    let rest = behind.map_or("", |(_, rest)| rest);
    match rest.split_once(&format!("== end {number} ")) {
        Some((part, status)) => (status.lines().next() == Some("0"), part),
        None => (false, rest),
    }
}

/// A line of a shell in the repository, with `$SCRIPT`; whether it succeeded, and its standard output, which `log` gets as well.
fn run(line: &str, script: &str, log: &Path) -> Result<(bool, String)> {
    note(log, &format!("$ {line}\n"))?;
    let mut shell = command(["sh", "-c", line]);
    let output = shell
        .env("SCRIPT", script)
        .current_dir(root())
        .stdin(Stdio::null())
        .stderr(File::options().append(true).open(log)?)
        .output()
        .with_context(|| line.to_owned())?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    note(log, &said)?;
    Ok((output.status.success(), said))
}

fn note(log: &Path, text: &str) -> Result<()> {
    let mut file = File::options().append(true).open(log)?;
    Ok(file.write_all(text.as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_found_with_what_they_print() {
        let text = "$ no block\n```\n$ wprobe a\nc  12 (0.28x)\n…\n$ cargo xtask b\n```\n$ no block\n```\nplain\n";
        let commands = commands(text);
        let lines: Vec<_> = commands.iter().map(|command| command.line).collect();
        assert_eq!(lines, ["wprobe a", "cargo xtask b"]);
        assert_eq!(commands[0].output, ["c  12 (0.28x)", "…"]);
        assert_eq!(commands[0].place().unwrap(), Place::Guest);
        assert_eq!(commands[1].place().unwrap(), Place::Here);
        assert!(commands[0].check(true, "x\nc 7 (11.5x)\n").is_ok());
        assert!(commands[0].check(true, "x\nd 7 (11.5x)\n").is_err());
        assert!(commands[0].check(false, "c 7 (11.5x)\n").is_err());
    }

    #[test]
    fn each_command_of_a_script_has_its_status() {
        let line = |line| Shown {
            line,
            output: Vec::new(),
        };
        let lines = [line("echo a"), line("echo b; exit 3"), line("echo c")];
        let script = script(&lines.iter().collect::<Vec<_>>());
        let said = command(["sh", "-c", &script]).output().unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        assert_eq!(part(&said, 0), (true, "a\n"));
        assert_eq!(part(&said, 1), (false, "b\n"));
        assert_eq!(part(&said, 2), (true, "c\n"));
        assert!(!part(&said, 3).0);
    }

    #[test]
    fn every_command_of_the_readme_is_tested_somewhere() {
        let text = fs::read_to_string(root().join("README.md")).unwrap();
        let commands = commands(&text);
        let places = commands.iter().map(|command| command.place().unwrap());
        let count = |place| places.clone().filter(|p| *p == place).count();
        assert!(count(Place::Guest) >= 5 && count(Place::Here) >= 3);
        assert!(commands.iter().any(|command| command.line == VM));
        let packages = commands.iter().find(|c| c.line.starts_with("sudo apt"));
        let version = format!("wprobe_{}_amd64.deb", env!("CARGO_PKG_VERSION"));
        assert!(packages.unwrap().line.contains(&version));
    }
}
