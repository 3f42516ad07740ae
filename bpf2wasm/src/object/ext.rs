//! `.BTF.ext`: CO-RE relocation records and source lines, by section.
//!
//! The layout is `struct btf_ext_header` (libbpf's `btf_internal.h`): after the header each table is a record
//! size, then per section its name, a count and that many records.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use super::btf::Btf;
use super::programs::Function;
use crate::error::{Error, ObjectError, Result};
use crate::isa::decode::SLOT;

const MAGIC: u16 = 0xeb9f;

/// The tables used here.
#[derive(Default)]
pub(super) struct Ext {
    lines: Vec<Record>,
    pub(super) relocations: Vec<Record>,
}

/// A record: its section's name (in BTF's strings), the instruction's offset in bytes, three more words.
pub(super) struct Record {
    pub(super) section: u32,
    pub(super) offset: u32,
    pub(super) words: [u32; 3],
}

/// The source line that instructions from `slot` on come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) slot: u32,
    pub(crate) file: String,
    pub(crate) text: String,
    pub(crate) line: u32,
    pub(crate) column: u32,
}

impl Ext {
    /// Parses the section.
    pub(super) fn parse(data: &[u8]) -> Result<Self> {
        let ext = parse(data);
        ext.ok_or_else(|| Error::new(ObjectError::BtfExt))
    }

    /// The records of `table` that belong to `function`, with their slots.
    pub(super) fn of<'a>(
        table: &'a [Record],
        btf: &'a Btf,
        function: &'a Function,
    ) -> impl Iterator<Item = (u32, &'a Record)> {
        table
            .iter()
            .filter(|record| btf.string(record.section) == function.section)
            .filter_map(|record| {
                let slot = (record.offset as usize).checked_sub(function.offset)? / SLOT;
                (slot < function.slots as usize).then_some((slot as u32, record))
            })
    }

    /// Gives every function its source lines.
    pub(super) fn add_lines(&self, btf: &Btf, functions: &mut [Function]) {
        for function in functions {
            let lines = Ext::of(&self.lines, btf, function).map(|(slot, record)| {
                let [file, text, position] = record.words;
                Line {
                    slot,
                    file: btf.string(file).to_owned(),
                    text: btf.string(text).trim().to_owned(),
                    line: position >> 10,
                    column: position & 0x3ff,
                }
            });
            let mut lines: Vec<_> = lines.collect();
            lines.sort_by_key(|l| l.slot);
            function.lines = lines;
        }
    }
}

fn word(data: &[u8], at: usize) -> Option<u32> {
    let bytes = data.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

fn parse(data: &[u8]) -> Option<Ext> {
    if data.get(..2)? != MAGIC.to_le_bytes() {
        return None;
    }
    let header = word(data, 4)? as usize;
    let table = |at: usize| {
        // Headers before CO-RE end earlier; such objects have no relocations.
        if at + 8 > header {
            return Some(Vec::new());
        }
        let start = header.checked_add(word(data, at)? as usize)?;
        let len = word(data, at + 4)? as usize;
        records(data.get(start..start.checked_add(len)?)?)
    };
    Some(Ext {
        lines: table(16)?,
        relocations: table(24)?,
    })
}

fn records(table: &[u8]) -> Option<Vec<Record>> {
    let mut all = Vec::new();
    if table.is_empty() {
        return Some(all);
    }
    let size = word(table, 0)? as usize;
    let mut at = 4;
    while at < table.len() {
        let (section, count) = (word(table, at)?, word(table, at + 4)? as usize);
        at += 8;
        let len = size.checked_mul(count).filter(|_| size >= 16)?;
        for record in table.get(at..at.checked_add(len)?)?.chunks_exact(size) {
            let words = [word(record, 4)?, word(record, 8)?, word(record, 12)?];
            all.push(Record {
                section,
                offset: word(record, 0)?,
                words,
            });
        }
        at += len;
    }
    Some(all)
}
