//! Finds BPF objects: a BPF object is one itself, an executable may embed several.
//!
//! libbpf's skeletons keep the object's bytes in read-only data. They are found by their ELF
//! header, wherever they lie, and measured by their section headers.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use alloc::{format, vec};

use object::read::elf::ElfFile64;
use object::{Endianness, Object, ObjectSection, ObjectSymbol, SymbolKind};

use crate::error::{Error, ObjectError, Result};

/// `EM_BPF`.
const MACHINE_BPF: u16 = 247;
/// `EM_NONE`: what old compilers wrote. libbpf takes such a file, too.
const MACHINE_NONE: u16 = 0;
/// `ET_REL`.
const TYPE_REL: u16 = 1;
/// Bytes of an `Elf64_Ehdr`, and of an `Elf64_Shdr`.
const HEADER: usize = 64;

/// A BPF object inside a file.
#[derive(Clone, Debug)]
pub struct Embedded<'a> {
    /// The source file it was compiled from, without extensions, if the object says; else `#INDEX`.
    pub name: String,
    /// Where it begins in the file.
    pub offset: usize,
    /// The object's bytes.
    pub bytes: &'a [u8],
}

/// The BPF objects in `file`, in file order; at least one. A BPF object gives itself.
pub fn embedded_objects(file: &[u8]) -> Result<Vec<Embedded<'_>>> {
    let header = Header::read(file).ok_or(ObjectError::NotElf)?;
    if header.is_object() || header.is_old_object() {
        return Ok(vec![describe(file, 0, 0)]);
    }
    let mut found = Vec::new();
    for offset in magics(file).skip(1) {
        let rest = &file[offset..];
        if let Some(len) = Header::read(rest)
            .filter(Header::is_object)
            .and_then(|h| h.extent(rest))
        {
            found.push(describe(&rest[..len], offset, found.len()));
        }
    }
    match (found.is_empty(), header.machine) {
        (false, _) => Ok(found),
        (true, _) if header.kind != TYPE_REL => Err(Error::new(ObjectError::NothingEmbedded)),
        (true, machine) => Err(Error::new(ObjectError::Machine(machine))),
    }
}

/// The object called `wanted` (a name or an index), or the only one.
pub fn pick<'a>(mut objects: Vec<Embedded<'a>>, wanted: Option<&str>) -> Result<Embedded<'a>> {
    let names: Vec<_> = objects.iter().map(|o| o.name.clone()).collect();
    let index = match wanted {
        None if objects.len() == 1 => 0,
        None => return Err(Error::new(ObjectError::Ambiguous(names))),
        Some(wanted) => names
            .iter()
            .position(|name| name == wanted)
            .or_else(|| wanted.trim_start_matches('#').parse().ok())
            .filter(|index| *index < names.len())
            .ok_or_else(|| ObjectError::NoSuchObject(wanted.to_owned(), names))?,
    };
    Ok(objects.swap_remove(index))
}

/// Offsets at which an ELF file may begin.
fn magics(file: &[u8]) -> impl Iterator<Item = usize> {
    let magic: &[u8] = b"\x7fELF";
    (0..file.len()).filter(move |&at| file[at] == magic[0] && file[at..].starts_with(magic))
}

fn describe(bytes: &[u8], offset: usize, index: usize) -> Embedded<'_> {
    let name = source_name(bytes).unwrap_or_else(|| format!("#{index}"));
    Embedded {
        name,
        offset,
        bytes,
    }
}

/// The stem of the object's `STT_FILE` symbol.
fn source_name(bytes: &[u8]) -> Option<String> {
    let elf = ElfFile64::<Endianness>::parse(bytes).ok()?;
    let file = elf.symbols().find(|s| s.kind() == SymbolKind::File)?;
    let stem = file.name().ok()?.rsplit('/').next()?.split('.').next()?;
    (!stem.is_empty()).then(|| stem.to_owned())
}

/// What of an ELF header says whether this is a BPF object, and how long it is.
struct Header {
    class64: bool,
    kind: u16,
    machine: u16,
    section_table: u64,
    sections: u16,
}

impl Header {
    fn read(data: &[u8]) -> Option<Self> {
        let bytes: &[u8; HEADER] = data.get(..HEADER)?.try_into().ok()?;
        let big_endian = bytes[5] == 2;
        let half = |at: usize| {
            let half = [bytes[at], bytes[at + 1]];
            if big_endian {
                u16::from_be_bytes(half)
            } else {
                u16::from_le_bytes(half)
            }
        };
        let table: [u8; 8] = bytes[0x28..0x30].try_into().ok()?;
        bytes.starts_with(b"\x7fELF").then(|| Header {
            class64: bytes[4] == 2,
            kind: half(0x10),
            machine: half(0x12),
            section_table: if big_endian {
                u64::from_be_bytes(table)
            } else {
                u64::from_le_bytes(table)
            },
            sections: half(0x3c),
        })
    }

    fn is_object(&self) -> bool {
        self.class64 && self.kind == TYPE_REL && self.machine == MACHINE_BPF
    }

    /// Whether it may be one of an old compiler; what is embedded in something is never taken for one.
    fn is_old_object(&self) -> bool {
        Header {
            machine: MACHINE_BPF,
            ..*self
        }
        .is_object()
            && self.machine == MACHINE_NONE
    }

    /// The end of the last section or of the section table, whichever is later.
    fn extent(&self, data: &[u8]) -> Option<usize> {
        let table = self
            .section_table
            .checked_add(u64::from(self.sections) * HEADER as u64)?;
        let elf = ElfFile64::<Endianness>::parse(data).ok()?;
        let ends = elf
            .sections()
            .filter_map(|s| s.file_range())
            .filter_map(|(at, len)| at.checked_add(len));
        let end = usize::try_from(ends.fold(table, u64::max)).ok()?;
        (end <= data.len()).then_some(end)
    }
}
