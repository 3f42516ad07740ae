//! The ELF file: sections, symbols and relocations, flat and borrowed.

use alloc::string::ToString;
use alloc::vec::Vec;

use object::read::elf::ElfFile64;
use object::{
    Architecture, Endianness, Object, ObjectSection, ObjectSymbol, RelocationFlags,
    RelocationTarget, SectionFlags, SectionKind, SymbolKind,
};

use crate::error::{Error, ObjectError, Result};

/// The section of map definitions.
pub(super) const MAPS: &str = ".maps";
/// `SHF_EXECINSTR`.
const EXECUTABLE: u64 = 4;

/// An ELF file.
pub(crate) struct Elf<'a> {
    /// By section index.
    pub(crate) sections: Vec<Section<'a>>,
    /// By symbol index.
    pub(crate) symbols: Vec<Symbol<'a>>,
}

/// A section.
pub(crate) struct Section<'a> {
    pub(crate) name: &'a str,
    /// Its bytes; empty for `.bss`.
    pub(crate) data: &'a [u8],
    pub(crate) size: u64,
    /// Whether it holds code.
    pub(crate) code: bool,
    /// Relocations by offset, of code and of map definitions: nobody asks for others.
    pub(crate) relocations: Vec<Relocation>,
}

/// A symbol.
pub(crate) struct Symbol<'a> {
    /// Its name; a section symbol has its section's.
    pub(crate) name: &'a str,
    /// Index of the section it is defined in.
    pub(crate) section: Option<usize>,
    pub(crate) value: u64,
    pub(crate) size: u64,
    pub(crate) kind: SymbolKind,
    pub(crate) local: bool,
    pub(crate) weak: bool,
}

/// A relocation. BPF's addend is in the place itself.
#[derive(Clone, Copy)]
pub(crate) struct Relocation {
    /// Where in the section.
    pub(crate) offset: u64,
    /// Index of the symbol.
    pub(crate) symbol: usize,
    /// `R_BPF_*`.
    pub(crate) number: u32,
}

fn malformed(error: impl ToString) -> Error {
    Error::new(ObjectError::Malformed(error.to_string()))
}

impl<'a> Elf<'a> {
    /// Reads a BPF object.
    pub(crate) fn parse(data: &'a [u8]) -> Result<Self> {
        if !data.starts_with(b"\x7fELF") {
            return Err(Error::new(ObjectError::NotElf));
        }
        let file = ElfFile64::<Endianness>::parse(data).map_err(malformed)?;
        let machine = data
            .get(18..20)
            .map_or(0, |m| u16::from_le_bytes([m[0], m[1]]));
        // Old compilers named no machine.
        if file.architecture() != Architecture::Bpf && machine != 0 {
            return Err(Error::new(ObjectError::Machine(machine)));
        }
        if !file.is_little_endian() {
            return Err(Error::new(ObjectError::BigEndian));
        }
        let mut sections = Vec::with_capacity(file.sections().count() + 1);
        for section in file.sections() {
            let index = section.index().0;
            sections.resize_with(index, Section::none);
            sections.push(Section::read(&section).map_err(malformed)?);
        }
        let mut symbols = Vec::with_capacity(file.symbols().count() + 1);
        for symbol in file.symbols() {
            let index = symbol.index().0;
            symbols.resize_with(index, Symbol::none);
            symbols.push(Symbol::read(&symbol, &sections).map_err(malformed)?);
        }
        Ok(Elf { sections, symbols })
    }

    /// The section named `name` and its index.
    pub(crate) fn section(&self, name: &str) -> Option<(usize, &Section<'a>)> {
        self.sections
            .iter()
            .enumerate()
            .find(|(_, s)| s.name == name)
    }

    /// The symbols defined in section `index` that name something.
    pub(crate) fn symbols_in(&self, index: usize) -> impl Iterator<Item = &Symbol<'a>> {
        let named = |s: &&Symbol<'a>| s.kind != SymbolKind::Section && !s.name.is_empty();
        self.symbols
            .iter()
            .filter(move |s| s.section == Some(index))
            .filter(named)
    }
}

impl<'a> Section<'a> {
    fn none() -> Self {
        Section {
            name: "",
            data: &[],
            size: 0,
            code: false,
            relocations: Vec::new(),
        }
    }

    fn read<'f>(
        section: &impl ObjectSection<
            'a,
            RelocationIterator = impl Iterator<Item = (u64, object::Relocation)>,
        >,
    ) -> object::Result<Self>
    where
        'a: 'f,
    {
        let executable = match section.flags() {
            SectionFlags::Elf { sh_flags, .. } => sh_flags.0 & EXECUTABLE != 0,
            _ => false,
        };
        let name = section.name()?;
        let code = executable && section.kind() == SectionKind::Text;
        let mut relocations = Vec::new();
        if code || name == MAPS {
            relocations.extend(section.relocations().filter_map(Relocation::read));
            relocations.sort_by_key(|r| r.offset);
        }
        Ok(Section {
            name,
            data: section.data()?,
            size: section.size(),
            code,
            relocations,
        })
    }
}

impl Relocation {
    fn read((offset, relocation): (u64, object::Relocation)) -> Option<Self> {
        match (relocation.target(), relocation.flags()) {
            (RelocationTarget::Symbol(symbol), RelocationFlags::Elf { r_type }) => {
                Some(Relocation {
                    offset,
                    symbol: symbol.0,
                    number: r_type.0,
                })
            }
            _ => None,
        }
    }
}

impl<'a> Symbol<'a> {
    fn none() -> Self {
        let (name, section, kind) = ("", None, SymbolKind::Unknown);
        Symbol {
            name,
            section,
            value: 0,
            size: 0,
            kind,
            local: true,
            weak: false,
        }
    }

    fn read(symbol: &impl ObjectSymbol<'a>, sections: &[Section<'a>]) -> object::Result<Self> {
        let section = symbol.section_index().map(|index| index.0);
        let own = symbol.name()?;
        let name = match section.and_then(|index| sections.get(index)) {
            Some(section) if symbol.kind() == SymbolKind::Section => section.name,
            _ => own,
        };
        Ok(Symbol {
            name,
            section: section.filter(|index| *index < sections.len()),
            value: symbol.address(),
            size: symbol.size(),
            kind: symbol.kind(),
            local: symbol.is_local(),
            weak: symbol.is_weak(),
        })
    }
}
