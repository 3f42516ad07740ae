//! Processes that start programs, run for a moment, sleep and end, on every CPU.

use std::io;
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

fn spin(time: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < time {
        std::hint::spin_loop();
    }
}
