//! Relocations: what each instruction refers to.
//!
//! A relocation names a symbol, often only the section's, and the instruction holds the addend: bytes
//! for `ld_imm64`, `(distance in slots) - 1` for calls. Both kinds end as a place in a section.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;

use super::elf::{Elf, Relocation};
use super::externs::{Externs, Place as ExternPlace};
use super::function::Function;
use super::maps::{Maps, Place};
use crate::error::{Error, ObjectError, ReferenceError, Result};
use crate::isa::decode::SLOT;
use crate::isa::insn::{Insn, Ref};
use crate::isa::table::Shape;

/// `R_BPF_64_64`: an `ld_imm64`.
const R_BPF_64_64: u32 = 1;
/// `R_BPF_64_32`: a call.
const R_BPF_64_32: u32 = 10;

/// By (section, offset), the function that begins there.
type Starts = BTreeMap<(usize, usize), usize>;

/// Resolves all relocations, and calls that need none.
pub(super) fn resolve(elf: &Elf<'_>, maps: &Maps, externs: &Externs, functions: &mut [Function]) {
    let places = functions.iter().enumerate();
    let starts = places
        .map(|(i, f)| ((f.section_index, f.offset), i))
        .collect();
    let resolver = Resolver {
        elf,
        maps,
        externs,
        starts,
    };
    for function in functions {
        if let Err(error) = resolver.function(function) {
            let error = error.in_program(&function.name);
            function.broken.get_or_insert(error);
        }
    }
}

struct Resolver<'a> {
    elf: &'a Elf<'a>,
    maps: &'a Maps,
    externs: &'a Externs,
    starts: Starts,
}

impl Resolver<'_> {
    fn function(&self, function: &mut Function) -> Result<()> {
        let section = &self.elf.sections[function.section_index];
        let end = function.offset + function.slots as usize * SLOT;
        let first = section
            .relocations
            .partition_point(|r| r.offset < function.offset as u64);
        let mut relocations = section.relocations[first..]
            .iter()
            .take_while(|r| r.offset < end as u64)
            .peekable();
        let start = (function.section_index, function.offset / SLOT);
        for insn in &mut function.insns {
            let place = (function.offset + insn.slot as usize * SLOT) as u64;
            let at = |error: Error| Error {
                insn: Some(insn.slot as usize),
                ..error
            };
            let mut found = None;
            while let Some(relocation) =
                relocations.next_if(|r| r.offset < place + u64::from(insn.slots()) * 8)
            {
                found = Some(self.relocated(insn, relocation).map_err(at)?);
            }
            insn.reference = match found {
                None => self.unrelocated(start, insn).map_err(at)?,
                found => found,
            };
        }
        Ok(())
    }

    /// A call inside a section needs no relocation; `ld_imm64` with a pseudo source does.
    fn unrelocated(&self, (section, start): (usize, usize), insn: &Insn) -> Result<Option<Ref>> {
        match insn.row.shape {
            Shape::Local => {
                let here = start as i64 + i64::from(insn.slot);
                self.callee(section, here + 1 + insn.imm).map(Some)
            }
            Shape::Constant if insn.src != 0 => Err(Error::new(ReferenceError::RawMap(insn.src))),
            _ => Ok(None),
        }
    }

    fn relocated(&self, insn: &Insn, relocation: &Relocation) -> Result<Ref> {
        let broken = || {
            Error::new(ObjectError::Malformed(
                "relocation against no symbol".to_owned(),
            ))
        };
        let symbol = self.elf.symbols.get(relocation.symbol).ok_or_else(broken)?;
        let unknown = || Error::new(ReferenceError::Symbol(symbol.name.to_owned()));
        match (relocation.number, &insn.row.shape) {
            (R_BPF_64_64, Shape::Constant) => {}
            (R_BPF_64_32, Shape::Local | Shape::Kfunc | Shape::Helper) => {}
            (R_BPF_64_64 | R_BPF_64_32, _) => {
                return Err(Error::new(ReferenceError::RelocationPlace(
                    symbol.name.to_owned(),
                )));
            }
            (number, _) => return Err(Error::new(ReferenceError::RelocationType(number))),
        }
        let Some(section) = symbol.section else {
            return match self.externs.find(symbol.name) {
                Some(ExternPlace::Kconfig { map, offset }) => Ok(Ref::Data(map, offset)),
                Some(ExternPlace::Kernel(index)) => Ok(Ref::Extern(index)),
                None => Err(unknown()),
            };
        };
        if !matches!(insn.row.shape, Shape::Constant) {
            return self.callee(section, (symbol.value / SLOT as u64) as i64 + insn.imm + 1);
        }
        let offset = symbol.value.wrapping_add_signed(insn.imm);
        match self.maps.at(section, offset) {
            Some(Place::Map(map)) => Ok(Ref::Map(map)),
            Some(Place::Data(map, offset)) => Ok(Ref::Data(map, offset)),
            None => {
                if let Some(map) = self.maps.data(section) {
                    let (name, size) = (map.name.clone(), map.value_size);
                    let outside = ReferenceError::Outside(name, offset as i64, size);
                    return Err(Error::new(outside));
                }
                if let Some(why) = self.maps.broken(section, offset) {
                    return Err(why.clone());
                }
                let start = self.starts.get(&(section, offset as usize));
                start.map(|f| Ref::Function(*f)).ok_or_else(unknown)
            }
        }
    }

    fn callee(&self, section: usize, slot: i64) -> Result<Ref> {
        let offset = usize::try_from(slot).ok().and_then(|s| s.checked_mul(SLOT));
        let found = offset.and_then(|offset| self.starts.get(&(section, offset)));
        found
            .map(|f| Ref::Function(*f))
            .ok_or_else(|| Error::new(ReferenceError::Callee(slot)))
    }
}
