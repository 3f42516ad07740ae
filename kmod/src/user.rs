//! One ioctl's argument: struct sizes as bpf(2) has them, texts, and the reason of a refusal.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::{self, Display};
use core::mem::{MaybeUninit, size_of};
use core::slice;

use abi::uapi;
use helpers::host::Errno;

use crate::services;

/// "Not an ioctl of this descriptor".
pub(crate) const ENOTTY: Errno = Errno(25);

/// Structs of the interface.
///
/// # Safety
///
/// Without padding, and valid whatever its bytes are.
pub(crate) unsafe trait Plain: Copy {}

macro_rules! plain {
    ($($name:ident)*) => {
        // SAFETY: integers and arrays of integers only; a test in `abi` shows that there is no padding.
        $(unsafe impl Plain for uapi::$name {})*
    };
}

plain! {
    About SandboxCreate NextId OpenId MapCreate ModuleLoad LinkCreate Report ProgramInfo SandboxInfo
    MapInfo ModuleInfo LinkInfo MapElement RingOpen Limit
}

/// A value of all zeroes.
pub(crate) fn zeroed<T: Plain>() -> T {
    // SAFETY: a plain type is valid whatever its bytes are.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

/// An ioctl: which one, and where its struct lies.
#[derive(Clone, Copy)]
pub(crate) struct Call {
    cmd: u32,
    address: u64,
}

/// The bits of an ioctl's number that say how large its struct is.
const SIZE_BITS: u32 = 0x3fff << 16;

impl Call {
    pub(crate) fn new(cmd: u32, address: u64) -> Self {
        Self { cmd, address }
    }

    /// Which one, whatever the size of the caller's struct: `verb(uapi::ABOUT)`.
    pub(crate) fn is(&self, cmd: u32) -> bool {
        self.cmd & !SIZE_BITS == cmd & !SIZE_BITS
    }

    fn size(&self) -> usize {
        ((self.cmd & SIZE_BITS) >> 16) as usize
    }

    /// The caller's struct: a shorter one is extended by zeroes, of a longer one the tail must be zero.
    pub(crate) fn read<T: Plain>(&self) -> Result<T, Errno> {
        let mut value = zeroed::<T>();
        let known = self.size().min(size_of::<T>());
        // SAFETY: a plain type may be written as bytes.
        let bytes = unsafe { slice::from_raw_parts_mut((&raw mut value).cast::<u8>(), known) };
        if !services::copy_in(bytes, self.address) {
            return Err(Errno::EFAULT);
        }
        let mut tail = [0; 64];
        let mut at = known;
        while at < self.size() {
            let part = &mut tail[..(self.size() - at).min(64)];
            if !services::copy_in(part, self.address + at as u64) {
                return Err(Errno::EFAULT);
            }
            if part.iter().any(|byte| *byte != 0) {
                return Err(Errno::E2BIG);
            }
            at += part.len();
        }
        Ok(value)
    }

    /// Writes `value` back, as much of it as the caller's struct has room for.
    pub(crate) fn write<T: Plain>(&self, value: &T) -> Result<(), Errno> {
        let known = self.size().min(size_of::<T>());
        // SAFETY: a plain type has no padding, so all its bytes are initialised.
        let bytes = unsafe { slice::from_raw_parts((&raw const *value).cast::<u8>(), known) };
        copy_out(self.address, bytes)
    }
}

/// Bytes that are cleared or copied at a time: others get the CPU in between.
const PART: usize = 256 << 10;

/// Copies to user space.
pub(crate) fn copy_out(to: u64, bytes: &[u8]) -> Result<(), Errno> {
    for (part, at) in bytes.chunks(PART).zip((0..).step_by(PART)) {
        if !services::copy_out(to.wrapping_add(at), part) {
            return Err(Errno::EFAULT);
        }
        services::rest();
    }
    Ok(())
}

/// `len` bytes of zeroes on the heap.
pub(crate) fn zeroes(len: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).map_err(|_| Errno::ENOMEM)?;
    while bytes.len() < len {
        bytes.resize((bytes.len() + PART).min(len), 0);
        services::rest();
    }
    Ok(bytes)
}

/// `len` bytes from user space.
pub(crate) fn bytes(from: u64, len: usize) -> Result<Vec<u8>, Errno> {
    let mut bytes = zeroes(len)?;
    for (part, at) in bytes.chunks_mut(PART).zip((0..).step_by(PART)) {
        if !services::copy_in(part, from.wrapping_add(at)) {
            return Err(Errno::EFAULT);
        }
        services::rest();
    }
    Ok(bytes)
}

/// The NUL-terminated text in `field`.
pub(crate) fn text(field: &[u8]) -> Result<String, Errno> {
    let length = field.iter().position(|b| *b == 0).ok_or(Errno::EINVAL)?;
    core::str::from_utf8(&field[..length])
        .map(str::to_string)
        .map_err(|_| Errno::EINVAL)
}

/// `text` as a field of the interface, cut to fit.
pub(crate) fn field<const N: usize>(text: &str) -> [u8; N] {
    let mut field = [0; N];
    let length = text.len().min(N - 1);
    field[..length].copy_from_slice(&text.as_bytes()[..length]);
    field
}

/// A number of bytes as a person reads it.
pub(crate) struct Bytes(pub(crate) u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (shift, unit) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] {
            if self.0 >= 1 << shift && self.0.trailing_zeros() >= shift {
                return write!(f, "{} {unit}", self.0 >> shift);
            }
        }
        write!(f, "{} bytes", self.0)
    }
}

/// Where the caller wants to read why it was refused.
#[derive(Clone, Copy)]
pub(crate) struct Log {
    address: u64,
    size: u64,
}

impl Log {
    pub(crate) fn new(address: u64, size: u64) -> Self {
        Self { address, size }
    }

    /// Writes `text` there, NUL-terminated, cut to fit. A log that cannot be written does not matter.
    pub(crate) fn write(&self, text: &dyn Display) {
        if self.size == 0 {
            return;
        }
        let mut text = format!("{text}\0").into_bytes();
        let size = usize::try_from(self.size).unwrap_or(usize::MAX);
        if text.len() > size {
            text.truncate(size);
            if let Some(last) = text.last_mut() {
                *last = 0;
            }
        }
        let _ = copy_out(self.address, &text);
    }
}

/// An error with a reason for the caller's log.
pub(crate) trait Refusal: Display {
    fn errno(&self) -> Errno;
}

/// The errno of a refusal whose reason has been written to `log`.
pub(crate) fn refused(log: Log, refusal: &dyn Refusal) -> Errno {
    log.write(&refusal);
    refusal.errno()
}
