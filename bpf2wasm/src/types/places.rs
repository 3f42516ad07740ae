//! Known addresses in data sections. What the verifier refuses is refused: an address that is not in its section, and an access
//! at a known one that leaves it, by an instruction or by a helper that is given it. Computed addresses stay in the sandbox, and are
//! not looked at. (Those in frames: [`super::infer`].)

use alloc::borrow::ToOwned;
use alloc::vec;
use alloc::vec::Vec;

use abi::helpers::{self, Arg};
use abi::manifest::Map;

use super::constants::{Constants, join};
use super::liveness::written;
use crate::cfg::{Block, Blocks};
use crate::error::{Error, ReferenceError, Result};
use crate::isa::insn::{Insn, Operand, REGISTERS, Ref};
use crate::isa::table::{Form, Shape};
use crate::object::Function;

/// What a register is known to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// An address, in bytes from the start of a map's values.
    Place(usize, i64),
    /// A map, by index.
    Map(usize),
}

/// What is known of each register.
type Registers = [Option<Known>; REGISTERS];

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
            checker.block(block, entry, |index, known| checker.uses(index, known))?;
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
        mut see: impl FnMut(usize, &Registers) -> Result<()>,
    ) -> Result<Registers> {
        for index in block.first..block.end {
            let insn = &self.function.insns[index];
            see(index, &registers)?;
            let result = self.computed(index, insn, &registers);
            let mut changed = written(insn);
            while changed != 0 {
                registers[changed.trailing_zeros() as usize] = result;
                changed &= changed - 1;
            }
        }
        Ok(registers)
    }

    /// What an instruction leaves in its destination, if that is an address or a map that is known.
    fn computed(&self, index: usize, insn: &Insn, registers: &Registers) -> Option<Known> {
        let known = |register: u8| registers[usize::from(register)];
        let shifted = |by: Option<i64>| match known(insn.dst)? {
            Known::Place(map, offset) => Some(Known::Place(map, offset.checked_add(by?)?)),
            Known::Map(_) => None,
        };
        let number = || match (insn.operand(), insn.reference) {
            (Operand::Imm(imm), None) => Some(imm),
            (Operand::Reg(register), _) => self.constants.register(index, register),
            _ => None,
        };
        match (&insn.row.shape, insn.row.mnemonic, insn.operand()) {
            (Shape::Constant, ..) => match insn.reference {
                Some(Ref::Map(map)) => Some(Known::Map(map)),
                _ => address(insn).map(|(map, offset)| Known::Place(map, offset)),
            },
            (Shape::Move, _, Operand::Reg(from)) if insn.is_wide() => known(from),
            (Shape::Binary(..), "add", _) if insn.is_wide() => shifted(number()),
            (Shape::Binary(..), "sub", _) if insn.is_wide() => {
                shifted(number().and_then(i64::checked_neg))
            }
            _ => None,
        }
    }

    /// Refuses what instruction `index` does at a known address, if that is not wholly inside.
    fn uses(&self, index: usize, registers: &Registers) -> Result<()> {
        let insn = &self.function.insns[index];
        let base = match insn.row.form {
            Form::Load | Form::AtomicLoad => insn.src,
            Form::StoreImm | Form::StoreReg | Form::Atomic => insn.dst,
            Form::Call => return self.call(index, registers),
            _ => return Ok(()),
        };
        match registers[usize::from(base)] {
            Some(Known::Place(map, offset)) if !insn.is_relocated() => {
                let at = offset.saturating_add(i64::from(insn.off));
                self.inside(insn, map, at, insn.bytes())
            }
            _ => Ok(()),
        }
    }

    /// The same of what a helper is given: so many bytes as another argument says, or its map.
    fn call(&self, index: usize, registers: &Registers) -> Result<()> {
        let insn = &self.function.insns[index];
        let row = match (&insn.row.shape, insn.reference) {
            (Shape::Helper, None) => u32::try_from(insn.imm).ok().and_then(helpers::by_id),
            _ => None,
        };
        let args = row.map_or(&[][..], |row| row.args);
        let given = args.iter().position(|arg| *arg == Arg::Map);
        let given = match given.and_then(|at| registers[at + 1]) {
            Some(Known::Map(map)) => Some(&self.maps[map]),
            _ => None,
        };
        for (register, arg) in (1..).zip(args) {
            let Some(Known::Place(map, offset)) = registers[register] else {
                continue;
            };
            let bytes = match arg {
                Arg::In | Arg::Out | Arg::InOut if args.get(register) == Some(&Arg::Size) => {
                    let size = self.constants.register(index, register as u8 + 1);
                    size.map(|size| size as u32)
                }
                Arg::MapKey => given.map(|map| map.key_size),
                Arg::MapValue | Arg::MapValueOut | Arg::ValueOrNull => {
                    given.map(|map| map.value_size)
                }
                _ => continue,
            };
            // Of what nobody knows the size, nothing is before or behind the section all the same.
            self.inside(insn, map, offset, bytes.unwrap_or(0))?;
        }
        Ok(())
    }

    /// Refuses `bytes` bytes at `at` that are not wholly in the section.
    fn inside(&self, insn: &Insn, map: usize, at: i64, bytes: u32) -> Result<()> {
        let size = self.size(map);
        match at >= 0 && at.saturating_add(i64::from(bytes)) <= i64::from(size) {
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
fn address(insn: &Insn) -> Option<(usize, i64)> {
    match insn.reference? {
        Ref::Data(map, offset) | Ref::Value(map, offset) => Some((map, i64::from(offset))),
        _ => None,
    }
}
