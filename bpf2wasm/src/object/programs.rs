//! Functions of an object, and which of them are programs.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use abi::sections::{self, Attach, ProgType};
use object::SymbolKind;

use super::elf::{Elf, Section};
use super::function::{Function, Program};
use crate::Options;
use crate::error::{Error, ObjectError, Result};
use crate::isa::decode::{SLOT, decode};

/// Reads all code; at least one function is a program.
pub(super) fn read(elf: &Elf<'_>, options: &Options) -> Result<Vec<Function>> {
    let mut functions = Vec::new();
    for (index, section) in elf.sections.iter().enumerate() {
        if section.code && !section.data.is_empty() {
            read_section(elf, index, section, options, &mut functions)?;
        }
    }
    if functions.iter().all(|f: &Function| f.program.is_none()) {
        return Err(Error::new(ObjectError::NoPrograms));
    }
    Ok(functions)
}

fn read_section(
    elf: &Elf<'_>,
    index: usize,
    section: &Section<'_>,
    options: &Options,
    functions: &mut Vec<Function>,
) -> Result<()> {
    let cut = || Error::new(ObjectError::CodeSize(section.name.to_owned()));
    for range in ranges(elf, index, section) {
        let code = section.data.get(range.start..range.end);
        let code = code.filter(|c| {
            !c.is_empty() && c.len().is_multiple_of(SLOT) && range.start.is_multiple_of(SLOT)
        });
        let code = code.ok_or_else(|| cut().in_program(&range.name))?;
        let subprogram = range.local || section.name == ".text";
        let program = if subprogram {
            None
        } else {
            Some(Program::of(section.name, options)?)
        };
        let (insns, broken) = match decode(code) {
            Ok(insns) => (insns, None),
            Err(error) => (Vec::new(), Some(error.in_program(&range.name))),
        };
        functions.push(Function {
            insns,
            broken,
            name: range.name,
            section: section.name.to_owned(),
            section_index: index,
            offset: range.start,
            slots: (code.len() / SLOT) as u32,
            lines: Vec::new(),
            program,
        });
    }
    Ok(())
}

struct Range {
    name: String,
    start: usize,
    end: usize,
    local: bool,
}

/// Where the functions of a code section lie. One without function symbols is a single function.
fn ranges(elf: &Elf<'_>, index: usize, section: &Section<'_>) -> Vec<Range> {
    let mut ranges: Vec<Range> = elf
        .symbols_in(index)
        .filter(|s| s.kind == SymbolKind::Text)
        .map(|s| Range {
            name: s.name.to_owned(),
            start: s.value as usize,
            end: (s.value.saturating_add(s.size)) as usize,
            local: s.local,
        })
        .collect();
    if ranges.is_empty() {
        let label = elf.symbols_in(index).find(|s| s.value == 0 && !s.local);
        let name = label.map_or(section.name, |s| s.name).to_owned();
        ranges.push(Range {
            name,
            start: 0,
            end: section.data.len(),
            local: false,
        });
    }
    ranges.sort_by_key(|r| r.start);
    ranges.dedup_by_key(|r| r.start);
    // Hand-written assembly often leaves sizes out.
    for i in 0..ranges.len() {
        if ranges[i].end == ranges[i].start {
            ranges[i].end = ranges
                .get(i + 1)
                .map_or(section.data.len(), |next| next.start);
        }
    }
    ranges
}

impl Program {
    /// What section `section` says.
    pub(super) fn of(section: &str, options: &Options) -> Result<Self> {
        let (name, autoload) = match section.strip_prefix('?') {
            Some(name) => (name, false),
            None => (section, true),
        };
        let renamed = options.section_types.iter().find(|(from, _)| from == name);
        let name = renamed.map_or(name, |(_, to)| to);
        let (row, target) =
            sections::find(name).ok_or_else(|| ObjectError::Section(section.to_owned()))?;
        if row.prog_type == ProgType::StructOps {
            return Err(Error::new(ObjectError::StructOps));
        }
        let spelled = match (target, row.attach) {
            (Some(target), Attach::Tracepoint) => target.replace('/', ":"),
            (target, _) => target.unwrap_or("").to_owned(),
        };
        Ok(Program {
            prog_type: row.prog_type,
            attach: row.attach,
            target: target.map(ToOwned::to_owned),
            export: alloc::format!("{}:{spelled}:{}", row.provider, row.point),
            autoload,
            sleepable: row.sleepable,
        })
    }
}
