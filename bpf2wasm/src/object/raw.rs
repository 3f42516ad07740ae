//! Bare instructions, already relocated, as a loader hands them to bpf(2): a program, then its subprograms.
//!
//! Maps are referred to by their index in the given list where bpf(2) has descriptors.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use abi::manifest::Map;

use super::Object;
use super::function::{Function, Program};
use crate::Options;
use crate::error::{Error, FlowError, ObjectError, ReferenceError, Result};
use crate::isa::decode::{SLOT, decode};
use crate::isa::insn::{Insn, Ref};
use crate::isa::table::Shape;

/// `BPF_PSEUDO_*`: what the source register of `ld_imm64` says.
mod pseudo {
    pub(super) const MAP_FD: u8 = 1;
    pub(super) const MAP_VALUE: u8 = 2;
    pub(super) const FUNC: u8 = 4;
    pub(super) const MAP_INDEX: u8 = 5;
    pub(super) const MAP_INDEX_VALUE: u8 = 6;
}

/// A program without an object around it.
#[derive(Clone, Debug)]
pub struct Raw<'a> {
    /// The instructions.
    pub code: &'a [u8],
    /// The section it would stand in, which says its type.
    pub section: &'a str,
    /// The maps it refers to, by index.
    pub maps: &'a [Map],
    /// The licence it declares.
    pub license: &'a str,
}

impl Object<'_> {
    /// An object of one program.
    pub(crate) fn from_raw(raw: &Raw<'_>, name: &str, options: &Options) -> Result<Self> {
        if !raw.code.len().is_multiple_of(SLOT) {
            return Err(Error::new(ObjectError::CodeSize(raw.section.to_owned())));
        }
        let program = Program::of(raw.section, name, options)?;
        let insns = decode(raw.code).map_err(|e| e.in_program(name))?;
        let starts = starts(&insns).map_err(|e| e.in_program(name))?;
        let mut functions = Vec::new();
        let mut program = Some(program);
        for (number, &start) in starts.iter().enumerate() {
            let end = starts
                .get(number + 1)
                .copied()
                .unwrap_or((raw.code.len() / SLOT) as u32);
            let label = if number == 0 {
                name.to_owned()
            } else {
                format!("{name}.{number}")
            };
            let of_function = insns.iter().filter(|i| (start..end).contains(&i.slot));
            let here = |insn: &Insn| {
                let (slot, reference) = (insn.slot - start, reference(insn, &starts, raw.maps));
                Ok(Insn {
                    slot,
                    reference: reference.map_err(|e| Error::at(slot as usize, e))?,
                    ..*insn
                })
            };
            let own: Result<Vec<Insn>> = of_function.map(here).collect();
            functions.push(Function {
                section: raw.section.to_owned(),
                section_index: 0,
                offset: start as usize * SLOT,
                insns: own.map_err(|e| e.in_program(&label))?,
                slots: end - start,
                lines: Vec::new(),
                broken: None,
                refused: None,
                program: program.take(),
                name: label,
            });
        }
        Ok(Object {
            license: String::from(raw.license),
            btf: &[],
            functions,
            maps: raw.maps.to_vec(),
            left_out: Vec::new(),
            data: Vec::new(),
            externs: Vec::new(),
            relocations: Vec::new(),
            sent: Vec::new(),
            file: &[],
            types: None,
        })
    }
}

/// Where functions begin: at 0 and wherever a call goes or an address is taken.
fn starts(insns: &[Insn]) -> Result<Vec<u32>> {
    let mut starts = BTreeSet::from([0]);
    for insn in insns {
        if let Some(target) = function_target(insn) {
            let begins = u32::try_from(target).ok();
            let begins = begins.filter(|slot| insns.binary_search_by_key(slot, |i| i.slot).is_ok());
            let bad = || Error::at(insn.slot as usize, FlowError::Target(target));
            starts.insert(begins.ok_or_else(bad)?);
        }
    }
    Ok(starts.into_iter().collect())
}

/// The slot of the function that an instruction refers to.
fn function_target(insn: &Insn) -> Option<i64> {
    let distance = match insn.row.shape {
        Shape::Local => insn.imm,
        Shape::Constant if insn.src == pseudo::FUNC => i64::from(insn.imm as i32),
        _ => return None,
    };
    Some(i64::from(insn.slot) + 1 + distance)
}

/// What an instruction refers to, where functions begin at `starts`.
fn reference(insn: &Insn, starts: &[u32], maps: &[Map]) -> Result<Option<Ref>, ReferenceError> {
    let unknown = ReferenceError::RawMap(insn.src);
    let map = Some(insn.imm as u32 as usize).filter(|map| *map < maps.len());
    let reference = match (function_target(insn), &insn.row.shape, insn.src) {
        (Some(target), ..) => {
            let function = starts.iter().position(|s| i64::from(*s) == target);
            Ref::Function(function.ok_or(unknown)?)
        }
        (None, Shape::Constant, pseudo::MAP_FD | pseudo::MAP_INDEX) => {
            Ref::Map(map.ok_or(unknown)?)
        }
        (None, Shape::Constant, pseudo::MAP_VALUE | pseudo::MAP_INDEX_VALUE) => {
            let (map, offset) = (map.ok_or(unknown)?, (insn.imm >> 32) as u32);
            match maps[map].data {
                Some(_) => Ref::Data(map, offset),
                None => Ref::Value(map, offset),
            }
        }
        (None, Shape::Constant, 1..) => return Err(unknown),
        _ => return Ok(None),
    };
    Ok(Some(reference))
}
