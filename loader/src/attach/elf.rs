//! Places in executables and libraries: where a symbol lies in its file.

use std::fs;

use object::elf::{FileHeader64, STT_FUNC};
use object::read::elf::{ElfFile64, ElfSymbol, VersionTable};
use object::{Endianness, Object, ObjectSection, ObjectSegment, ObjectSymbol};

/// A parsed file.
pub(super) type File<'a> = ElfFile64<'a, Endianness>;
type Header = FileHeader64<Endianness>;

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

/// The offset in the file at `path` of function `name`: `NAME`, `NAME@VERSION` or `NAME@@VERSION`.
pub(super) fn symbol(path: &str, name: &str) -> Result<u64, String> {
    let bytes = read(path)?;
    let file = parse(path, &bytes)?;
    let (wanted, version) = split_version(name);
    // As libbpf does it: what the file exports goes before what it merely has.
    for functions in [exported(&file)?, own(&file)] {
        let is_it = |function: &&Function<'_>| {
            function.name == wanted && (version.is_none() || function.version == version)
        };
        let found: Vec<_> = functions.iter().filter(is_it).collect();
        if let Some(offset) = pick(&found)
            .map_err(|names| format!("{path} has several functions {name}: {}", names.join(", ")))?
        {
            return Ok(offset);
        }
    }
    Err(format!("{path} has no function {name}"))
}

/// Functions of `file` whose names are wanted, with their offsets, of the first table of symbols that has some: that of all
/// symbols, then that of the exported ones, as libbpf does it.
pub(super) fn functions(
    file: &File<'_>,
    is_wanted: impl Fn(&str) -> bool,
) -> Result<Vec<(String, u64)>, String> {
    for functions in [own(file), exported(file)?] {
        let wanted = functions.iter().filter(|function| is_wanted(function.name));
        let wanted: Vec<_> = wanted.map(|f| (f.name.to_owned(), f.offset)).collect();
        if !wanted.is_empty() {
            return Ok(wanted);
        }
    }
    Ok(Vec::new())
}

/// A function that a file has.
struct Function<'a> {
    name: &'a str,
    version: Option<&'a str>,
    weak: bool,
    offset: u64,
}

/// `NAME`, `NAME@VERSION` or `NAME@@VERSION` in its parts.
fn split_version(name: &str) -> (&str, Option<&str>) {
    match name.split_once('@') {
        Some((name, version)) => (name, Some(version.trim_start_matches('@'))),
        None => (name, None),
    }
}

/// One symbol, as a function with code in this file.
fn function<'a>(file: &File<'a>, symbol: &ElfSymbol<'a, '_, Header>) -> Option<Function<'a>> {
    if symbol.elf_symbol().st_type() != STT_FUNC {
        return None;
    }
    let section = file.section_by_index(symbol.section_index()?).ok()?;
    let (start, _) = section.file_range()?;
    let (name, version) = split_version(symbol.name().ok()?);
    let inside = symbol.address().wrapping_sub(section.address());
    Some(Function {
        name,
        version,
        weak: symbol.is_weak(),
        offset: inside.wrapping_add(start),
    })
}

/// Functions of the table of all symbols.
fn own<'a>(file: &File<'a>) -> Vec<Function<'a>> {
    let symbols = file.symbols();
    symbols
        .filter_map(|symbol| function(file, &symbol))
        .collect()
}

/// Functions that the dynamic linker sees, with their versions.
fn exported<'a>(file: &File<'a>) -> Result<Vec<Function<'a>>, String> {
    let (endian, data) = (file.endian(), file.data());
    let versions = file.elf_section_table().versions(endian, data);
    let versions: VersionTable<'a, Header> =
        versions.map_err(|e| e.to_string())?.unwrap_or_default();
    let version = |symbol: &ElfSymbol<'a, '_, Header>| {
        let index = versions.version_index(endian, symbol.index());
        let version = versions.version(index.index()).ok()??;
        std::str::from_utf8(version.name()).ok()
    };
    let exported = file.dynamic_symbols().filter_map(|symbol| {
        let function = function(file, &symbol)?;
        Some(Function {
            version: version(&symbol),
            ..function
        })
    });
    Ok(exported.collect())
}

/// The offset of those that bear one name, a strong one before weak ones; their names, if it could be several.
fn pick(found: &[&Function<'_>]) -> Result<Option<u64>, Vec<String>> {
    let strong = found.iter().filter(|function| !function.weak);
    let mut offsets: Vec<u64> = strong.map(|function| function.offset).collect();
    offsets.sort_unstable();
    offsets.dedup();
    match offsets[..] {
        [] => Ok(found.first().map(|function| function.offset)),
        [offset] => Ok(Some(offset)),
        _ => {
            let name = |function: &&Function<'_>| match function.version {
                Some(version) => format!("{}@{version}", function.name),
                None => format!("one at {:#x}", function.offset),
            };
            Err(found.iter().map(name).collect())
        }
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
    fn versions_tell_functions_of_one_name_apart() {
        let path = super::super::files::find("libc.so.6").unwrap();
        let at = |name| symbol(&path, name);
        let old = at("pthread_cond_signal@GLIBC_2.2.5").unwrap();
        let new = at("pthread_cond_signal@@GLIBC_2.3.2").unwrap();
        assert_ne!(old, new);
        assert_eq!(at("pthread_cond_signal@GLIBC_2.3.2"), Ok(new));
        let several = at("pthread_cond_signal").unwrap_err();
        assert!(
            several.contains("pthread_cond_signal@GLIBC_2.2.5"),
            "{several}"
        );
        assert!(at("pthread_cond_signal@GLIBC_9").is_err());
        assert!(at("getpid").is_ok());
    }

    #[test]
    fn strong_functions_go_before_weak_ones() {
        let function = |weak, offset| Function {
            name: "f",
            version: None,
            weak,
            offset,
        };
        let picked = |functions: &[Function<'_>]| pick(&functions.iter().collect::<Vec<_>>());
        assert_eq!(picked(&[]), Ok(None));
        assert_eq!(
            picked(&[function(true, 1), function(false, 2)]),
            Ok(Some(2))
        );
        assert_eq!(
            picked(&[function(false, 2), function(true, 1)]),
            Ok(Some(2))
        );
        assert_eq!(picked(&[function(true, 1), function(true, 2)]), Ok(Some(1)));
        assert_eq!(
            picked(&[function(false, 2), function(false, 2)]),
            Ok(Some(2))
        );
        assert!(picked(&[function(false, 1), function(false, 2)]).is_err());
    }
}
