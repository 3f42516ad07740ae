//! The time of day where this machine is.

use std::time::{SystemTime, UNIX_EPOCH};

/// `HH:MM:SS`.
pub(super) fn of_day(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = seconds.as_secs() as libc::time_t;
    // SAFETY: zeros are a valid `tm`; the call writes nothing but it, and reads a live number.
    let tm = unsafe {
        let mut tm: libc::tm = std::mem::zeroed();
        libc::localtime_r(&seconds, &mut tm);
        tm
    };
    format!("{:02}:{:02}:{:02}", tm.tm_hour, tm.tm_min, tm.tm_sec)
}
