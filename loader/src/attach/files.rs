//! Which file a section means that names a library or a program without its directory: libbpf's search, then what the
//! dynamic linker knows.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Where libbpf looks for libraries, after `$LD_LIBRARY_PATH`.
const LIBRARIES: &str = "/usr/lib64:/usr/lib:/lib/x86_64-linux-gnu";
/// Where it looks for programs, after `$PATH`.
const PROGRAMS: &str = "/usr/bin:/usr/sbin";

/// What `ldconfig` writes: every library that the dynamic linker finds.
const CACHE: &str = "/etc/ld.so.cache";
const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
/// Bytes of its header, and of an entry.
const HEADER: usize = 48;
const ENTRY: usize = 24;
/// Flags of a library for this machine: `FLAG_ELF_LIBC6`, `FLAG_X8664_LIB64`.
const X86_64: u32 = 0x0303;

/// The file that `name` means: a path, a library of the system, or a program of `$PATH`.
pub(crate) fn find(name: &str) -> Result<String, String> {
    if name.contains('/') {
        return Ok(name.to_owned());
    }
    let is_library = name.ends_with(".so") || name.contains(".so.");
    let (variable, usual, mode) = match is_library {
        true => ("LD_LIBRARY_PATH", LIBRARIES, 0o444),
        false => ("PATH", PROGRAMS, 0o111),
    };
    let own = env::var(variable).unwrap_or_default();
    let directories = own.split(':').chain(usual.split(':'));
    let paths = directories
        .filter(|directory| !directory.is_empty())
        .map(|directory| format!("{directory}/{name}"));
    let is_usable = |path: &String| {
        let known = fs::metadata(path);
        known.is_ok_and(|known| known.is_file() && known.permissions().mode() & mode != 0)
    };
    if let Some(path) = paths.into_iter().find(is_usable) {
        return Ok(path);
    }
    if !is_library {
        return Err(format!("there is no {name} in $PATH, {PROGRAMS}"));
    }
    let cache = fs::read(CACHE).unwrap_or_default();
    cached(&libraries(&cache), name)
}

/// The library that the dynamic linker knows by `name`, or by the only name that begins with it and a version.
fn cached(libraries: &[(&str, &str)], name: &str) -> Result<String, String> {
    let named = libraries.iter().find(|(known, _)| *known == name);
    if let Some((_, path)) = named {
        return Ok((*path).to_owned());
    }
    let versions = libraries.iter().filter(|(known, _)| {
        let version = known.strip_prefix(name);
        name.ends_with(".so") && version.is_some_and(|version| version.starts_with('.'))
    });
    let versions: Vec<&(&str, &str)> = versions.collect();
    match versions[..] {
        [(_, path)] => Ok((*path).to_owned()),
        [] => Err(format!(
            "there is no {name} in $LD_LIBRARY_PATH, {LIBRARIES}, {CACHE}"
        )),
        _ => {
            let names: Vec<_> = versions.iter().map(|(known, _)| *known).collect();
            Err(format!("{name} may be {}: name one", names.join(", ")))
        }
    }
}

/// Names and paths of the cache's libraries for this machine; none of a file that is no such cache.
fn libraries(cache: &[u8]) -> Vec<(&str, &str)> {
    if !cache.starts_with(MAGIC) {
        return Vec::new();
    }
    let number = |at: usize| Some(u32::from_le_bytes(*cache.get(at..)?.first_chunk()?));
    let text = |at: u32| {
        let rest = cache.get(at as usize..)?;
        let end = rest.iter().position(|byte| *byte == 0)?;
        std::str::from_utf8(&rest[..end]).ok()
    };
    let entry = |index: usize| {
        let at = HEADER + index * ENTRY;
        let is_ours = number(at)? == X86_64;
        Some(is_ours.then_some((text(number(at + 4)?)?, text(number(at + 8)?)?)))
    };
    let count = number(MAGIC.len()).unwrap_or(0);
    let mut found: Vec<_> = (0..count as usize).map_while(entry).flatten().collect();
    // One that is there for several kinds of processors comes once for each; the plain one is the last.
    found.reverse();
    found.retain(|(_, path)| Path::new(path).is_absolute());
    found.dedup_by_key(|(name, _)| *name);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cache of libraries: flags, name, path.
    fn cache(libraries: &[(u32, &str, &str)]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend((libraries.len() as u32).to_le_bytes());
        bytes.resize(HEADER, 0);
        let mut strings = Vec::new();
        let start = HEADER + libraries.len() * ENTRY;
        for (flags, name, path) in libraries {
            let mut place = |text: &str| {
                let at = (start + strings.len()) as u32;
                strings.extend(text.as_bytes());
                strings.push(0);
                at
            };
            let words = [*flags, place(name), place(path), 0, 0, 0];
            bytes.extend(words.into_iter().flat_map(u32::to_le_bytes));
        }
        bytes.extend(strings);
        bytes
    }

    #[test]
    fn files_are_found_where_the_system_looks() {
        assert_eq!(find("/x/y"), Ok("/x/y".to_owned()));
        assert!(find("libc.so.6").unwrap().ends_with("/libc.so.6"));
        assert!(find("no-such-program").is_err());
        assert!(find("libno-such.so.1").unwrap_err().contains(CACHE));
    }

    #[test]
    fn libraries_are_found_by_the_linkers_names() {
        let bytes = cache(&[
            (X86_64, "libssl.so.3", "/opt/ssl/libssl.so.3"),
            (X86_64, "libssl.so.1.1", "/opt/old/libssl.so.1.1"),
            (X86_64, "libz.so.1", "/opt/z/v3/libz.so.1"),
            (X86_64, "libz.so.1", "/opt/z/libz.so.1"),
            (0x0803, "libz.so.2", "/opt/x32/libz.so.2"),
        ]);
        let known = libraries(&bytes);
        let find = |name| cached(&known, name);
        assert_eq!(find("libssl.so.1.1"), Ok("/opt/old/libssl.so.1.1".into()));
        assert_eq!(find("libz.so.1"), Ok("/opt/z/libz.so.1".into()));
        assert_eq!(find("libz.so"), Ok("/opt/z/libz.so.1".into()));
        assert!(find("libz.so.2").is_err() && find("libss.so").is_err());
        let several = find("libssl.so").unwrap_err();
        assert!(
            several.contains("libssl.so.3") && several.contains("libssl.so.1.1"),
            "{several}"
        );
        for end in 0..bytes.len() {
            libraries(&bytes[..end]);
        }
    }
}
