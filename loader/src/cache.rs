//! Files kept in a directory from one load to the next: names of the kernel's functions ([`crate::kallsyms`]).
//!
//! A file is named by the SHA-256 of all that it depends on. The directory and its files are the caller's or root's,
//! and nobody else can write them, or they are not used: what they hold says where probes go.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::time::SystemTime;

use memmap2::Mmap;
use sha2::{Digest, Sha256};

/// Where files are kept, unless this says otherwise.
const VARIABLE: &str = "WPROBE_CACHE";
const DIRECTORY: &str = "/var/cache/wprobe";
/// Files that are kept at most.
const FILES: usize = 256;

/// What a file's name begins with, before its key.
const PREFIX: &str = "functions-";
/// What names of files that earlier versions kept begin with: they go with the others.
const EARLIER: &str = "image-";

/// Whether `file` is one of ours, or was to become one: a directory that a user names may have others.
fn is_named(file: &str) -> bool {
    let mut prefixes = [PREFIX, EARLIER].into_iter();
    let key = prefixes.find_map(|prefix| file.strip_prefix(prefix));
    let digest = key.and_then(|key| key.get(..DIGEST));
    digest.is_some_and(|digest| digest.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Characters of a SHA-256.
const DIGEST: usize = 64;

/// The key of what depends on all of `parts`, and on nothing else.
pub(crate) fn key<'p>(parts: impl IntoIterator<Item = &'p [u8]>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

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

    fn path(&self, key: &str) -> PathBuf {
        self.directory.join(format!("{PREFIX}{key}"))
    }

    /// What is kept, if it is there and ours.
    pub(crate) fn get(&self, key: &str) -> Option<Mmap> {
        let file = File::options()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW)
            .open(self.path(key))
            .ok()?;
        file.metadata().ok().filter(is_ours)?;
        // SAFETY: nobody else can write the file, and we write none that has its name (`Self::keep`).
        unsafe { Mmap::map(&file) }.ok()
    }

    /// Keeps a file that is whole wherever it is seen; the oldest goes where there are too many.
    pub(crate) fn keep(&self, key: &str, bytes: &[u8]) -> std::io::Result<()> {
        let path = self.path(key);
        // Nobody else's, whatever namespace they are in.
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.map_or(0, |now| now.as_nanos());
        let new = path.with_extension(format!("{}-{now}", std::process::id()));
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)?;
        let written = file.write_all(bytes).and_then(|()| fs::rename(&new, path));
        if written.is_err() {
            // It is the first error that counts.
            let _ = fs::remove_file(&new);
        }
        self.prune();
        written
    }

    fn prune(&self) {
        let Ok(entries) = fs::read_dir(&self.directory) else {
            return;
        };
        let mut files: Vec<(SystemTime, PathBuf)> = entries
            .filter_map(Result::ok)
            .filter(|entry| entry.file_name().to_str().is_some_and(is_named))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_and_others_files_stay() {
        let path = std::env::temp_dir().join(format!("wprobe-cache-prune-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        let cache = Cache::at(path.clone()).unwrap();
        fs::write(path.join("letter"), "to a friend").unwrap();
        for number in 0..FILES + 10 {
            let key = format!("{number:064x}");
            cache.keep(&key, b"name\n").unwrap();
        }
        let key = format!("{:064x}", FILES + 9);
        assert_eq!(cache.get(&key).unwrap()[..], *b"name\n");
        assert_eq!(fs::read_dir(&path).unwrap().count(), FILES + 1);
        assert!(path.join("letter").exists());
        fs::remove_dir_all(path).unwrap();
    }
}
