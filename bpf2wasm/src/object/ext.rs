//! `.BTF.ext`: CO-RE relocation records and source lines, by section.
//!
//! The layout is `struct btf_ext_header` (libbpf's `btf_internal.h`): after the header each table is a record
//! size, then per section its name, a count and that many records.

use alloc::vec::Vec;

use super::btf::Btf;
use super::function::{Function, Line};
use crate::error::{Error, ObjectError, Result};
use crate::isa::decode::SLOT;

const MAGIC: u16 = 0xeb9f;

/// The tables used here.
#[derive(Default)]
pub(super) struct Ext {
    lines: Table,
    pub(super) relocations: Table,
}

/// Records by section (the offset of its name in BTF's strings), each section's by offset.
#[derive(Default)]
pub(super) struct Table(Vec<(u32, Vec<Record>)>);

/// A record: the instruction's offset in bytes, and three more words.
pub(super) struct Record {
    offset: u32,
    pub(super) words: [u32; 3],
}

impl Record {
    /// The slot it is about, which lies in `function`.
    pub(super) fn slot(&self, function: &Function) -> u32 {
        ((self.offset as usize - function.offset) / SLOT) as u32
    }
}

impl Table {
    /// The records that belong to `function`.
    pub(super) fn of(&self, btf: &Btf, function: &Function) -> &[Record] {
        let section = self
            .0
            .iter()
            .find(|(name, _)| btf.string(*name) == function.section);
        let records = section.map_or(&[][..], |(_, records)| records);
        let end = function.offset + function.slots as usize * SLOT;
        let below = |limit: usize| records.partition_point(|r| (r.offset as usize) < limit);
        &records[below(function.offset)..below(end)]
    }
}

impl Ext {
    /// Parses the section.
    pub(super) fn parse(data: &[u8]) -> Result<Self> {
        let ext = parse(data);
        ext.ok_or_else(|| Error::new(ObjectError::BtfExt))
    }

    /// Gives every function its source lines.
    pub(super) fn add_lines(&self, btf: &Btf, functions: &mut [Function]) {
        for function in functions {
            let line = |record: &Record| {
                let [file, text, position] = record.words;
                Line {
                    slot: record.slot(function),
                    file,
                    text,
                    line: position >> 10,
                    column: position & 0x3ff,
                }
            };
            function.lines = self.lines.of(btf, function).iter().map(line).collect();
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
            return Some(Table::default());
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

fn records(table: &[u8]) -> Option<Table> {
    let mut all = Table::default();
    if table.is_empty() {
        return Some(all);
    }
    let size = word(table, 0)? as usize;
    let mut at = 4;
    while at < table.len() {
        let (section, count) = (word(table, at)?, word(table, at + 4)? as usize);
        at += 8;
        let len = size.checked_mul(count).filter(|_| size >= 16)?;
        let mut records = Vec::with_capacity(count.min(table.len()));
        for record in table.get(at..at.checked_add(len)?)?.chunks_exact(size) {
            let words = [word(record, 4)?, word(record, 8)?, word(record, 12)?];
            records.push(Record {
                offset: word(record, 0)?,
                words,
            });
        }
        records.sort_by_key(|r| r.offset);
        all.0.push((section, records));
        at += len;
    }
    Some(all)
}
