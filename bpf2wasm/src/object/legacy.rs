//! Map definitions in a section `maps` or `…/maps`, as before BTF: an array of `struct bpf_map_def`.
//!
//! The struct begins with type, key size, value size, entries and flags (`u32` each); projects
//! appended members of their own, so an element's size is the section's divided by its symbols.

use alloc::borrow::ToOwned;
use alloc::vec::Vec;

use super::elf::{Elf, Section};
use super::maps::{Maps, unnamed};
use crate::error::{Error, ObjectError, Result};

impl Maps {
    /// Adds the maps of all such sections.
    pub(super) fn add_legacy(&mut self, elf: &Elf<'_>) -> Result<()> {
        for (index, section) in elf.sections.iter().enumerate() {
            if section.name == "maps" || section.name.ends_with("/maps") && !section.code {
                self.add_definitions(elf, index, section)?;
            }
        }
        Ok(())
    }

    fn add_definitions(
        &mut self,
        elf: &Elf<'_>,
        section: usize,
        contents: &Section<'_>,
    ) -> Result<()> {
        let mut symbols: Vec<_> = elf.symbols_in(section).collect();
        symbols.sort_by_key(|s| s.value);
        for symbol in symbols {
            let bad = || {
                Error::new(ObjectError::MapDefinition(
                    symbol.name.to_owned(),
                    "cut short",
                ))
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
            self.add(map, (section, symbol.value))?;
        }
        Ok(())
    }
}
