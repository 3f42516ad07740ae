//! Places in executables and libraries: where a symbol lies in its file.

use std::env;
use std::fs;
use std::path::Path;

use object::elf::FileHeader64;
use object::read::elf::ElfFile64;
use object::{Endianness, Object, ObjectSection, ObjectSegment, ObjectSymbol, SymbolKind};

/// A parsed file.
pub(super) type File<'a> = ElfFile64<'a, Endianness>;

/// Where the system keeps shared libraries.
const LIBRARIES: &[&str] = &[
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
];

/// The file that `name` means: a path, a library of the system, or a program of `$PATH`.
pub(super) fn find(name: &str) -> Result<String, String> {
    if name.contains('/') {
        return Ok(name.to_owned());
    }
    let paths = env::var("PATH").unwrap_or_default();
    let directories: Vec<&str> = match name.contains(".so") {
        true => LIBRARIES.to_vec(),
        false => paths.split(':').collect(),
    };
    let found = directories
        .iter()
        .map(|directory| format!("{directory}/{name}"));
    found
        .into_iter()
        .find(|path| Path::new(path).is_file())
        .ok_or_else(|| format!("there is no {name} in {}", directories.join(", ")))
}

/// The bytes of the file at `path`.
pub(super) fn read(path: &str) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|e| format!("{path}: {e}"))
}

/// A file in memory.
pub(super) fn parse<'a>(path: &str, bytes: &'a [u8]) -> Result<File<'a>, String> {
    let file = File::parse(bytes).map_err(|e| format!("{path}: {e}"))?;
    match file.elf_header().e_machine.get(file.endian()) {
        object::elf::EM_X86_64 => Ok(file),
        machine => Err(format!("{path}: for another machine ({machine})")),
    }
}

/// The offset in the file at `path` of function `name`.
pub(super) fn symbol(path: &str, name: &str) -> Result<u64, String> {
    let bytes = read(path)?;
    let file = parse(path, &bytes)?;
    let offset = |symbol: object::read::elf::ElfSymbol<'_, '_, FileHeader64<Endianness>>| {
        let section = file.section_by_index(symbol.section_index()?).ok()?;
        let (start, _) = section.file_range()?;
        Some((
            symbol.is_global(),
            symbol.address() - section.address() + start,
        ))
    };
    let functions = file
        .symbols()
        .chain(file.dynamic_symbols())
        .filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.name() == Ok(name));
    let mut found: Vec<(bool, u64)> = functions.filter_map(offset).collect();
    // A global one hides local ones of its name.
    if found.iter().any(|(global, _)| *global) {
        found.retain(|(global, _)| *global);
    }
    found.sort_unstable();
    found.dedup();
    match found[..] {
        [(_, offset)] => Ok(offset),
        [] => Err(format!("{path} has no function {name}")),
        _ => Err(format!("{path} has {} functions {name}", found.len())),
    }
}

/// The offset in the file of the byte at `address`.
pub(super) fn offset(file: &File<'_>, address: u64) -> Option<u64> {
    file.segments().find_map(|segment| {
        let (start, size) = segment.file_range();
        let at = address.checked_sub(segment.address())?;
        (at < size).then_some(start + at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_lie_where_the_file_has_their_code() {
        let path = std::env::current_exe().unwrap();
        let path = path.to_str().unwrap();
        let bytes = read(path).unwrap();
        let file = parse(path, &bytes).unwrap();
        let at = symbol(path, "main").unwrap();
        let address = file.symbol_by_name("main").unwrap().address();
        assert_eq!(offset(&file, address), Some(at));
        assert!(
            symbol(path, "no_such_function")
                .unwrap_err()
                .contains("no function")
        );
        assert!(symbol("/no/such/file", "main").is_err());
    }

    #[test]
    fn files_are_found_where_the_system_looks() {
        assert_eq!(find("/x/y"), Ok("/x/y".to_owned()));
        assert!(find("libc.so.6").unwrap().ends_with("/libc.so.6"));
        assert!(find("no-such-program").is_err());
    }
}
