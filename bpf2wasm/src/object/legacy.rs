//! Map definitions in a section `maps` or `…/maps`, as before BTF: an array of `struct bpf_map_def`.
//!
//! The struct begins with type, key size, value size, entries and flags (`u32` each); projects
//! appended members of their own, so an element's size is the section's divided by its symbols.

use alloc::borrow::ToOwned;
use alloc::vec::Vec;

use super::elf::{Elf, Section, Symbol};
use super::maps::{Maps, unnamed};
use crate::error::{Error, ObjectError, Result};

impl Maps {
    /// Adds the maps of all such sections.
    pub(super) fn add_legacy(&mut self, elf: &Elf<'_>) {
        for (index, section) in elf.sections.iter().enumerate() {
            if section.name == "maps" || section.name.ends_with("/maps") && !section.code {
                let mut symbols: Vec<_> = elf.symbols_in(index).collect();
                symbols.sort_by_key(|s| s.value);
                for symbol in symbols {
                    let place = (index, symbol.value);
                    let defined = self.add_definition(section, symbol, place);
                    self.note(place, defined);
                }
            }
        }
    }

    fn add_definition(
        &mut self,
        contents: &Section<'_>,
        symbol: &Symbol<'_>,
        place: (usize, u64),
    ) -> Result<()> {
        let bad = || {
            let name = symbol.name.to_owned();
            Error::new(ObjectError::MapDefinition(name, "cut short"))
        };
        let start = usize::try_from(symbol.value).map_err(|_| bad())?;
        let words = contents
            .data
            .get(start..)
            .and_then(|rest| rest.first_chunk::<20>())
            .ok_or_else(bad)?;
        let word = |i: usize| {
            u32::from_le_bytes([
                words[4 * i],
                words[4 * i + 1],
                words[4 * i + 2],
                words[4 * i + 3],
            ])
        };
        let mut map = unnamed(symbol.name);
        map.map_type = word(0);
        map.key_size = word(1);
        map.value_size = word(2);
        map.max_entries = word(3);
        map.flags = word(4);
        self.add(map, place)?;
        Ok(())
    }
}
