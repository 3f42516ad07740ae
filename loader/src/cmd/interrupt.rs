//! Waiting, until a time is over or Ctrl-C.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use anyhow::{Context, Result};
use loader::wait;

/// A number of seconds, as people give it.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().map_err(|e| e.to_string())?;
    Duration::try_from_secs_f64(seconds).map_err(|e| e.to_string())
}

/// As [`seconds`], of what is done again and again.
pub(super) fn period(text: &str) -> Result<Duration, String> {
    match seconds(text)? {
        Duration::ZERO => Err("it must be more than 0".to_owned()),
        time => Ok(time),
    }
}

/// Ctrl-C and its like, taken as an event instead of an end: a descriptor that is readable once they came.
pub(super) struct Interrupt(OwnedFd);

impl Interrupt {
    /// Begins to take them so.
    pub(super) fn catch() -> Result<Self> {
        // SAFETY: `set` is initialised by sigemptyset before use; the calls touch nothing else of ours.
        let (result, fd) = unsafe {
            let mut set = std::mem::zeroed();
            libc::sigemptyset(&mut set);
            libc::sigaddset(&mut set, libc::SIGINT);
            libc::sigaddset(&mut set, libc::SIGTERM);
            (
                libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()),
                libc::signalfd(-1, &set, libc::SFD_CLOEXEC),
            )
        };
        anyhow::ensure!(result == 0, "pthread_sigmask: error {result}");
        if fd < 0 {
            return Err(io::Error::last_os_error()).context("signalfd");
        }
        // SAFETY: just made, so nobody else owns it.
        Ok(Interrupt(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Waits; whether it was interrupted.
    pub(super) fn wait(&self, time: Duration) -> Result<bool> {
        let came = wait::readable(&[self.as_fd()], Some(time)).context("waiting")?;
        Ok(came == [true])
    }
}

impl AsFd for Interrupt {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_takes_time() {
        assert_eq!(period("0.5").unwrap(), Duration::from_millis(500));
        for wrong in ["0", "-0", "0.0000000001", "-1", "nan", "inf", "soon", ""] {
            assert!(period(wrong).is_err(), "{wrong}");
        }
        assert_eq!(seconds("0").unwrap(), Duration::ZERO);
    }
}
