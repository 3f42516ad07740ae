//! Forward dataflow: which registers hold a known number where they are read. Who reads one has the number in its place, so
//! that nobody need put it into a register: eBPF has no other way to pass, compare or store most numbers.
//!
//! Only registers are followed, for memory has other writers; but a key that the same block has just put into the frame is known to
//! the look-up that follows.

use alloc::vec;
use alloc::vec::Vec;

use super::infer::Facts;
use super::liveness::{Regs, read, written};
use super::uses::Base;
use crate::cfg::{Block, Blocks};
use crate::isa::insn::{FP, Insn, Operand};
use crate::isa::table::Shape;
use crate::object::Function;

/// Registers but the frame pointer.
const COUNT: usize = FP as usize;

/// A register, or the key of a look-up.
type Place = u8;
const KEY: Place = FP;

/// The known numbers that a function's instructions read.
pub(crate) struct Constants {
    /// By instruction, which of the registers it reads are known.
    registers: Vec<Regs>,
    /// Instruction, place, number; sorted.
    numbers: Vec<(usize, Place, i64)>,
}

impl Constants {
    /// The registers that instruction `index` reads and that are known before it.
    pub(crate) fn registers(&self, index: usize) -> Regs {
        self.registers[index]
    }

    /// The number that instruction `index` reads from `register`, if it is known.
    pub(crate) fn register(&self, index: usize, register: u8) -> Option<i64> {
        let known = self.registers[index] & 1 << register != 0;
        known.then(|| self.number(index, register))?
    }

    /// The key of the look-up that instruction `index` is, if it is known.
    pub(crate) fn key(&self, index: usize) -> Option<u32> {
        Some(self.number(index, KEY)? as u32)
    }

    fn number(&self, index: usize, place: Place) -> Option<i64> {
        let numbers = &self.numbers;
        let at =
            numbers.binary_search_by_key(&(index, place), |(index, place, _)| (*index, *place));
        Some(numbers[at.ok()?].2)
    }
}

/// Finds the known numbers; `params` are the parameter counts of all functions that this one calls.
pub(crate) fn constants(
    function: &Function,
    blocks: &Blocks,
    facts: &Facts,
    params: &[u32],
) -> Constants {
    let mut finder = Finder {
        function,
        facts,
        params,
        found: Constants {
            registers: vec![0; function.insns.len()],
            numbers: Vec::new(),
        },
    };
    let mut entries: Vec<Option<Registers>> = vec![None; blocks.list.len()];
    entries[0] = Some([None; COUNT]);
    let mut pending = vec![true; blocks.list.len()];
    while pending.contains(&true) {
        for (number, block) in blocks.list.iter().enumerate() {
            let Some(entry) = entries[number].filter(|_| pending[number]) else {
                pending[number] = false;
                continue;
            };
            pending[number] = false;
            let end = finder.block(block, entry, false);
            for to in block.exit.targets() {
                pending[to] |= join(&mut entries[to], &end);
            }
        }
    }
    for (block, entry) in blocks.list.iter().zip(entries) {
        entry.map(|entry| finder.block(block, entry, true));
    }
    finder.found.numbers.sort_unstable();
    finder.found
}

/// What each register holds, if that is known.
type Registers = [Option<i64>; COUNT];

/// Joins `end` into what is known of registers at a block's start, if anything is; whether that changed.
pub(super) fn join<T: Copy + PartialEq, const N: usize>(
    known: &mut Option<[Option<T>; N]>,
    end: &[Option<T>; N],
) -> bool {
    let Some(known) = known else {
        *known = Some(*end);
        return true;
    };
    let before = *known;
    for (known, other) in known.iter_mut().zip(end) {
        if known != other {
            *known = None;
        }
    }
    before != *known
}

struct Finder<'a> {
    function: &'a Function,
    facts: &'a Facts,
    params: &'a [u32],
    found: Constants,
}

impl Finder<'_> {
    /// What is known after `block`; `keep`: notes what its instructions read.
    fn block(&mut self, block: &Block, mut registers: Registers, keep: bool) -> Registers {
        // Where in the frame a known number was just stored.
        let mut stored: Option<(i32, i64)> = None;
        for index in block.first..block.end {
            let insn = &self.function.insns[index];
            if keep {
                self.note(index, insn, &registers, stored);
            }
            match &insn.row.shape {
                Shape::Store => stored = self.stored(index, insn, &registers),
                // A look-up in an array is arithmetic.
                _ if self.facts.lookups.contains_key(&index) => {}
                Shape::Helper | Shape::Local | Shape::Kfunc | Shape::Atomic(..) | Shape::Packet => {
                    stored = None;
                }
                _ => {}
            }
            let result = computed(insn, &registers);
            let mut changed = written(insn);
            while changed != 0 {
                registers[changed.trailing_zeros() as usize] = result;
                changed &= changed - 1;
            }
        }
        registers
    }

    fn note(
        &mut self,
        index: usize,
        insn: &Insn,
        registers: &Registers,
        stored: Option<(i32, i64)>,
    ) {
        let mut reads = read(insn, index, self.facts, self.params);
        while reads != 0 {
            let register = reads.trailing_zeros() as usize;
            reads &= reads - 1;
            if let Some(Some(number)) = registers.get(register) {
                self.found.registers[index] |= 1 << register;
                self.found.numbers.push((index, register as Place, *number));
            }
        }
        if let (Some(lookup), Some((at, number))) = (self.facts.lookups.get(&index), stored)
            && lookup.key == Base::Frame(at)
        {
            self.found.numbers.push((index, KEY, number));
        }
    }

    /// Where a store puts a known number of at least four bytes.
    fn stored(&self, index: usize, insn: &Insn, registers: &Registers) -> Option<(i32, i64)> {
        let Base::Frame(at) = Base::of(self.facts.bases[index], insn) else {
            return None;
        };
        let number = match insn.operand() {
            Operand::Reg(register) => (*registers.get(usize::from(register))?)?,
            Operand::Imm(imm) => imm,
        };
        let at = at.checked_add(insn.off.into())?;
        (insn.bytes() >= 4).then_some((at, number))
    }
}

/// What an instruction leaves in its destination, if that is known.
fn computed(insn: &Insn, registers: &Registers) -> Option<i64> {
    let number = match (&insn.row.shape, insn.reference, insn.operand()) {
        (Shape::Constant, None, _) => return Some(insn.imm),
        (Shape::Move, None, Operand::Imm(imm)) => imm,
        (Shape::Move, None, Operand::Reg(register)) => (*registers.get(usize::from(register))?)?,
        _ => return None,
    };
    Some(match insn.is_wide() {
        true => number,
        false => number & 0xffff_ffff,
    })
}
