//! Files kept in a directory from one load to the next: compiled images ([`crate::native::cache`]), names of the kernel's functions.
//!
//! The directory and its files are the caller's or root's, and nobody else can write them, or they are not used: what images hold
//! runs in the kernel.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::time::SystemTime;

/// Where files are kept, unless this says otherwise.
const VARIABLE: &str = "WPROBE_CACHE";
const DIRECTORY: &str = "/var/cache/wprobe";
/// Files that are kept at most.
const FILES: usize = 256;

/// The directory.
#[derive(Clone, Debug)]
pub struct Cache {
    pub(crate) directory: PathBuf,
}

impl Cache {
    /// The one that `$WPROBE_CACHE` names, or the system's; made if it is not there.
    ///
    /// # Errors
    ///
    /// Why it cannot be made, or that others can write to it.
    pub fn open() -> Result<Self, String> {
        let directory = std::env::var_os(VARIABLE).map_or(DIRECTORY.into(), PathBuf::from);
        Self::at(directory)
    }

    /// The one in `directory`, made if it is not there.
    ///
    /// # Errors
    ///
    /// As [`Cache::open`].
    pub fn at(directory: PathBuf) -> Result<Self, String> {
        let refused = |why: &dyn std::fmt::Display| format!("cache {}: {why}", directory.display());
        let mut builder = DirBuilder::new();
        let made = builder.recursive(true).mode(0o700).create(&directory);
        made.map_err(|e| refused(&e))?;
        let found = fs::symlink_metadata(&directory).map_err(|e| refused(&e))?;
        if !found.is_dir() || !is_ours(&found) {
            return Err(refused(&"others can write to it"));
        }
        Ok(Self { directory })
    }

    /// What is kept as `name`, if it is there and ours.
    pub(crate) fn get(&self, name: &str) -> Option<Vec<u8>> {
        let mut file = File::options()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW)
            .open(self.directory.join(name))
            .ok()?;
        file.metadata().ok().filter(is_ours)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    /// Keeps a file that is whole wherever it is seen; the oldest goes where there are too many.
    pub(crate) fn keep(&self, name: &str, bytes: &[u8]) -> std::io::Result<()> {
        let path = self.directory.join(name);
        let new = path.with_extension(std::process::id().to_string());
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(bytes)?;
        fs::rename(&new, path)?;
        self.prune();
        Ok(())
    }

    fn prune(&self) {
        let Ok(entries) = fs::read_dir(&self.directory) else {
            return;
        };
        let mut files: Vec<(SystemTime, PathBuf)> = entries
            .filter_map(Result::ok)
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .collect();
        files.sort();
        for (_, path) in files.iter().rev().skip(FILES) {
            // Somebody else may have removed it.
            let _ = fs::remove_file(path);
        }
    }
}

/// Whether only we, or root, can have written it.
fn is_ours(found: &Metadata) -> bool {
    let is_user = || fs::metadata("/proc/self").is_ok_and(|us| us.uid() == found.uid());
    (found.uid() == 0 || is_user()) && found.mode() & 0o022 == 0
}
