//! Waiting for descriptors, without looking meanwhile.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

/// Waits until one of `sources` has something to read, at most `time`, or without an end; whether each has. A signal
/// that nobody blocks ends the wait, too.
pub fn readable(sources: &[BorrowedFd<'_>], time: Option<Duration>) -> io::Result<Vec<bool>> {
    let polled = |source: &BorrowedFd<'_>| libc::pollfd {
        fd: source.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    let mut polled: Vec<_> = sources.iter().map(polled).collect();
    let time = time.map(|time| libc::timespec {
        tv_sec: time.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        tv_nsec: time.subsec_nanos().into(),
    });
    let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    let count = polled.len() as libc::nfds_t;
    // SAFETY: there are `count` entries, and both they and the time live through the call; no mask is given.
    let ready = unsafe { libc::ppoll(polled.as_mut_ptr(), count, time, std::ptr::null()) };
    if ready < 0 {
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
        // What interrupted calls leave there is not defined.
        polled.iter_mut().for_each(|entry| entry.revents = 0);
    }
    Ok(polled.iter().map(|entry| entry.revents != 0).collect())
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::time::Instant;

    use super::*;

    #[test]
    fn what_is_written_ends_the_wait_and_else_the_time_does() {
        let (silent, _held) = io::pipe().unwrap();
        let (reader, mut writer) = io::pipe().unwrap();
        let sources = [silent.as_fd(), reader.as_fd()];
        let begin = Instant::now();
        let short = Some(Duration::from_millis(30));
        assert_eq!(readable(&sources, short).unwrap(), [false, false]);
        assert!(begin.elapsed() >= Duration::from_millis(30));
        writer.write_all(b"x").unwrap();
        assert_eq!(readable(&sources, None).unwrap(), [false, true]);
        assert_eq!(readable(&[], short).unwrap(), [false; 0]);
    }
}
