//! Single system calls, counted: exactly so many and no others of their kind.

use std::ffi::{CStr, CString};
use std::io;
use std::path::Path;

/// Makes `n` children with fork(2) itself (libc's `fork` is a clone), waits for each.
pub fn fork(n: u64) -> io::Result<()> {
    for _ in 0..n {
        // SAFETY: the child does nothing but exit, so no lock or buffer of the parent matters.
        let pid = unsafe { libc::syscall(libc::SYS_fork) };
        match pid {
            // SAFETY: ends the child without running anything of the parent's.
            0 => unsafe { libc::_exit(0) },
            pid if pid > 0 => {
                // SAFETY: waits for the child just made; a null status is allowed.
                unsafe { libc::waitpid(pid as i32, std::ptr::null_mut(), 0) };
            }
            _ => return Err(io::Error::last_os_error()),
        }
    }
    Ok(())
}

/// Makes `n` directories `directory/d0`, … with mkdir(2) and mode `mode`, then removes them.
pub fn mkdir(directory: &Path, n: u64, mode: u32) -> io::Result<()> {
    for i in 0..n {
        let path = c_path(&directory.join(format!("d{i}")))?;
        // SAFETY: `path` is a NUL-terminated string that lives through both calls.
        check(unsafe { libc::syscall(libc::SYS_mkdir, path.as_ptr(), mode) })?;
        // SAFETY: as above.
        check(unsafe { libc::syscall(libc::SYS_rmdir, path.as_ptr()) })?;
    }
    Ok(())
}

/// Calls mkdir(2) on one of several odd pathnames, all of which it refuses: an empty one, one longer than any
/// buffer, one in no directory, one at an address where nothing is.
pub fn odd_mkdir(which: usize) -> io::Result<()> {
    let long = CString::new(vec![b'x'; 300])?;
    let paths = [
        c"".as_ptr(),
        long.as_ptr(),
        c"/no/such/place".as_ptr(),
        8 as *const _,
    ];
    // SAFETY: the kernel checks the address; nothing is written through it.
    unsafe { libc::syscall(libc::SYS_mkdir, paths[which % paths.len()], 0o7777) };
    Ok(())
}

/// Opens `/` `n` times with openat(2).
pub fn openat(n: u64) -> io::Result<()> {
    const ROOT: &CStr = c"/";
    for _ in 0..n {
        // SAFETY: the path is a constant NUL-terminated string.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_openat,
                libc::AT_FDCWD,
                ROOT.as_ptr(),
                libc::O_RDONLY,
            )
        };
        check(fd)?;
        // SAFETY: closes the descriptor just opened, which nobody else knows.
        unsafe { libc::close(fd as i32) };
    }
    Ok(())
}

/// Calls getpgrp(2) `n` times: harmless, and used by nothing else in a quiet guest.
pub fn getpgrp(n: u64) {
    for _ in 0..n {
        // SAFETY: takes no argument and changes nothing.
        unsafe { libc::syscall(libc::SYS_getpgrp) };
    }
}

/// Calls getppid(2).
pub fn getppid() {
    // SAFETY: takes no argument and changes nothing.
    unsafe { libc::syscall(libc::SYS_getppid) };
}

/// Calls getpriority(2) `n` times, for processes that are there and that are not.
pub fn getpriority(n: u64) {
    for i in 0..n {
        // SAFETY: takes two numbers, and tells one.
        unsafe { libc::syscall(libc::SYS_getpriority, libc::PRIO_PROCESS, i % 3) };
    }
}

/// Calls getpgid(2) `n` times, for processes that are there and that are not.
pub fn getpgid(n: u64) {
    for i in 0..n {
        // SAFETY: takes a number and changes nothing.
        unsafe { libc::syscall(libc::SYS_getpgid, i % 3) };
    }
}

/// Calls getpgrp(2) with `frame` as frame pointer, whatever is there.
pub fn getpgrp_in_frame(frame: u64) {
    // SAFETY: the frame pointer is put back before anything else uses it; the kernel preserves all registers but these.
    unsafe {
        std::arch::asm!(
            "xchg rbp, {frame}",
            "syscall",
            "xchg rbp, {frame}",
            frame = inout(reg) frame => _,
            inlateout("rax") libc::SYS_getpgrp => _,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
}

fn c_path(path: &Path) -> io::Result<CString> {
    use std::os::unix::ffi::OsStrExt;
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

fn check(result: i64) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
