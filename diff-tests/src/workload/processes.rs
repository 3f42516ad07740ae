//! Processes that start programs, run for a moment, sleep and end, on every CPU.

use std::io::{self, Read, Write};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Starts `count` programs on each CPU, one after another.
pub fn run(count: usize) -> io::Result<()> {
    super::on_every_cpu(|_| {
        for _ in 0..count {
            let mut child = Command::new("/bin/true").stdin(Stdio::null()).spawn()?;
            spin(Duration::from_millis(1));
            thread::sleep(Duration::from_millis(1));
            child.wait()?;
        }
        Ok(())
    })
}

/// Two threads, of which the first waits for the other `count` times.
pub fn wait(count: usize) -> io::Result<()> {
    let (mut reader, mut writer) = io::pipe()?;
    thread::scope(|scope| {
        let other = scope.spawn(move || {
            (0..count).try_for_each(|_| {
                thread::sleep(Duration::from_millis(2));
                writer.write_all(b".")
            })
        });
        for _ in 0..count {
            reader.read_exact(&mut [0])?;
        }
        super::joined(other)
    })
}

/// As many threads as a CPU runs in turn, for `time`.
pub fn turns(time: Duration) -> io::Result<()> {
    const THREADS: usize = 24;
    thread::scope(|scope| {
        let turn = || {
            super::pin(0)?;
            spin(time);
            Ok(())
        };
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(turn)).collect();
        threads.into_iter().try_for_each(super::joined)
    })
}

fn spin(time: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < time {
        std::hint::spin_loop();
    }
}
