//! What a task says while it works: one short line a step on stderr, so that stdout stays the command's own.

use std::fmt::Display;
use std::io::{IsTerminal, stderr};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// A step that takes longer says so this often.
const STILL: Duration = Duration::from_secs(30);

/// How a line is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Something begins or is under way.
    Plain,
    /// Something went well.
    Good,
    /// Something went wrong.
    Bad,
}

/// `text` in the colour of `tone`, if stderr is a terminal.
pub(crate) fn paint(tone: Tone, text: &str) -> String {
    let code = match tone {
        Tone::Plain => "1",
        Tone::Good => "32",
        Tone::Bad => "31",
    };
    if stderr().is_terminal() {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

/// Says `text` on behalf of `area`.
pub(crate) fn say(area: &str, text: impl Display) {
    tell(Tone::Plain, area, text);
}

/// Like [`say`], in a colour.
pub(crate) fn tell(tone: Tone, area: &str, text: impl Display) {
    eprintln!("{} {text}", paint(tone, &format!("{area:>8}")));
}

/// Says `text`, does `work`, says from time to time that it goes on, and how long it took in the end.
pub(crate) fn step<T>(
    area: &str,
    text: &str,
    work: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    say(area, format_args!("{text} …"));
    let start = Instant::now();
    let still = |time| say(area, format_args!("{text} … {}", seconds(time)));
    let result = while_telling(STILL, still, work)?;
    say(area, format_args!("{text}: {}", seconds(start.elapsed())));
    Ok(result)
}

/// Does `work`, and calls `still` that often meanwhile, with how long it has taken so far.
pub(crate) fn while_telling<T>(
    often: Duration,
    still: impl Fn(Duration) + Send,
    work: impl FnOnce() -> T,
) -> T {
    let start = Instant::now();
    thread::scope(|scope| {
        // Dropped when the work is done, which ends the thread.
        let (_done, waiting) = mpsc::channel::<()>();
        scope.spawn(move || {
            while waiting.recv_timeout(often) == Err(RecvTimeoutError::Timeout) {
                still(start.elapsed());
            }
        });
        work()
    })
}

/// A duration as people read it.
pub(crate) fn seconds(duration: Duration) -> String {
    let s = duration.as_secs_f64();
    if s < 60.0 {
        format!("{s:.1} s")
    } else {
        format!("{}m{:02}s", s as u64 / 60, s as u64 % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        assert_eq!(seconds(Duration::from_millis(1234)), "1.2 s");
        assert_eq!(seconds(Duration::from_secs(125)), "2m05s");
    }
}
