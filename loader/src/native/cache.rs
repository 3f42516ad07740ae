//! Compiled images, kept from one load to the next.
//!
//! An image depends on the wasm with its values, the size of memory, the compiler's version and settings, the version of the
//! format.

use abi::native::{Image, VERSION};
use sha2::{Digest, Sha256};

use super::link::SETTINGS;
use super::{Error, compile};
use crate::cache::{self, Cache, Kind};

/// The image of `wasm` for `memory` bytes: the one that is kept, or else one that is compiled now and kept.
///
/// # Errors
///
/// As [`compile`]; an image that cannot be kept is no error.
pub fn image(cache: &Cache, wasm: &[u8], memory: u32) -> Result<Vec<u8>, Error> {
    let key = key(wasm, memory);
    if let Some(image) = cache.get(Kind::Image, &key).filter(|bytes| is_whole(bytes)) {
        return Ok(image.to_vec());
    }
    let image = compile(wasm, memory)?;
    // Another time, then.
    let _ = cache.keep(Kind::Image, &key, &image);
    Ok(image)
}

/// Whether an image is undamaged.
fn is_whole(bytes: &[u8]) -> bool {
    Image::read(bytes).is_ok_and(|image| Sha256::digest(image.body)[..] == *image.checksum)
}

/// The key of the image of `wasm` for `memory` bytes.
fn key(wasm: &[u8], memory: u32) -> String {
    let (memory, version) = (memory.to_le_bytes(), VERSION.to_le_bytes());
    let (ours, compiler) = (env!("CARGO_PKG_VERSION"), cranelift_codegen::VERSION);
    let parts = [
        wasm,
        &memory,
        &version,
        ours.as_bytes(),
        compiler.as_bytes(),
    ];
    let settings = SETTINGS.iter().flat_map(|(name, value)| [name, value]);
    cache::key(
        parts
            .into_iter()
            .chain(settings.map(|text| text.as_bytes())),
    )
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use super::*;

    const WASM: &str = r#"(module (import "env" "memory" (memory 1))
        (func (export "a:b:c") (param i64) (result i64) (i64.const 0)))"#;

    fn cache(name: &str) -> Cache {
        let path = std::env::temp_dir().join(format!("wprobe-cache-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Cache::at(path).unwrap()
    }

    fn files(cache: &Cache) -> Vec<PathBuf> {
        let entries = fs::read_dir(&cache.directory).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    fn made(cache: &Cache, pages: u32) -> Vec<u8> {
        let wasm = wat::parse_str(WASM).unwrap();
        image(cache, &wasm, pages << 16).unwrap()
    }

    #[test]
    fn an_image_is_kept_by_what_it_depends_on() {
        let cache = cache("kept");
        let first = made(&cache, 7);
        assert_eq!(made(&cache, 7), first);
        assert_eq!(files(&cache).len(), 1);
        assert_ne!(made(&cache, 8), first);
        assert_eq!(files(&cache).len(), 2);
    }

    #[test]
    fn what_is_damaged_or_others_can_write_is_compiled_anew() {
        let cache = cache("damaged");
        let good = made(&cache, 7);
        let path = files(&cache).remove(0);
        let mut bytes = good.clone();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, &bytes).unwrap();
        assert_eq!(made(&cache, 7), good);
        assert_eq!(fs::read(&path).unwrap(), good, "written again");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        let key = name.strip_prefix("image-").unwrap();
        assert!(cache.get(Kind::Image, key).is_none());
        fs::set_permissions(&cache.directory, fs::Permissions::from_mode(0o777)).unwrap();
        let refusal = Cache::at(cache.directory.clone()).unwrap_err();
        assert!(refusal.ends_with("others can write to it"), "{refusal}");
    }
}
