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

/// Reads all code.
pub(super) fn read(elf: &Elf<'_>, options: &Options) -> Result<Vec<Function>> {
    let mut functions = Vec::new();
    for (index, section) in elf.sections.iter().enumerate() {
        if section.code && !section.data.is_empty() {
            read_section(elf, index, section, options, &mut functions);
        }
    }
    for (wanted, ty) in &options.section_types {
        if sections::find(ty).is_none() {
            let error = ObjectError::NoSuchType(wanted.clone(), ty.clone());
            return Err(Error::new(error));
        }
        let is_it = |f: &Function| f.name == *wanted || bare(&f.section) == wanted;
        if !functions.iter().any(is_it) {
            return Err(Error::new(ObjectError::NoSuchSection(wanted.clone())));
        }
    }
    select(&mut functions, options)?;
    Ok(functions)
}

/// Leaves out the programs that are not wanted.
fn select(functions: &mut [Function], options: &Options) -> Result<()> {
    for wanted in options.programs.iter().chain(&options.skip) {
        let programs = || functions.iter().filter(|f| f.is_program());
        if !programs().any(|f| f.name == *wanted) {
            let names = programs().map(|f| f.name.clone()).collect();
            let error = ObjectError::NoSuchProgram(wanted.clone(), names);
            return Err(Error::new(error));
        }
    }
    for function in functions.iter_mut().filter(|f| f.is_program()) {
        let is_it = |name: &String| *name == function.name;
        let all = options.programs.is_empty();
        let wanted = all || options.programs.iter().any(is_it);
        if !wanted || options.skip.iter().any(is_it) {
            function.refuse(Error::new(ObjectError::LeftOut));
        }
    }
    Ok(())
}

/// A section's name without the mark of what is not loaded by default.
fn bare(section: &str) -> &str {
    section.strip_prefix('?').unwrap_or(section)
}

fn read_section(
    elf: &Elf<'_>,
    index: usize,
    section: &Section<'_>,
    options: &Options,
    functions: &mut Vec<Function>,
) {
    let cut = || Error::new(ObjectError::CodeSize(section.name.to_owned()));
    for range in ranges(elf, index, section) {
        let code = section.data.get(range.start..range.end);
        let code = code.filter(|c| {
            !c.is_empty() && c.len().is_multiple_of(SLOT) && range.start.is_multiple_of(SLOT)
        });
        let decoded = code.ok_or_else(cut).and_then(decode);
        let (insns, broken) = match decoded {
            Ok(insns) => (insns, None),
            Err(error) => (Vec::new(), Some(error.in_program(&range.name))),
        };
        let subprogram = range.local || section.name == ".text";
        let program = (!subprogram).then(|| Program::of(section.name, &range.name, options));
        let (program, refused) = match program.transpose() {
            Ok(program) => (program, None),
            Err(error) => (None, Some(error.in_program(&range.name))),
        };
        functions.push(Function {
            insns,
            broken,
            refused,
            name: range.name,
            section: section.name.to_owned(),
            section_index: index,
            offset: range.start,
            slots: (code.unwrap_or_default().len() / SLOT) as u32,
            lines: Vec::new(),
            program,
        });
    }
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
    /// What section `section` says of `function`.
    pub(super) fn of(section: &str, function: &str, options: &Options) -> Result<Self> {
        let (name, autoload) = (bare(section), !section.starts_with('?'));
        let mut renamed = options.section_types.iter();
        let renamed = renamed.find(|(from, _)| from == name || from == function);
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
