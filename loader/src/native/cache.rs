//! Compiled images, kept in a directory from one load to the next.
//!
//! A file is named by the SHA-256 of all that its image depends on: the wasm, the values compiled in, the size of memory, the
//! compiler's version and settings, the version of the format. The directory and its files are the caller's or root's,
//! and nobody else can write them, or they are not used: what they hold runs in the kernel.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use helpers::native::{Image, VERSION};
use sha2::{Digest, Sha256};

use super::link::SETTINGS;
use super::{Error, Target, compile};

/// Where images are kept, unless this says otherwise.
const VARIABLE: &str = "WPROBE_CACHE";
const DIRECTORY: &str = "/var/cache/wprobe";
/// Images that are kept at most.
const IMAGES: usize = 256;

/// A directory of images.
#[derive(Clone, Debug)]
pub struct Cache {
    directory: PathBuf,
}

impl Cache {
    /// The one that `$WPROBE_CACHE` names, or the system's; made if it is not there.
    ///
    /// # Errors
    ///
    /// It cannot be made, or others can write to it.
    pub fn open() -> Result<Self, Error> {
        let directory = std::env::var_os(VARIABLE).map_or(DIRECTORY.into(), PathBuf::from);
        Self::at(directory)
    }

    /// The one in `directory`, made if it is not there.
    ///
    /// # Errors
    ///
    /// As [`Cache::open`].
    pub fn at(directory: PathBuf) -> Result<Self, Error> {
        let refused = |why: &dyn std::fmt::Display| {
            Error::Cache(format!("cache {}: {why}", directory.display()))
        };
        let mut builder = DirBuilder::new();
        let made = builder.recursive(true).mode(0o700).create(&directory);
        made.map_err(|e| refused(&e))?;
        let found = fs::symlink_metadata(&directory).map_err(|e| refused(&e))?;
        if !found.is_dir() || !is_ours(&found) {
            return Err(refused(&"others can write to it"));
        }
        Ok(Self { directory })
    }

    /// The image of `wasm` for `target`: the one that is kept, or else one that is compiled now and kept.
    ///
    /// # Errors
    ///
    /// As [`compile`]; an image that cannot be kept is no error.
    pub fn image(&self, wasm: &[u8], target: Target<'_>) -> Result<Vec<u8>, Error> {
        let path = self.directory.join(key(wasm, target));
        if let Some(image) = read(&path) {
            return Ok(image);
        }
        let image = compile(wasm, target)?;
        if self.keep(&path, &image).is_ok() {
            self.prune();
        }
        Ok(image)
    }

    /// Writes a file that is whole wherever it is seen.
    fn keep(&self, path: &Path, image: &[u8]) -> std::io::Result<()> {
        let new = path.with_extension(std::process::id().to_string());
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(image)?;
        fs::rename(&new, path)
    }

    /// Removes the oldest where there are too many.
    fn prune(&self) {
        let Ok(entries) = fs::read_dir(&self.directory) else {
            return;
        };
        let mut files: Vec<(SystemTime, PathBuf)> = entries
            .filter_map(Result::ok)
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .collect();
        files.sort();
        for (_, path) in files.iter().rev().skip(IMAGES) {
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

/// The image in `path`, if it is there, ours, and undamaged.
fn read(path: &Path) -> Option<Vec<u8>> {
    let mut file = File::options()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
        .ok()?;
    file.metadata().ok().filter(is_ours)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).ok()?;
    let image = Image::read(&bytes).ok()?;
    let is_whole = Sha256::digest(image.body)[..] == *image.checksum;
    is_whole.then_some(bytes)
}

/// The name of the image of `wasm` for `target`.
fn key(wasm: &[u8], target: Target<'_>) -> String {
    let mut hash = Sha256::new();
    let mut field = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    field(wasm);
    for value in target.globals {
        field(&value.to_le_bytes());
    }
    field(&target.memory.to_le_bytes());
    field(&VERSION.to_le_bytes());
    field(env!("CARGO_PKG_VERSION").as_bytes());
    field(cranelift_codegen::VERSION.as_bytes());
    for (name, value) in SETTINGS {
        field(name.as_bytes());
        field(value.as_bytes());
    }
    let digest = hash.finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const WASM: &str = r#"(module (import "map" "m" (global i64)) (import "env" "memory" (memory 1))
        (func (export "a:b:c") (param i64) (result i64) (global.get 0)))"#;

    fn cache(name: &str) -> Cache {
        let path = std::env::temp_dir().join(format!("wprobe-cache-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Cache::at(path).unwrap()
    }

    fn files(cache: &Cache) -> Vec<PathBuf> {
        let entries = fs::read_dir(&cache.directory).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    fn image(cache: &Cache, global: u64) -> Vec<u8> {
        let wasm = wat::parse_str(WASM).unwrap();
        let target = Target {
            globals: &[global],
            memory: 0x2_0000,
        };
        cache.image(&wasm, target).unwrap()
    }

    #[test]
    fn an_image_is_kept_by_what_it_depends_on() {
        let cache = cache("kept");
        let first = image(&cache, 7);
        assert_eq!(image(&cache, 7), first);
        assert_eq!(files(&cache).len(), 1);
        assert_ne!(image(&cache, 8), first);
        assert_eq!(files(&cache).len(), 2);
    }

    #[test]
    fn what_is_damaged_or_others_can_write_is_compiled_anew() {
        let cache = cache("damaged");
        let good = image(&cache, 7);
        let path = files(&cache).remove(0);
        let mut bytes = good.clone();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, &bytes).unwrap();
        assert_eq!(image(&cache, 7), good);
        assert_eq!(fs::read(&path).unwrap(), good, "written again");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        assert!(read(&path).is_none());
        fs::set_permissions(&cache.directory, fs::Permissions::from_mode(0o777)).unwrap();
        let refusal = Cache::at(cache.directory.clone()).unwrap_err().to_string();
        assert!(refusal.ends_with("others can write to it"), "{refusal}");
    }
}
