//! What happens while both runtimes look on: a process that waits until it is told to begin.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// How long a workload may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// A workload's process.
pub struct Workload {
    child: Child,
    /// Readable once it has ended.
    ended: OwnedFd,
    name: String,
    since: Instant,
}

impl Workload {
    /// Starts `command`, which prepares itself, says `ready` and waits for a line; nothing else is read of its output.
    pub fn prepare(name: &str, mut command: Command) -> Result<Self> {
        let about = || format!("workload {name}");
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let child = child.with_context(about)?;
        let mut work = Workload {
            ended: pidfd(&child).with_context(about)?,
            child,
            name: name.to_owned(),
            since: Instant::now(),
        };
        let mut ready = [0; 6];
        let stdout = work.child.stdout.as_mut().context("its output is a pipe")?;
        let read = stdout.read_exact(&mut ready);
        read.with_context(|| format!("workload {name}: its preparation failed"))?;
        ensure!(ready == *b"ready\n", "workload {name}: it is not ready");
        Ok(work)
    }

    /// The shell's `command`, whose output goes where errors go.
    pub fn shell(command: &str) -> Result<Self> {
        let mut shell = Command::new("/bin/sh");
        shell.args([
            "-c",
            "echo ready; exec >&2; read go; exec </dev/null; eval \"$1\"",
            "sh",
            command,
        ]);
        Workload::prepare(command, shell)
    }

    /// Its process, in which a shell's last command may be another program.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Lets it begin.
    pub fn start(&mut self) -> Result<()> {
        self.since = Instant::now();
        let stdin = self.child.stdin.as_mut().context("its input is a pipe")?;
        Ok(stdin.write_all(b"go\n")?)
    }

    /// Whether it has ended, which it must do well and in time.
    pub fn is_done(&mut self) -> Result<bool> {
        match self.child.try_wait()? {
            Some(status) if status.success() => Ok(true),
            Some(status) => bail!("workload {}: {}", self.name, said(status)),
            None if self.patience().is_zero() => bail!(
                "workload {} does not end within {} s",
                self.name,
                PATIENCE.as_secs()
            ),
            None => Ok(false),
        }
    }

    /// How long it may still take.
    pub(super) fn patience(&self) -> Duration {
        PATIENCE.saturating_sub(self.since.elapsed())
    }
}

impl AsFd for Workload {
    /// Readable for poll(2) once the workload has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ended.as_fd()
    }
}

fn pidfd(child: &Child) -> io::Result<OwnedFd> {
    // SAFETY: the call takes two numbers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, child.id(), 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just made, so nobody else owns it; a descriptor is an int.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

fn said(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("it failed with exit status {code}"),
        None => status.to_string(),
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait;

    fn end(work: &mut Workload) -> Result<()> {
        while !work.is_done()? {
            wait::readable(&[work.as_fd()], None)?;
        }
        Ok(())
    }

    #[test]
    fn it_waits_until_it_may_begin() {
        let mut work = Workload::shell("true; echo of no interest").unwrap();
        let short = Some(Duration::from_millis(50));
        assert_eq!(wait::readable(&[work.as_fd()], short).unwrap(), [false]);
        assert!(!work.is_done().unwrap());
        work.start().unwrap();
        end(&mut work).unwrap();
    }

    #[test]
    fn a_failure_is_told() {
        let mut work = Workload::shell("exit 3").unwrap();
        work.start().unwrap();
        let error = end(&mut work).unwrap_err().to_string();
        assert_eq!(error, "workload exit 3: it failed with exit status 3");
    }
}
