//! What phases found: counted, timed, and said.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::exec::{root, tail};
use crate::progress::{Tone, say, seconds, tell, while_telling};

/// Lines of a failed phase's log that the screen gets.
const SHOWN: usize = 60;
/// A phase that takes longer says so this often, and what it does.
const STILL: Duration = Duration::from_secs(60);
/// Characters that are shown of that.
const WIDTH: usize = 100;

/// Tests counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Tests that passed.
    pub(super) passed: u64,
    /// Tests that failed, and phases that did not get as far as tests.
    pub(super) failed: u64,
    /// Tests that did not run.
    pub(super) skipped: u64,
}

impl Tally {
    /// A phase that is one test, passed.
    pub(super) const ONE: Tally = Tally {
        passed: 1,
        failed: 0,
        skipped: 0,
    };
    /// A phase that ended in an error.
    const LOST: Tally = Tally {
        passed: 0,
        failed: 1,
        skipped: 0,
    };

    /// Adds `other`.
    pub(super) fn add(&mut self, other: Tally) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    /// The counts in a line such as `3 passed; 1 failed; 2 ignored` or `5 tests run: 5 passed, 0 skipped`.
    pub(super) fn parse(line: &str) -> Tally {
        let words: Vec<&str> = line
            .split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .collect();
        let count = |names: &[&str]| {
            let pair = words.windows(2).find(|pair| names.contains(&pair[1]));
            pair.and_then(|pair| pair[0].parse().ok()).unwrap_or(0)
        };
        Tally {
            passed: count(&["passed"]),
            failed: count(&["failed"]),
            skipped: count(&["skipped", "ignored"]),
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        Ok(())
    }
}

/// The phases that are over.
#[derive(Default)]
pub(super) struct Report {
    rows: Mutex<Vec<(String, Tally, Duration)>>,
}

impl Report {
    /// Runs one phase, which may write to the log it is given, and says how it goes and went; what it found.
    pub(super) fn phase(&self, name: &str, work: impl FnOnce(&PathBuf) -> Result<Tally>) -> Tally {
        let log = root().join("target/xtask").join(format!("{name}.log"));
        say("test", format_args!("{name} …"));
        let start = Instant::now();
        let still = |time| {
            let line = last_line(&log);
            say("test", format_args!("{name} … {} {line}", seconds(time)));
        };
        let result = fs::create_dir_all(root().join("target/xtask"))
            .and_then(|()| fs::write(&log, ""))
            .map_err(Into::into)
            .and_then(|()| while_telling(STILL, still, || work(&log)));
        let took = start.elapsed();
        let (tally, text) = match result {
            Ok(tally) => (tally, tally.to_string()),
            Err(error) => (Tally::LOST, format!("{error:#}")),
        };
        let text = format!("{name}: {text} ({})", seconds(took));
        if tally.failed == 0 {
            tell(Tone::Good, "test", text);
        } else {
            let said = fs::read_to_string(&log).unwrap_or_default();
            if !said.is_empty() {
                eprintln!("{}", tail(&said, SHOWN));
            }
            tell(
                Tone::Bad,
                "test",
                format_args!("{text}, log {}", log.display()),
            );
        }
        self.rows
            .lock()
            .expect("nothing panics here")
            .push((name.to_owned(), tally, took));
        tally
    }

    /// Says what every phase found and how long it took; the sum.
    pub(super) fn summary(self) -> Tally {
        let mut sum = Tally::default();
        for (name, tally, took) in self.rows.into_inner().expect("nothing panics here") {
            let tone = if tally.failed == 0 {
                Tone::Good
            } else {
                Tone::Bad
            };
            tell(
                tone,
                "summary",
                format_args!("{name:<18}{:>8}  {tally}", seconds(took)),
            );
            sum.add(tally);
        }
        sum
    }
}

/// What is at the end of `log`.
fn last_line(log: &Path) -> String {
    let said = fs::read_to_string(log).unwrap_or_default();
    let last = said.lines().rfind(|line| !line.trim().is_empty());
    last.unwrap_or_default()
        .trim()
        .chars()
        .take(WIDTH)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_from_every_runner() {
        let tally = |passed, failed, skipped| Tally {
            passed,
            failed,
            skipped,
        };
        let libtest = "test result: FAILED. 3 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        assert_eq!(Tally::parse(libtest), tally(3, 1, 2));
        let nextest =
            "     Summary [   0.018s] 20 tests run: 19 passed (1 slow), 1 failed, 4 skipped";
        assert_eq!(Tally::parse(nextest), tally(19, 1, 4));
        assert_eq!(Tally::parse("12 passed, 0 failed"), tally(12, 0, 0));
        assert_eq!(
            Tally::parse("12 passed, 1 failed, 2 skipped").to_string(),
            "12 passed, 1 failed, 2 skipped"
        );
    }
}
