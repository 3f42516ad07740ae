//! x86-64's instructions, as far as they come out of this compiler.

use super::machine::{Alu, Flag, Mem, One, Turn};
use crate::arena::{Arena, List};
use crate::operator::Wide;
use crate::registers::Reg;
use crate::{Made, Refused};

/// A place in code, that may not be known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Label(u32);

/// Opcode and prefixes of an instruction with a register and a place.
#[derive(Clone, Copy)]
struct Form {
    prefix: Option<u8>,
    wide: Wide,
    /// Whether the opcode comes behind `0f`.
    second: bool,
    opcode: u8,
    /// Whether its registers are bytes.
    byte: bool,
}

impl Form {
    fn new(wide: Wide, opcode: u8) -> Self {
        Self {
            prefix: None,
            wide,
            second: false,
            opcode,
            byte: false,
        }
    }

    fn second(wide: Wide, opcode: u8) -> Self {
        Self {
            second: true,
            ..Self::new(wide, opcode)
        }
    }

    fn prefixed(self, prefix: u8) -> Self {
        Self {
            prefix: Some(prefix),
            ..self
        }
    }

    fn byte(self) -> Self {
        Self { byte: true, ..self }
    }
}

const LOCK: u8 = 0xf0;
/// Not bound yet.
const NOWHERE: u32 = u32::MAX;

/// Code under construction.
pub(super) struct Code<'m> {
    bytes: List<'m, u8>,
    labels: List<'m, u32>,
    /// Displacements to labels: where, and which.
    fixups: List<'m, (u32, Label)>,
}

impl<'m> Code<'m> {
    pub(super) fn new(arena: &'m Arena<'m>) -> Self {
        Self {
            bytes: List::new(arena),
            labels: List::new(arena),
            fixups: List::new(arena),
        }
    }

    pub(super) fn here(&self) -> u32 {
        self.bytes.len() as u32
    }

    pub(super) fn label(&mut self) -> Label {
        self.labels.push(NOWHERE);
        Label((self.labels.len() as u32).wrapping_sub(1))
    }

    pub(super) fn bind(&mut self, label: Label) {
        let here = self.here();
        if let Some(place) = self.labels.get_mut(label.0 as usize) {
            *place = here;
        }
    }

    /// The bytes, every label known.
    pub(super) fn finish(mut self) -> Made<List<'m, u8>> {
        for index in 0..self.fixups.len() {
            let lost = || Refused::Compiler("labels");
            let (at, label) = *self.fixups.get(index).ok_or_else(lost)?;
            let to = self.labels.get(label.0 as usize).copied();
            let to = to.filter(|to| *to != NOWHERE).ok_or_else(lost)?;
            self.patch(at, to.wrapping_sub(at.wrapping_add(4)));
        }
        Ok(self.bytes)
    }

    /// Writes a number over what is there.
    pub(super) fn patch(&mut self, at: u32, value: u32) {
        let at = at as usize;
        if let Some(place) = self.bytes.get_mut(at..at + 4) {
            place.copy_from_slice(&value.to_le_bytes());
        }
    }

    fn dword(&mut self, value: i32) {
        self.bytes.extend(&value.to_le_bytes());
    }

    // ---- the shape of instructions

    fn rex(&mut self, wide: Wide, reg: u8, index: u8, base: u8, needed: bool) {
        let high = |r: u8, bit: u8| (r >> 3 & 1) << bit;
        let rex = 0x40 | u8::from(wide) << 3 | high(reg, 2) | high(index, 1) | high(base, 0);
        if rex != 0x40 || needed {
            self.bytes.push(rex);
        }
    }

    fn opcode(&mut self, form: Form) {
        if form.second {
            self.bytes.push(0x0f);
        }
        self.bytes.push(form.opcode);
    }

    /// With `reg`, a register or a number, and register `rm`.
    fn rr(&mut self, form: Form, reg: u8, rm: Reg) {
        if let Some(prefix) = form.prefix {
            self.bytes.push(prefix);
        }
        // Without it, these bytes would be others.
        let needed = form.byte && (reg >= 4 || rm.0 >= 4);
        self.rex(form.wide, reg, 0, rm.0, needed);
        self.opcode(form);
        self.bytes.push(0xc0 | (reg & 7) << 3 | rm.0 & 7);
    }

    /// With `reg`, a register or a number, and what is at `m`.
    fn rm(&mut self, form: Form, reg: u8, m: Mem) {
        if let Some(prefix) = form.prefix {
            self.bytes.push(prefix);
        }
        let index = m.index.map_or(0, |index| index.0);
        self.rex(form.wide, reg, index, m.base.0, form.byte && reg >= 4);
        self.opcode(form);
        let reg = (reg & 7) << 3;
        let base = m.base.0 & 7;
        let small = i8::try_from(m.disp);
        let mode = match small {
            Ok(0) if base != 5 => 0,
            Ok(_) => 0x40,
            Err(_) => 0x80,
        };
        match m.index {
            Some(index) => self
                .bytes
                .extend(&[mode | reg | 4, (index.0 & 7) << 3 | base]),
            None if base == 4 => self.bytes.extend(&[mode | reg | 4, 0x24]),
            None => self.bytes.push(mode | reg | base),
        }
        match small {
            Ok(0) if base != 5 => {}
            Ok(small) => self.bytes.push(small as u8),
            Err(_) => self.dword(m.disp),
        }
    }

    // ---- moves

    pub(super) fn mov(&mut self, wide: Wide, to: Reg, from: Reg) {
        self.rr(Form::new(wide, 0x8b), to.0, from);
    }

    /// A number; changes no flag.
    pub(super) fn imm(&mut self, to: Reg, value: u64) {
        if let Ok(small) = u32::try_from(value) {
            self.rex(false, 0, 0, to.0, false);
            self.bytes.push(0xb8 | to.0 & 7);
            self.dword(small as i32);
        } else if let Ok(small) = i32::try_from(value as i64) {
            self.rr(Form::new(true, 0xc7), 0, to);
            self.dword(small);
        } else {
            self.rex(true, 0, 0, to.0, false);
            self.bytes.push(0xb8 | to.0 & 7);
            self.bytes.extend(&value.to_le_bytes());
        }
    }

    pub(super) fn zero(&mut self, to: Reg) {
        self.alu(Alu::Xor, false, to, to);
    }

    pub(super) fn load(&mut self, wide: Wide, to: Reg, m: Mem) {
        self.rm(Form::new(wide, 0x8b), to.0, m);
    }

    /// A load of so many bytes, extended to all of the register, or `signed` to its width.
    pub(super) fn load_extended(&mut self, wide: Wide, bytes: u8, signed: bool, to: Reg, m: Mem) {
        let form = match (bytes, signed) {
            (8, _) => Form::new(true, 0x8b),
            (4, true) if wide => Form::new(true, 0x63),
            (4, _) => Form::new(false, 0x8b),
            (2, true) => Form::second(wide, 0xbf),
            (2, false) => Form::second(false, 0xb7),
            (_, true) => Form::second(wide, 0xbe),
            (_, false) => Form::second(false, 0xb6),
        };
        self.rm(form, to.0, m);
    }

    pub(super) fn store(&mut self, wide: Wide, m: Mem, from: Reg) {
        self.rm(Form::new(wide, 0x89), from.0, m);
    }

    /// Stores so many bytes of a register.
    pub(super) fn store_bytes(&mut self, bytes: u8, m: Mem, from: Reg) {
        match bytes {
            8 | 4 => self.store(bytes == 8, m, from),
            2 => self.rm(Form::new(false, 0x89).prefixed(0x66), from.0, m),
            _ => self.rm(Form::new(false, 0x88).byte(), from.0, m),
        }
    }

    /// Stores so many bytes of a number, which is extended with its sign.
    pub(super) fn store_imm(&mut self, bytes: u8, m: Mem, value: i32) {
        match bytes {
            8 | 4 => {
                self.rm(Form::new(bytes == 8, 0xc7), 0, m);
                self.dword(value);
            }
            2 => {
                self.rm(Form::new(false, 0xc7).prefixed(0x66), 0, m);
                self.bytes.extend(&(value as u16).to_le_bytes());
            }
            _ => {
                self.rm(Form::new(false, 0xc6), 0, m);
                self.bytes.push(value as u8);
            }
        }
    }

    pub(super) fn lea(&mut self, wide: Wide, to: Reg, m: Mem) {
        self.rm(Form::new(wide, 0x8d), to.0, m);
    }

    /// Extends so many bytes with their sign.
    pub(super) fn extend(&mut self, wide: Wide, bytes: u8, to: Reg, from: Reg) {
        match bytes {
            1 => self.rr(Form::second(wide, 0xbe).byte(), to.0, from),
            2 => self.rr(Form::second(wide, 0xbf), to.0, from),
            _ => self.rr(Form::new(true, 0x63), to.0, from),
        }
    }

    // ---- arithmetic

    pub(super) fn alu(&mut self, op: Alu, wide: Wide, to: Reg, from: Reg) {
        self.rr(Form::new(wide, (op as u8) << 3 | 3), to.0, from);
    }

    pub(super) fn alu_mem(&mut self, op: Alu, wide: Wide, to: Reg, m: Mem) {
        self.rm(Form::new(wide, (op as u8) << 3 | 3), to.0, m);
    }

    pub(super) fn alu_imm(&mut self, op: Alu, wide: Wide, to: Reg, value: i32) {
        match i8::try_from(value) {
            Ok(small) => {
                self.rr(Form::new(wide, 0x83), op as u8, to);
                self.bytes.push(small as u8);
            }
            Err(_) => {
                self.rr(Form::new(wide, 0x81), op as u8, to);
                self.dword(value);
            }
        }
    }

    /// Takes off a number that [`Self::patch`] writes; where it is.
    pub(super) fn sub_later(&mut self, from: Reg) -> u32 {
        self.rr(Form::new(true, 0x81), Alu::Sub as u8, from);
        let at = self.here();
        self.dword(0);
        at
    }

    pub(super) fn test(&mut self, wide: Wide, r: Reg) {
        self.rr(Form::new(wide, 0x85), r.0, r);
    }

    pub(super) fn turn(&mut self, turn: Turn, wide: Wide, to: Reg, by: u8) {
        self.rr(Form::new(wide, 0xc1), turn as u8, to);
        self.bytes.push(by);
    }

    /// By `cl`.
    pub(super) fn turn_by_cl(&mut self, turn: Turn, wide: Wide, to: Reg) {
        self.rr(Form::new(wide, 0xd3), turn as u8, to);
    }

    pub(super) fn one(&mut self, one: One, wide: Wide, r: Reg) {
        self.rr(Form::new(wide, 0xf7), one as u8, r);
    }

    /// `rdx` becomes the sign of `rax`.
    pub(super) fn sign_of_rax(&mut self, wide: Wide) {
        if wide {
            self.bytes.push(0x48);
        }
        self.bytes.push(0x99);
    }

    pub(super) fn mul(&mut self, wide: Wide, to: Reg, from: Reg) {
        self.rr(Form::second(wide, 0xaf), to.0, from);
    }

    pub(super) fn mul_mem(&mut self, wide: Wide, to: Reg, m: Mem) {
        self.rm(Form::second(wide, 0xaf), to.0, m);
    }

    pub(super) fn mul_imm(&mut self, wide: Wide, to: Reg, from: Reg, by: i32) {
        match i8::try_from(by) {
            Ok(small) => {
                self.rr(Form::new(wide, 0x6b), to.0, from);
                self.bytes.push(small as u8);
            }
            Err(_) => {
                self.rr(Form::new(wide, 0x69), to.0, from);
                self.dword(by);
            }
        }
    }

    /// The number of the lowest bit, or of the highest; equal if there is none, and then `to` is anything.
    pub(super) fn scan(&mut self, highest: bool, wide: Wide, to: Reg, from: Reg) {
        self.rr(Form::second(wide, 0xbc | u8::from(highest)), to.0, from);
    }

    /// 1 if the condition holds, else 0.
    pub(super) fn set(&mut self, flag: Flag, to: Reg) {
        self.rr(Form::second(false, 0x90 | flag.0).byte(), 0, to);
        self.rr(Form::second(false, 0xb6).byte(), to.0, to);
    }

    pub(super) fn mov_if(&mut self, flag: Flag, wide: Wide, to: Reg, from: Reg) {
        self.rr(Form::second(wide, 0x40 | flag.0), to.0, from);
    }

    pub(super) fn mov_if_mem(&mut self, flag: Flag, wide: Wide, to: Reg, m: Mem) {
        self.rm(Form::second(wide, 0x40 | flag.0), to.0, m);
    }

    // ---- atomics

    pub(super) fn lock_alu(&mut self, op: Alu, wide: Wide, m: Mem, from: Reg) {
        self.rm(
            Form::new(wide, (op as u8) << 3 | 1).prefixed(LOCK),
            from.0,
            m,
        );
    }

    pub(super) fn lock_alu_imm(&mut self, op: Alu, wide: Wide, m: Mem, value: i32) {
        match i8::try_from(value) {
            Ok(small) => {
                self.rm(Form::new(wide, 0x83).prefixed(LOCK), op as u8, m);
                self.bytes.push(small as u8);
            }
            Err(_) => {
                self.rm(Form::new(wide, 0x81).prefixed(LOCK), op as u8, m);
                self.dword(value);
            }
        }
    }

    pub(super) fn exchange_add(&mut self, wide: Wide, m: Mem, with: Reg) {
        self.rm(Form::second(wide, 0xc1).prefixed(LOCK), with.0, m);
    }

    pub(super) fn exchange(&mut self, wide: Wide, m: Mem, with: Reg) {
        self.rm(Form::new(wide, 0x87), with.0, m);
    }

    /// With `rax` as what is expected.
    pub(super) fn compare_exchange(&mut self, wide: Wide, m: Mem, new: Reg) {
        self.rm(Form::second(wide, 0xb1).prefixed(LOCK), new.0, m);
    }

    // ---- control flow

    /// How far back a label is, if a short jump gets there.
    fn near(&self, to: Label) -> Option<i8> {
        let at = self.labels.get(to.0 as usize).copied();
        let at = at.filter(|at| *at != NOWHERE)?;
        let by = i64::from(at) - i64::from(self.here()) - 2;
        i8::try_from(by).ok()
    }

    pub(super) fn jump(&mut self, to: Label) {
        match self.near(to) {
            Some(by) => self.bytes.extend(&[0xeb, by as u8]),
            None => {
                self.bytes.push(0xe9);
                self.fix(to);
            }
        }
    }

    pub(super) fn jump_if(&mut self, flag: Flag, to: Label) {
        match self.near(to) {
            Some(by) => self.bytes.extend(&[0x70 | flag.0, by as u8]),
            None => {
                self.bytes.extend(&[0x0f, 0x80 | flag.0]);
                self.fix(to);
            }
        }
    }

    fn fix(&mut self, to: Label) {
        self.fixups.push((self.here(), to));
        self.dword(0);
    }

    /// A call whose displacement others fill in; where it is.
    pub(super) fn call(&mut self) -> u32 {
        self.bytes.push(0xe8);
        let at = self.here();
        self.dword(0);
        at
    }

    /// As [`Self::call`], a jump.
    pub(super) fn jump_out(&mut self) -> u32 {
        self.bytes.push(0xe9);
        let at = self.here();
        self.dword(0);
        at
    }

    pub(super) fn push(&mut self, r: Reg) {
        self.rex(false, 0, 0, r.0, false);
        self.bytes.push(0x50 | r.0 & 7);
    }

    pub(super) fn pop(&mut self, r: Reg) {
        self.rex(false, 0, 0, r.0, false);
        self.bytes.push(0x58 | r.0 & 7);
    }

    /// Takes the frame away.
    pub(super) fn leave(&mut self) {
        self.bytes.push(0xc9);
    }

    /// What is never reached.
    pub(super) fn trap(&mut self) {
        self.bytes.extend(&[0x0f, 0x0b]);
    }
}
