//! Small BPF objects, made to order.

use std::collections::BTreeMap;

use bpf2wasm::assemble;
use object::write::{Object, Relocation, SectionId, Symbol, SymbolSection};
use object::{
    Architecture, BinaryFormat, Endianness, RelocationFlags, SectionKind, SymbolFlags, SymbolKind,
    SymbolScope,
};

/// An object under construction.
pub(crate) struct Builder(Object<'static>, BTreeMap<String, SectionId>);

impl Builder {
    /// An object with nothing but a licence.
    pub(crate) fn new() -> Self {
        Builder::of(Architecture::Bpf, Endianness::Little)
    }

    /// One for another machine.
    pub(crate) fn of(architecture: Architecture, endianness: Endianness) -> Self {
        let mut builder = Builder(
            Object::new(BinaryFormat::Elf, architecture, endianness),
            BTreeMap::new(),
        );
        builder.section("license", SectionKind::Data, b"GPL\0");
        builder
    }

    fn section(&mut self, name: &str, kind: SectionKind, data: &[u8]) -> SectionId {
        let add = || self.0.add_section(Vec::new(), name.into(), kind);
        let id = *self.1.entry(name.to_owned()).or_insert_with(add);
        self.0.append_section_data(id, data, 8);
        id
    }

    /// Adds a section of any contents.
    pub(crate) fn data(mut self, name: &str, data: &[u8]) -> Self {
        self.section(name, SectionKind::Data, data);
        self
    }

    /// Adds a global symbol over all of a data section's contents so far.
    pub(crate) fn variable(mut self, section: &str, name: &str, offset: u64, size: u64) -> Self {
        let id = self.1[section];
        self.symbol(
            name,
            SymbolSection::Section(id),
            SymbolKind::Data,
            offset,
            size,
        );
        self
    }

    fn symbol(
        &mut self,
        name: &str,
        section: SymbolSection,
        kind: SymbolKind,
        value: u64,
        size: u64,
    ) -> object::write::SymbolId {
        self.0.add_symbol(Symbol {
            name: name.into(),
            value,
            size,
            kind,
            scope: SymbolScope::Dynamic,
            weak: false,
            section,
            flags: SymbolFlags::None,
        })
    }

    /// Adds a function of raw code.
    pub(crate) fn code(mut self, section: &str, name: &str, code: &[u8]) -> Self {
        let id = self.section(section, SectionKind::Text, code);
        let start = self.0.section(id).data().len() - code.len();
        self.symbol(
            name,
            SymbolSection::Section(id),
            SymbolKind::Text,
            start as u64,
            code.len() as u64,
        );
        self
    }

    /// Adds a function.
    pub(crate) fn function(self, section: &str, name: &str, assembly: &str) -> Self {
        let code = assemble(assembly).expect("correct assembly");
        self.code(section, name, &code)
    }

    /// Relocates the slot `slot` of `section` against `symbol`, which is undefined if there is none.
    pub(crate) fn relocate(mut self, section: &str, slot: u64, symbol: &str, number: u32) -> Self {
        let id = self.1[section];
        let symbol = self.0.symbol_id(symbol.as_bytes()).unwrap_or_else(|| {
            self.symbol(symbol, SymbolSection::Undefined, SymbolKind::Unknown, 0, 0)
        });
        let flags = RelocationFlags::Elf {
            r_type: object::elf::RelocationType(number),
        };
        let relocation = Relocation {
            offset: slot * 8,
            symbol,
            addend: 0,
            flags,
        };
        self.0.add_relocation(id, relocation).expect("a relocation");
        self
    }

    /// The object's bytes.
    pub(crate) fn build(self) -> Vec<u8> {
        self.0.write().expect("an object")
    }
}
