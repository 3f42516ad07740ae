//! Open files of all kinds: in mounts, deleted, without a name.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::ptr;
use std::thread;

/// The files, and a directory that they were made in.
#[derive(Debug)]
pub struct Files {
    /// The files.
    pub open: Vec<File>,
    directory: PathBuf,
}

impl Files {
    /// Makes them in `directory`, and opens them.
    pub fn new(directory: &Path) -> io::Result<Self> {
        let at = |name: &str| directory.join(name);
        let (deep, mounted, detached) = (at("a/b/c/d"), at("mounted"), at("detached"));
        for directory in [&deep, &mounted, &detached, &at("removed")] {
            fs::create_dir_all(directory)?;
        }
        mount(&mounted)?;
        mount(&detached)?;
        let mut open = vec![
            File::open("/")?,
            File::open("/proc/self/status")?,
            File::open("/dev/null")?,
            File::open(directory)?,
            File::create(deep.join("e"))?,
            File::create(deep.join("n".repeat(200)))?,
            File::create(at("deleted"))?,
            File::open(at("removed"))?,
            File::open(&mounted)?,
            File::create(mounted.join("f"))?,
            File::open(&detached)?,
            File::create(detached.join("g"))?,
        ];
        fs::remove_file(at("deleted"))?;
        fs::remove_dir(at("removed"))?;
        unmount(&detached)?;
        open.extend(nameless()?.map(File::from));
        Ok(Files {
            open,
            directory: directory.to_owned(),
        })
    }

    /// Asks for the attributes of `file`, as one whose root is a directory below all of them but some.
    pub fn ask_from_below(&self, file: &File) -> io::Result<()> {
        let root = c_path(&self.directory.join("a/b"))?;
        let ask = || {
            // SAFETY: from now on this thread's root and directory are its own.
            check(unsafe { libc::unshare(libc::CLONE_FS) })?;
            // SAFETY: the path is NUL-terminated; the thread ends with this root.
            check(unsafe { libc::chroot(root.as_ptr()) })?;
            file.metadata().map(drop)
        };
        thread::scope(|scope| super::joined(scope.spawn(ask)))
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // It may be gone with what it was in; the guest ends with what is left.
        let _ = unmount(&self.directory.join("mounted"));
    }
}

/// A pipe, a socket, memory, and something without an inode of its own.
fn nameless() -> io::Result<[OwnedFd; 4]> {
    let (pipe, _) = io::pipe()?;
    let (socket, _) = UnixStream::pair()?;
    let new = |fd: i32| {
        check(fd)?;
        // SAFETY: just made, and nobody else knows of it.
        Ok::<_, io::Error>(unsafe { OwnedFd::from_raw_fd(fd) })
    };
    // SAFETY: the name is NUL-terminated.
    let memory = new(unsafe { libc::memfd_create(c"memory".as_ptr(), 0) })?;
    // SAFETY: takes numbers only.
    let event = new(unsafe { libc::eventfd(0, 0) })?;
    Ok([pipe.into(), socket.into(), memory, event])
}

fn mount(path: &Path) -> io::Result<()> {
    let path = c_path(path)?;
    let kind = c"tmpfs".as_ptr();
    // SAFETY: all strings are NUL-terminated and live through the call.
    check(unsafe { libc::mount(kind, path.as_ptr(), kind, 0, ptr::null()) })
}

/// Unmounts it, whoever has files open there.
fn unmount(path: &Path) -> io::Result<()> {
    let path = c_path(path)?;
    // SAFETY: the path is NUL-terminated.
    check(unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) })
}

fn c_path(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

fn check(result: i32) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
