//! Signals, mounts and file attributes: small calls that tools watch.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Sends itself `count` signals that it ignores.
pub fn signals(count: usize) -> io::Result<()> {
    // SAFETY: ignoring SIGUSR1, which nothing here uses, runs no code.
    unsafe { libc::signal(libc::SIGUSR1, libc::SIG_IGN) };
    for _ in 0..count {
        // SAFETY: as above; the process signals itself.
        check(unsafe { libc::kill(libc::getpid(), libc::SIGUSR1) }.into())?;
    }
    Ok(())
}

/// Mounts and unmounts a file system on `directory`, `count` times.
pub fn mounts(directory: &Path, count: usize) -> io::Result<()> {
    let target = CString::new(directory.as_os_str().as_bytes())?;
    for _ in 0..count {
        let none = std::ptr::null();
        // SAFETY: NUL-terminated strings that live through the call; tmpfs takes no data.
        let result = unsafe {
            libc::mount(
                c"scratch".as_ptr(),
                target.as_ptr(),
                c"tmpfs".as_ptr(),
                0,
                none,
            )
        };
        check(result.into())?;
        // SAFETY: as above.
        check(unsafe { libc::umount(target.as_ptr()) }.into())?;
    }
    Ok(())
}

/// Asks for attributes of files and file systems by every call there is, of a file that is not there too.
pub fn stats(directory: &Path, count: usize) -> io::Result<()> {
    let there = CString::new(directory.as_os_str().as_bytes())?;
    let missing = CString::new(directory.join("missing").as_os_str().as_bytes())?;
    for _ in 0..count {
        for path in [&there, &missing] {
            // SAFETY: NUL-terminated strings, and buffers of the kernel's own types.
            unsafe {
                let mut stat: libc::stat = std::mem::zeroed();
                let mut statfs: libc::statfs = std::mem::zeroed();
                let mut statx: libc::statx = std::mem::zeroed();
                libc::syscall(libc::SYS_stat, path.as_ptr(), &mut stat);
                libc::syscall(libc::SYS_lstat, path.as_ptr(), &mut stat);
                libc::syscall(
                    libc::SYS_newfstatat,
                    libc::AT_FDCWD,
                    path.as_ptr(),
                    &mut stat,
                    0,
                );
                libc::statfs(path.as_ptr(), &mut statfs);
                libc::statx(
                    libc::AT_FDCWD,
                    path.as_ptr(),
                    0,
                    libc::STATX_ALL,
                    &mut statx,
                );
            }
        }
    }
    Ok(())
}

fn check(result: i64) -> io::Result<()> {
    match result {
        0.. => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
