//! The ioctl call itself, and the plain structs it takes.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use abi::uapi::{self, Needs};

use super::{Error, Result};

/// A struct of the interface: plain integers and byte arrays, valid for any bits.
///
/// # Safety
/// Every bit pattern must be a value of the type, and it must have no padding
/// (`abi::uapi` tests the latter).
pub(super) unsafe trait Plain: Copy {}

macro_rules! plain {
    ($($name:ident)*) => {$(
        // SAFETY: integers and arrays of them, `repr(C)`, without padding.
        unsafe impl Plain for uapi::$name {}
    )*};
}
plain!(About SandboxCreate NextId OpenId MapCreate ModuleLoad LinkCreate Report ProgramInfo
    SandboxInfo MapInfo ModuleInfo LinkInfo MapElement RingOpen Limit);

/// An all-zero request.
pub(super) fn zeroed<T: Plain>() -> T {
    // SAFETY: `Plain` types accept every bit pattern, so also zeros.
    unsafe { std::mem::zeroed() }
}

/// Issues `request`; the result is the ioctl's (a descriptor or 0).
pub(super) fn call<T: Plain>(
    fd: &impl AsFd,
    ioctl: &'static str,
    request: u32,
    arg: &mut T,
    about: &str,
) -> Result<i32> {
    // SAFETY: `request` carries the size of `T`, which `arg` points to exclusively for the call;
    // addresses inside it were put there by callers that keep those buffers alive.
    let result = unsafe {
        libc::ioctl(
            fd.as_fd().as_raw_fd(),
            request as _,
            std::ptr::from_mut(arg),
        )
    };
    checked(result, ioctl, about)
}

/// Issues a request without a struct; the result is the ioctl's.
pub(super) fn call_bare(fd: &impl AsFd, ioctl: &'static str, request: u32) -> Result<i32> {
    // SAFETY: no memory is handed over.
    let result = unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), request as _) };
    checked(result, ioctl, "object")
}

fn checked(result: i32, ioctl: &'static str, about: &str) -> Result<i32> {
    if result >= 0 {
        return Ok(result);
    }
    let source = io::Error::last_os_error();
    Err(Error::Request {
        ioctl,
        about: about.to_owned(),
        log: match source.raw_os_error() {
            // Unless the device has words of its own.
            Some(libc::EPERM) => format!("it needs {}", Needs::Tracing.text()),
            _ => String::new(),
        },
        source,
    })
}

/// `name` as a NUL-terminated field.
pub(super) fn bytes<const N: usize>(name: &str) -> Result<[u8; N]> {
    if name.len() >= N || name.contains('\0') {
        return Err(Error::Name(name.to_owned()));
    }
    let mut field = [0; N];
    field[..name.len()].copy_from_slice(name.as_bytes());
    Ok(field)
}

/// A NUL-terminated field as text.
pub fn text(field: &[u8]) -> String {
    let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).into_owned()
}

/// A buffer for the device's words about a refusal.
pub(super) struct Log(Vec<u8>);

impl Log {
    pub(super) fn new() -> Self {
        Log(vec![0; 4096])
    }

    pub(super) fn address(&mut self) -> u64 {
        self.0.as_mut_ptr() as u64
    }

    pub(super) fn size(&self) -> u64 {
        self.0.len() as u64
    }

    /// Adds what the device wrote to a failure.
    pub(super) fn explain<T>(self, result: Result<T>) -> Result<T> {
        result.map_err(|error| match error {
            Error::Request {
                ioctl,
                about,
                source,
                log,
            } => Error::Request {
                ioctl,
                about,
                source,
                log: match text(&self.0) {
                    words if words.is_empty() => log,
                    words => words,
                },
            },
            other => other,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_room_for_their_nul() {
        assert_eq!(bytes::<4>("abc").unwrap(), *b"abc\0");
        assert!(matches!(bytes::<4>("abcd"), Err(Error::Name(_))));
        assert!(matches!(bytes::<8>("a\0b"), Err(Error::Name(_))));
        assert_eq!(text(b"ab\0cd"), "ab");
        assert_eq!(text(b"ab"), "ab");
    }
}
