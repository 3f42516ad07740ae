//! Which kernel something is of: its release and its build id.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use object::{Object, ObjectSection};
use serde::{Deserialize, Serialize};

use super::{Error, Source};
use crate::debug_types;
use crate::values::KERNEL_BTF;

/// A kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// What `uname -r` says.
    pub release: String,
    /// Its build id in hexadecimal, if it is known: two builds of one release may differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.release)?;
        match &self.build {
            Some(build) => write!(f, " (build {})", build.get(..8).unwrap_or(build)),
            None => Ok(()),
        }
    }
}

impl Host {
    /// The running kernel.
    pub fn running() -> Self {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let notes = fs::read("/sys/kernel/notes").unwrap_or_default();
        Host {
            release: release.trim().to_owned(),
            build: build_id(&notes),
        }
    }

    /// Whether answers of this one are of `host`, as far as anybody knows.
    pub(super) fn is(&self, host: &Host) -> bool {
        let same_build = match (&self.build, &host.build) {
            (Some(ours), Some(theirs)) => ours == theirs,
            _ => true,
        };
        self.release == host.release && same_build
    }
}

/// The build id among ELF notes.
fn build_id(notes: &[u8]) -> Option<String> {
    const GNU_BUILD_ID: u32 = 3;
    let word = |at: usize| {
        let word = notes.get(at..at + 4)?.first_chunk().copied()?;
        Some(u32::from_le_bytes(word))
    };
    let mut at = 0;
    while let (Some(name), Some(size), Some(kind)) = (word(at), word(at + 4), word(at + 8)) {
        let (name, size) = (name as usize, size as usize);
        let start = at + 12 + name.next_multiple_of(4);
        let bytes = notes.get(start..start.checked_add(size)?)?;
        if kind == GNU_BUILD_ID && notes.get(at + 12..at + 12 + name) == Some(b"GNU\0") {
            return Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect());
        }
        at = start + size.next_multiple_of(4);
    }
    None
}

/// Where BTF is that a person names as `[RELEASE=]FILE`, and of which kernel it is: an ELF file says so itself, the running
/// kernel's own is known, and other files may be called `RELEASE.btf`.
///
/// # Errors
///
/// That it is not known.
pub fn of_file(word: &str) -> Result<(Source, Host), Error> {
    let (release, path) = named(word);
    if path == Path::new(KERNEL_BTF) {
        return Ok((Source::Running, Host::running()));
    }
    let bytes = fs::read(&path).map_err(|e| Error::Read(path.clone(), e))?;
    let host = whose(release, &path, &bytes)?;
    Ok((Source::Btf(path), host))
}

/// The same of a kernel's debug information: its ELF file is named, which is large.
///
/// # Errors
///
/// That it cannot be read, or it is not known whose it is.
pub fn of_debug(word: &str) -> Result<(Source, Host), Error> {
    let (release, path) = named(word);
    let bytes = map(&path).map_err(|e| Error::Read(path.clone(), e))?;
    let types = debug_types::btf(&bytes).map_err(|e| Error::Debug(path.clone(), e))?;
    let host = whose(release, &path, &bytes)?;
    Ok((Source::Debug(path, types.into()), host))
}

fn map(path: &Path) -> io::Result<Mmap> {
    let file = fs::File::open(path)?;
    // SAFETY: a file that changes while it is read makes wrong values, or ends this command by a signal; nothing here relies on
    // what it said before.
    unsafe { Mmap::map(&file) }
}

/// `RELEASE` and `FILE` of `[RELEASE=]FILE`.
fn named(word: &str) -> (Option<&str>, PathBuf) {
    let named = word
        .split_once('=')
        .filter(|(release, _)| !release.contains('/'));
    let path = named.map_or(word, |(_, path)| path);
    (named.map(|(release, _)| release), PathBuf::from(path))
}

/// Of which kernel the file at `path` is, which holds `bytes`; `release` if somebody says so.
fn whose(release: Option<&str>, path: &Path, bytes: &[u8]) -> Result<Host, Error> {
    let mut host = of_elf(bytes).unwrap_or_default();
    if let Some(release) = release {
        release.clone_into(&mut host.release);
    } else if host.release.is_empty() {
        host.release = of_name(path).ok_or_else(|| Error::Whose(path.to_owned()))?;
    }
    Ok(host)
}

/// Of the file `RELEASE.btf`.
fn of_name(path: &Path) -> Option<String> {
    let release = path.file_name()?.to_str()?.strip_suffix(".btf")?;
    let is_release = release.starts_with(|c: char| c.is_ascii_digit()) && release.contains('.');
    is_release.then(|| release.to_owned())
}

/// What a kernel's ELF file says of itself.
fn of_elf(bytes: &[u8]) -> Option<Host> {
    const BANNER: &[u8] = b"Linux version ";
    let elf = object::File::parse(bytes).ok()?;
    let notes = elf
        .section_by_name(".notes")
        .and_then(|section| section.data().ok());
    let texts = elf
        .section_by_name(".rodata")
        .and_then(|section| section.data().ok());
    let texts = texts.unwrap_or_default();
    let releases = texts.windows(BANNER.len()).enumerate();
    let release = releases
        .filter(|(_, window)| *window == BANNER)
        .find_map(|(at, _)| {
            let rest = &texts[at + BANNER.len()..];
            let end = rest.iter().position(|byte| *byte == b' ')?;
            let release = std::str::from_utf8(&rest[..end]).ok()?;
            release
                .starts_with(|c: char| c.is_ascii_digit())
                .then(|| release.to_owned())
        });
    Some(Host {
        release: release.unwrap_or_default(),
        build: notes.and_then(build_id),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_id_is_found_among_notes() {
        let mut notes = Vec::new();
        for (name, kind, bytes) in [("Xen\0", 3u32, &[9u8; 6][..]), ("GNU\0", 3, &[0xab; 20])] {
            notes.extend((name.len() as u32).to_le_bytes());
            notes.extend((bytes.len() as u32).to_le_bytes());
            notes.extend(kind.to_le_bytes());
            notes.extend(name.as_bytes());
            notes.extend(bytes);
            notes.resize(notes.len().next_multiple_of(4), 0);
        }
        assert_eq!(build_id(&notes), Some("ab".repeat(20)));
        assert_eq!(build_id(&notes[..notes.len() - 21]), None);
        assert_eq!(build_id(&[]), None);
    }

    #[test]
    fn a_kernel_is_told_by_release_and_build() {
        let host = |release: &str, build: Option<&str>| Host {
            release: release.to_owned(),
            build: build.map(str::to_owned),
        };
        let here = host("6.1", Some("aa"));
        assert!(host("6.1", Some("aa")).is(&here) && host("6.1", None).is(&here));
        assert!(!host("6.1", Some("ab")).is(&here) && !host("6.2", None).is(&here));
    }

    #[test]
    fn it_is_known_whose_btf_a_file_has() {
        let place = std::env::temp_dir().join(format!("wprobe-btf-{}", std::process::id()));
        fs::create_dir_all(&place).unwrap();
        let file = |name: &str| {
            let path = place.join(name);
            fs::write(&path, "x").unwrap();
            path.display().to_string()
        };
        let release = |word: &str| of_file(word).map(|(_, host)| host.release);
        assert_eq!(
            release(&file("5.10.0-46-amd64.btf")).unwrap(),
            "5.10.0-46-amd64"
        );
        assert_eq!(release(&format!("6.1={}", file("vmlinux"))).unwrap(), "6.1");
        assert!(matches!(release(&file("vmlinux")), Err(Error::Whose(_))));
        assert!(matches!(release("6.1=/no/such"), Err(Error::Read(..))));
        fs::remove_dir_all(place).unwrap();
    }
}
