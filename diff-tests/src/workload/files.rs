//! Files made, opened, written, read, synced and removed, on every CPU.
//!
//! Two of the events need a detour. `open(O_CREAT)` does not pass through `vfs_create`: mknod(2) does. In fsync(2) the
//! compiler inlined `vfs_fsync`: asynchronous I/O calls it from elsewhere.

use std::ffi::CString;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Kernel events that one round makes at least: create, open, sync, and the reads and writes.
pub const EVENTS_PER_ROUND: usize = 3 + 2 * TRANSFERS;

/// Reads, and writes, of one round.
const TRANSFERS: usize = 10;

/// The group that does it: not the user's number, so that a probe that takes one for the other is found out.
const GROUP: libc::gid_t = 1000;

/// Makes at least `events` events of `vfs_{create,open,read,write,fsync}`.
pub fn run(directory: &Path, events: usize) -> io::Result<()> {
    let cpus = std::thread::available_parallelism()?.get();
    let rounds = events.div_ceil(EVENTS_PER_ROUND * cpus);
    super::on_every_cpu(|cpu| {
        // SAFETY: the call takes numbers; without libc's wrapper it is about this thread only.
        check(unsafe { libc::syscall(libc::SYS_setresgid, GROUP, GROUP, GROUP) })?;
        let own = directory.join(format!("files-{cpu}"));
        fs::create_dir_all(&own)?;
        let sync = Sync::new()?;
        for i in 0..rounds {
            round(&own.join(format!("{i}")), &sync)?;
        }
        fs::remove_dir_all(&own)
    })
}

fn round(path: &Path, sync: &Sync) -> io::Result<()> {
    make(path)?;
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    for _ in 0..TRANSFERS {
        file.write_all(b"sixteen bytes ..")?;
    }
    sync.file(file.as_raw_fd())?;
    file.rewind()?;
    let mut bytes = [0; 16];
    for _ in 0..TRANSFERS {
        file.read_exact(&mut bytes)?;
    }
    fs::remove_file(path)
}

/// Makes a regular file.
fn make(path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: `path` is a NUL-terminated string that lives through the call.
    let result = unsafe { libc::mknod(path.as_ptr(), libc::S_IFREG | 0o600, 0) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// An asynchronous I/O context, for syncing.
struct Sync(u64);

/// `IOCB_CMD_FSYNC`.
const FSYNC: u16 = 2;

/// The kernel's `struct iocb`, little-endian.
#[derive(Default)]
#[repr(C)]
struct Iocb {
    data: u64,
    key: u32,
    rw_flags: u32,
    opcode: u16,
    priority: i16,
    fd: u32,
    buffer: u64,
    bytes: u64,
    offset: u64,
    reserved: u64,
    flags: u32,
    event_fd: u32,
}

/// The kernel's `struct io_event`.
#[derive(Default)]
#[repr(C)]
struct IoEvent {
    data: u64,
    object: u64,
    result: i64,
    result2: i64,
}

impl Sync {
    fn new() -> io::Result<Self> {
        let mut context = 0u64;
        // SAFETY: `context` is written to, and zero as the call demands.
        check(unsafe { libc::syscall(libc::SYS_io_setup, 1, &mut context) })?;
        Ok(Sync(context))
    }

    /// Syncs `fd` and waits for it.
    fn file(&self, fd: i32) -> io::Result<()> {
        let request = Iocb {
            opcode: FSYNC,
            fd: fd as u32,
            ..Iocb::default()
        };
        let requests = [&request];
        // SAFETY: one pointer to one live request, which the kernel copies.
        check(unsafe { libc::syscall(libc::SYS_io_submit, self.0, 1, requests.as_ptr()) })?;
        let mut event = IoEvent::default();
        let none = std::ptr::null::<libc::timespec>();
        // SAFETY: room for the one event asked for; no time limit.
        check(unsafe { libc::syscall(libc::SYS_io_getevents, self.0, 1, 1, &mut event, none) })?;
        check(event.result)
    }
}

impl Drop for Sync {
    fn drop(&mut self) {
        // SAFETY: the context is this value's own, and nothing is in flight.
        unsafe { libc::syscall(libc::SYS_io_destroy, self.0) };
    }
}

fn check(result: i64) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
