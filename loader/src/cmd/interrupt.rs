//! Waiting, until a time is over or Ctrl-C.

use std::time::Duration;

use anyhow::Result;

/// A number of seconds, as people give it.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().map_err(|e| e.to_string())?;
    Duration::try_from_secs_f64(seconds).map_err(|e| e.to_string())
}

/// Ctrl-C and its like, taken as an event instead of an end.
pub(super) struct Interrupt(libc::sigset_t);

impl Interrupt {
    /// Begins to take them so.
    pub(super) fn catch() -> Result<Self> {
        // SAFETY: `set` is initialised by sigemptyset before use; the calls touch nothing else of ours.
        let (result, set) = unsafe {
            let mut set = std::mem::zeroed();
            libc::sigemptyset(&mut set);
            libc::sigaddset(&mut set, libc::SIGINT);
            libc::sigaddset(&mut set, libc::SIGTERM);
            (
                libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()),
                set,
            )
        };
        anyhow::ensure!(result == 0, "pthread_sigmask: error {result}");
        Ok(Interrupt(set))
    }

    /// Waits; whether it was interrupted.
    pub(super) fn wait(&self, time: Duration) -> Result<bool> {
        let time = libc::timespec {
            tv_sec: time.as_secs() as i64,
            tv_nsec: i64::from(time.subsec_nanos()),
        };
        // SAFETY: both pointers are to live values; no information about the signal is asked for.
        let signal = unsafe { libc::sigtimedwait(&self.0, std::ptr::null_mut(), &time) };
        Ok(signal > 0)
    }
}
