//! Data sections: each is an array map of one element, as libbpf makes them.
//!
//! `.kconfig` has no bytes in the object; it is laid out here from the externs that BTF puts into it.

use alloc::borrow::ToOwned;
use alloc::vec::Vec;

use abi::manifest::{DataKind, DataSection, Symbol};
use abi::map_types::MapType;

use super::btf::{Btf, Kind};
use super::elf::{Elf, Section};
use super::externs::Externs;
use super::maps::{Maps, unnamed};
use crate::error::Result;

/// The kind of the data section called `name`.
fn kind(section: &Section<'_>) -> Option<DataKind> {
    let is = |base: &str| {
        section
            .name
            .strip_prefix(base)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    match () {
        () if section.size == 0 => None,
        () if is(".rodata") => Some(DataKind::Rodata),
        () if is(".data") => Some(DataKind::Data),
        () if is(".bss") => Some(DataKind::Bss),
        () => None,
    }
}

/// Adds every data section to `maps`; returns their initial bytes, one after the other.
pub(super) fn add(
    elf: &Elf<'_>,
    btf: Option<&Btf>,
    externs: &mut Externs,
    maps: &mut Maps,
) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for (index, section) in elf.sections.iter().enumerate() {
        let Some(kind) = kind(section) else { continue };
        let init = (!section.data.is_empty()).then_some(bytes.len() as u32);
        bytes.extend_from_slice(section.data);
        let datasec = btf.and_then(|btf| btf.find(section.name, Kind::Datasec));
        let var = |name: &str, offset: u64| {
            let btf = btf?;
            let vars = datasec?
                .vars()
                .filter_map(|v| Some((v.offset, btf.get(v.type_id)?)));
            let mut named: Vec<_> = vars.filter(|(_, var)| var.name == name).collect();
            if named.len() > 1 {
                // Statics of several files; offsets are there since these were linked.
                named.retain(|(at, _)| u64::from(*at) == offset);
            }
            named.first().and_then(|(_, var)| var.target())
        };
        let mut symbols: Vec<Symbol> = elf
            .symbols_in(index)
            .map(|s| Symbol {
                name: s.name.to_owned(),
                offset: s.value as u32,
                size: s.size as u32,
                type_id: var(s.name, s.value).unwrap_or(0),
            })
            .collect();
        symbols.sort_by_key(|s| s.offset);
        let data = DataSection {
            kind,
            init,
            symbols,
        };
        let value_type = datasec.map_or(0, |t| t.id);
        maps.add_section(
            map(section.name, section.size as u32, value_type, data),
            index,
        )?;
    }
    if let Some((data, size)) = externs.kconfig() {
        externs.kconfig_map = Some(maps.list.len());
        let place = elf.sections.len();
        maps.add_section(map(".kconfig", size, 0, data), place)?;
    }
    Ok(bytes)
}

fn map(name: &str, size: u32, value_type: u32, data: DataSection) -> abi::manifest::Map {
    let mut map = unnamed(name);
    map.map_type = MapType::Array as u32;
    map.key_size = 4;
    map.value_size = size;
    map.max_entries = 1;
    map.value_type = value_type;
    map.data = Some(data);
    map
}
