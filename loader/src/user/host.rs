//! Host primitives in a process: its own clocks, ids and memory.
//!
//! There is no kernel memory here: every read of it faults. User memory is this process's, read through
//! the kernel so that a bad address is an error and not a crash.

use std::time::{SystemTime, UNIX_EPOCH};

use helpers::guest::GuestSlice;
use helpers::host::{Errno, Host};

/// This process.
#[derive(Clone, Copy, Debug)]
pub struct UserHost;

fn clock(id: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid place for the result; both clocks exist on every Linux.
    unsafe { libc::clock_gettime(id, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Copies `len` bytes of this process's memory at `address`, which may be no memory at all.
fn read_own(to: *mut u8, len: usize, address: u64) -> Result<(), Errno> {
    let local = libc::iovec {
        iov_base: to.cast(),
        iov_len: len,
    };
    let remote = libc::iovec {
        iov_base: address as *mut libc::c_void,
        iov_len: len,
    };
    // SAFETY: callers give `len` bytes at `to`; the kernel checks `remote` and reports a fault as an error.
    let read = unsafe { libc::process_vm_readv(libc::getpid(), &local, 1, &remote, 1, 0) };
    match usize::try_from(read) {
        Ok(read) if read == len => Ok(()),
        _ => Err(Errno::EFAULT),
    }
}

impl Host for UserHost {
    fn ktime_ns(&self) -> u64 {
        clock(libc::CLOCK_MONOTONIC)
    }

    fn boottime_ns(&self) -> u64 {
        clock(libc::CLOCK_BOOTTIME)
    }

    fn tai_ns(&self) -> u64 {
        clock(libc::CLOCK_TAI)
    }

    /// As a kernel with 250 ticks a second counts, which begins five minutes before zero.
    fn jiffies(&self) -> u64 {
        const START: u64 = (-300i32 * 250) as u32 as u64;
        START + clock(libc::CLOCK_MONOTONIC) / 4_000_000
    }

    fn cpu(&self) -> u32 {
        0
    }

    fn pid_tgid(&self) -> u64 {
        // SAFETY: gettid has no preconditions.
        let thread = unsafe { libc::gettid() } as u64;
        u64::from(std::process::id()) << 32 | thread
    }

    fn uid_gid(&self) -> u64 {
        // SAFETY: neither has preconditions.
        let (uid, gid) = unsafe { (libc::getuid(), libc::getgid()) };
        u64::from(gid) << 32 | u64::from(uid)
    }

    fn task(&self) -> u64 {
        0
    }

    fn comm(&self) -> [u8; 16] {
        let mut comm = [0; 16];
        // SAFETY: PR_GET_NAME writes at most 16 bytes, NUL included.
        unsafe { libc::prctl(libc::PR_GET_NAME, comm.as_mut_ptr()) };
        comm
    }

    fn random_u32(&self) -> u32 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let nanoseconds = now.map_or(0, |now| now.as_nanos() as u64);
        (nanoseconds.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as u32
    }

    fn read_kernel(&self, _: GuestSlice<'_>, _: u64) -> Result<(), Errno> {
        Err(Errno::EFAULT)
    }

    fn load_kernel(&self, _: u32, _: u64) -> Result<u64, Errno> {
        Err(Errno::EFAULT)
    }

    fn load_user(&self, width: u32, address: u64) -> Result<u64, Errno> {
        let mut bytes = [0; 8];
        let to = &mut bytes[..width.min(8) as usize];
        read_own(to.as_mut_ptr(), to.len(), address)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn read_user(&self, to: GuestSlice<'_>, address: u64) -> Result<(), Errno> {
        read_own(to.as_ptr(), to.len(), address)
    }

    fn read_kernel_str(&self, _: GuestSlice<'_>, _: u64) -> Result<usize, Errno> {
        Err(Errno::EFAULT)
    }

    fn read_user_str(&self, to: GuestSlice<'_>, address: u64) -> Result<usize, Errno> {
        for at in 0..to.len() {
            let byte = to.from(at).first(1);
            self.read_user(byte, address.wrapping_add(at as u64))?;
            if byte.find_nul().is_some() {
                return Ok(if at == 0 { 0 } else { at + 1 });
            }
        }
        if let Some(last) = to.len().checked_sub(1) {
            to.set(last, 0);
        }
        Ok(to.len())
    }

    /// Whoever reads a ring here does so after the run.
    fn wake(&self, _: usize) {}

    fn trace(&self, text: &[u8]) {
        eprintln!("{}", String::from_utf8_lossy(text).trim_end());
    }
}
