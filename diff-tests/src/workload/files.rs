//! Files made, opened, written, read, synced and removed, on every CPU.

use std::ffi::CString;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Kernel events that one round makes at least: create, open, sync, and the reads and writes.
pub const EVENTS_PER_ROUND: usize = 3 + 2 * TRANSFERS;

/// Reads, and writes, of one round.
const TRANSFERS: usize = 10;

/// Makes at least `events` events of `vfs_{create,open,read,write,fsync}`.
pub fn run(directory: &Path, events: usize) -> io::Result<()> {
    let cpus = std::thread::available_parallelism()?.get();
    let rounds = events.div_ceil(EVENTS_PER_ROUND * cpus);
    super::on_every_cpu(|cpu| {
        let own = directory.join(format!("files-{cpu}"));
        fs::create_dir_all(&own)?;
        for i in 0..rounds {
            round(&own.join(format!("{i}")))?;
        }
        fs::remove_dir_all(&own)
    })
}

fn round(path: &Path) -> io::Result<()> {
    make(path)?;
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    for _ in 0..TRANSFERS {
        file.write_all(b"sixteen bytes ..")?;
    }
    file.sync_all()?;
    file.rewind()?;
    let mut bytes = [0; 16];
    for _ in 0..TRANSFERS {
        file.read_exact(&mut bytes)?;
    }
    fs::remove_file(path)
}

/// Makes a regular file. By mknod: `open(O_CREAT)` does not pass through `vfs_create`.
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
