//! A kernel's types from its debug information (DWARF), for one that was built without BTF: as BTF, so that everything that asks
//! for types asks the same.
//!
//! A kernel's debug information has each type again in every file that includes its header: thousands of times. [`die`] reads
//! one entry, [`types`] finds out which are the same, and [`encode`] writes BTF. What pahole makes for kernels that have
//! BTF is what this is measured by (`diff-tests`).
//!
//! # Invariants
//! An entry that is not understood is an error: a type that is left out would be "the kernel has no such thing". Types of units
//! that are not C (Rust) are left out, as pahole does; so are those that are declared within a function, which pahole takes.

mod die;
mod encode;
mod types;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::io::{self, Read as _};

use flate2::read::ZlibDecoder;
use gimli::{Dwarf, EndianSlice, LittleEndian, Section as _};
use object::{CompressionFormat, Object, ObjectKind, ObjectSection};

use types::Types;

/// Bytes of a section.
type Bytes<'d> = EndianSlice<'d, LittleEndian>;

/// Why there are no types.
#[derive(Debug)]
pub enum Error {
    /// The file is no ELF file.
    Elf(object::Error),
    /// Not linked: its numbers are not yet what they will be.
    Relocatable,
    /// There is no debug information.
    None,
    /// A section cannot be decompressed.
    Compressed(String, io::Error),
    /// What is there is not as the format has it.
    Format(gimli::Error),
    /// Something that C has not.
    Tag(gimli::DwTag),
    /// A plain type of which it does not say how it is to be read.
    Encoding(String),
    /// A member that lies so many bits behind its struct's begin.
    Large(u64),
    /// A type that lies in another unit: of a kernel that was optimised when it was linked.
    Elsewhere,
    /// It is in files of its own (`CONFIG_DEBUG_INFO_SPLIT`).
    Split,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Elf(e) => write!(f, "{e}"),
            Error::Relocatable => {
                write!(f, "an object that is not linked: name the kernel's vmlinux")
            }
            Error::None => write!(f, "no debug information (DWARF) of C in it"),
            Error::Compressed(name, e) => write!(
                f,
                "{name}: {e}; `objcopy --decompress-debug-sections` unpacks it"
            ),
            Error::Format(e) => write!(f, "its debug information: {e}"),
            Error::Tag(tag) => write!(f, "its debug information: {tag}, which no type of C is"),
            Error::Encoding(name) => write!(f, "its debug information says nothing of {name}"),
            Error::Large(bits) => write!(
                f,
                "its debug information has a member {bits} bits behind its struct's begin"
            ),
            Error::Elsewhere => write!(
                f,
                "its debug information has types that lie in other units (a kernel of link-time optimisation), which are not read"
            ),
            Error::Split => write!(
                f,
                "its debug information is in other files (CONFIG_DEBUG_INFO_SPLIT)"
            ),
        }
    }
}

impl std::error::Error for Error {}

impl From<gimli::Error> for Error {
    fn from(error: gimli::Error) -> Self {
        Error::Format(error)
    }
}

type Result<T> = std::result::Result<T, Error>;

/// The types of the kernel whose ELF file is `file`, in BTF's format.
///
/// # Errors
///
/// That it has no debug information, or none that can be read.
pub fn btf(file: &[u8]) -> Result<Vec<u8>> {
    let elf = object::File::parse(file).map_err(Error::Elf)?;
    if elf.kind() == ObjectKind::Relocatable {
        return Err(Error::Relocatable);
    }
    let sections = sections(&elf)?;
    let load = |id: gimli::SectionId| {
        let bytes = sections.get(id.name()).map_or(&[][..], |bytes| bytes);
        Ok::<_, Error>(EndianSlice::new(bytes, LittleEndian))
    };
    let dwarf = Dwarf::load(load)?;
    if dwarf.debug_info.reader().is_empty() {
        return Err(Error::None);
    }
    let mut types = Types::default();
    let mut units = dwarf.units();
    while let Some(header) = units.next()? {
        types.add(&dwarf, &dwarf.unit(header)?)?;
    }
    if types.is_empty() {
        return Err(Error::None);
    }
    Ok(encode::encode(types.nodes()))
}

/// Sections of debug information by name, decompressed.
fn sections<'d>(elf: &object::File<'d>) -> Result<HashMap<String, Cow<'d, [u8]>>> {
    let mut sections = HashMap::new();
    for section in elf.sections() {
        let name = section.name().map_err(Error::Elf)?;
        if !name.starts_with(".debug_") {
            continue;
        }
        let packed = section.compressed_data().map_err(Error::Elf)?;
        let bytes = match packed.format {
            CompressionFormat::None => Cow::Borrowed(packed.data),
            CompressionFormat::Zlib => {
                let mut bytes = Vec::new();
                let unpacked = ZlibDecoder::new(packed.data).read_to_end(&mut bytes);
                unpacked.map_err(|e| Error::Compressed(name.to_owned(), e))?;
                Cow::Owned(bytes)
            }
            _ => {
                let unknown = io::Error::other("compressed in a way that is not known here");
                return Err(Error::Compressed(name.to_owned(), unknown));
            }
        };
        sections.insert(name.to_owned(), bytes);
    }
    Ok(sections)
}
