//! Known addresses in data sections. What the verifier refuses is refused: an address that is not in its section, and an access
//! at a known one that leaves it. Computed addresses stay in the sandbox, and are not looked at.

use alloc::borrow::ToOwned;
use alloc::vec;
use alloc::vec::Vec;

use abi::manifest::Map;

use super::constants::{Constants, join};
use super::liveness::written;
use crate::cfg::{Block, Blocks};
use crate::error::{Error, ReferenceError, Result};
use crate::isa::insn::{Insn, Operand, REGISTERS, Ref};
use crate::isa::table::{Form, Shape};
use crate::object::Function;

/// Bytes from the start of a map's values.
type Place = (usize, i64);
/// What each register holds, if that is a known address.
type Registers = [Option<Place>; REGISTERS];

/// Refuses accesses of `function` that leave their data sections.
pub(crate) fn check(
    function: &Function,
    blocks: &Blocks,
    constants: &Constants,
    maps: &[Map],
) -> Result<()> {
    let checker = Checker {
        function,
        constants,
        maps,
    };
    // Most functions have none.
    if !checker.addresses()? {
        return Ok(());
    }
    let mut entries: Vec<Option<Registers>> = vec![None; blocks.list.len()];
    entries[0] = Some([None; REGISTERS]);
    let mut pending = vec![true; blocks.list.len()];
    while pending.contains(&true) {
        for (number, block) in blocks.list.iter().enumerate() {
            if !core::mem::take(&mut pending[number]) {
                continue;
            }
            let Some(entry) = entries[number] else {
                continue;
            };
            let end = checker.block(block, entry, |_, _| Ok(()))?;
            for to in block.exit.targets() {
                pending[to] |= join(&mut entries[to], &end);
            }
        }
    }
    for (block, entry) in blocks.list.iter().zip(entries) {
        if let Some(entry) = entry {
            checker.block(block, entry, |insn, places| checker.access(insn, places))?;
        }
    }
    Ok(())
}

struct Checker<'a> {
    function: &'a Function,
    constants: &'a Constants,
    maps: &'a [Map],
}

impl Checker<'_> {
    /// Whether the function takes addresses in data sections; each has to be one of a byte.
    fn addresses(&self) -> Result<bool> {
        let mut any = false;
        for insn in &self.function.insns {
            if let Some((map, offset)) = address(insn) {
                any = true;
                let size = self.size(map);
                if offset >= i64::from(size) {
                    let error = ReferenceError::Outside(self.maps[map].name.clone(), offset, size);
                    return Err(Error::at(insn.slot as usize, error));
                }
            }
        }
        Ok(any)
    }

    /// Bytes of a data section, or of an array's elements.
    fn size(&self, map: usize) -> u32 {
        let map = &self.maps[map];
        match map.data {
            Some(_) => map.value_size,
            None => map
                .value_size
                .saturating_add(7)
                .saturating_mul(map.max_entries.max(1)),
        }
    }

    /// What is known after `block`; `see` is shown each instruction with what is known before it.
    fn block(
        &self,
        block: &Block,
        mut registers: Registers,
        mut see: impl FnMut(&Insn, &Registers) -> Result<()>,
    ) -> Result<Registers> {
        for index in block.first..block.end {
            let insn = &self.function.insns[index];
            see(insn, &registers)?;
            let result = self.computed(index, insn, &registers);
            let mut changed = written(insn);
            while changed != 0 {
                registers[changed.trailing_zeros() as usize] = result;
                changed &= changed - 1;
            }
        }
        Ok(registers)
    }

    /// The address that an instruction leaves in its destination, if it is a known one.
    fn computed(&self, index: usize, insn: &Insn, registers: &Registers) -> Option<Place> {
        let place = |register: u8| registers[usize::from(register)];
        let shifted = |by: Option<i64>| {
            let (map, offset) = place(insn.dst)?;
            Some((map, offset.checked_add(by?)?))
        };
        let number = || match (insn.operand(), insn.reference) {
            (Operand::Imm(imm), None) => Some(imm),
            (Operand::Reg(register), _) => self.constants.register(index, register),
            _ => None,
        };
        match (&insn.row.shape, insn.row.mnemonic, insn.operand()) {
            (Shape::Constant, ..) => address(insn),
            (Shape::Move, _, Operand::Reg(from)) if insn.is_wide() => place(from),
            (Shape::Binary(..), "add", _) if insn.is_wide() => shifted(number()),
            (Shape::Binary(..), "sub", _) if insn.is_wide() => {
                shifted(number().and_then(i64::checked_neg))
            }
            _ => None,
        }
    }

    /// Refuses an access through a known address that is not wholly inside.
    fn access(&self, insn: &Insn, registers: &Registers) -> Result<()> {
        let base = match insn.row.form {
            Form::Load | Form::AtomicLoad => insn.src,
            Form::StoreImm | Form::StoreReg | Form::Atomic => insn.dst,
            _ => return Ok(()),
        };
        let Some((map, offset)) = registers[usize::from(base)].filter(|_| !insn.is_relocated())
        else {
            return Ok(());
        };
        let (at, bytes) = (offset.saturating_add(i64::from(insn.off)), insn.bytes());
        let size = self.size(map);
        let is_inside = at >= 0 && at.saturating_add(i64::from(bytes)) <= i64::from(size);
        match is_inside {
            true => Ok(()),
            false => {
                let name = self.maps[map].name.to_owned();
                let error = ReferenceError::Access(bytes, name, at, size);
                Err(Error::at(insn.slot as usize, error))
            }
        }
    }
}

/// The address in a data section, or in an array, that an instruction loads.
fn address(insn: &Insn) -> Option<Place> {
    match insn.reference? {
        Ref::Data(map, offset) | Ref::Value(map, offset) => Some((map, i64::from(offset))),
        _ => None,
    }
}
