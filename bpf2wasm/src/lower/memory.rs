//! Loads and stores (RFC 9669, sections 5.1 and 5.2), by the class of the base register.

use abi::layout::TAG;
use abi::traps::Trap;
use wasm_encoder::{BlockType, Instruction as W, MemArg, MemArgTarget, ValType};

use super::{Lower, Width};
use crate::emit::body::Callee;
use crate::isa::insn::{Insn, Operand, Ref};
use crate::types::Base;

fn load_op(bytes: u32, signed: bool, width: Width, at: MemArg) -> W<'static> {
    match (width, bytes, signed) {
        (Width::Narrow, 1, false) => W::I32Load8U(at),
        (Width::Narrow, 1, true) => W::I32Load8S(at),
        (Width::Narrow, 2, false) => W::I32Load16U(at),
        (Width::Narrow, 2, true) => W::I32Load16S(at),
        // The low half comes first.
        (Width::Narrow, ..) => W::I32Load(at),
        (Width::Wide, 1, false) => W::I64Load8U(at),
        (Width::Wide, 1, true) => W::I64Load8S(at),
        (Width::Wide, 2, false) => W::I64Load16U(at),
        (Width::Wide, 2, true) => W::I64Load16S(at),
        (Width::Wide, 4, false) => W::I64Load32U(at),
        (Width::Wide, 4, true) => W::I64Load32S(at),
        (Width::Wide, ..) => W::I64Load(at),
    }
}

fn store_op(bytes: u32, width: Width, at: MemArg) -> W<'static> {
    match (width, bytes) {
        (Width::Narrow, 1) => W::I32Store8(at),
        (Width::Narrow, 2) => W::I32Store16(at),
        (Width::Narrow, _) => W::I32Store(at),
        (Width::Wide, 1) => W::I64Store8(at),
        (Width::Wide, 2) => W::I64Store16(at),
        (Width::Wide, 4) => W::I64Store32(at),
        (Width::Wide, _) => W::I64Store(at),
    }
}

/// No alignment is promised: eBPF accesses may be unaligned.
fn at(offset: u32) -> MemArg {
    MemArg {
        offset: u64::from(offset),
        align: 0,
        target: MemArgTarget::Memory(0),
        ordering: None,
    }
}

impl Lower<'_> {
    /// Classifies the access of `insn`, and counts it.
    pub(super) fn base(&mut self, insn: &Insn) -> Base {
        let base = Base::of(self.input.facts.bases[self.index], insn);
        let count = match base {
            Base::Frame(_) => &mut self.accesses.frame,
            Base::Guest => &mut self.accesses.guest,
            Base::Kernel => &mut self.accesses.kernel,
            Base::Checked => &mut self.accesses.checked,
        };
        *count += 1;
        base
    }

    /// Pushes the 32-bit address of a guest access; returns the offset left to the access.
    fn guest_address(&mut self, base: Base, register: u8, insn: &Insn) -> MemArg {
        if let Base::Frame(place) = base {
            let top = self.input.facts.frame as i32;
            let frame = self.frame();
            self.body.get(frame);
            let offset = top.wrapping_add(place).wrapping_add(i32::from(insn.off));
            return at(offset as u32);
        }
        self.take(register, Width::Narrow);
        match (insn.reference, insn.off) {
            (Some(Ref::Core(relocation)), _) => {
                self.body.op(&self.core(relocation));
                self.body.wrap();
            }
            // Wasm's own offsets are unsigned and do not wrap around.
            (_, off) if off < 0 => self.body.op(&W::I32Const(i32::from(off))),
            (_, off) => return at(off.unsigned_abs().into()),
        }
        self.body.op(&W::I32Add);
        at(0)
    }

    /// Pushes the 32-bit address of a key that a helper's second argument points to; returns the offset left to the access.
    pub(super) fn key_address(&mut self, key: Base) -> MemArg {
        let Base::Frame(place) = key else {
            self.take(2, Width::Narrow);
            return at(0);
        };
        let top = self.input.facts.frame as i32;
        let frame = self.frame();
        self.body.get(frame);
        at(top.wrapping_add(place) as u32)
    }

    /// Pushes the 64-bit address of any access.
    pub(super) fn address(&mut self, base: Base, register: u8, insn: &Insn) {
        if let Base::Frame(place) = base {
            self.read(crate::isa::insn::FP, Width::Wide);
            return self.add_constant(i64::from(place.wrapping_add(i32::from(insn.off))));
        }
        self.take(register, Width::Wide);
        match insn.reference {
            Some(Ref::Core(relocation)) => {
                self.body.op(&self.core(relocation));
                self.body.op(&W::I64Add);
            }
            _ => self.add_constant(i64::from(insn.off)),
        }
    }

    fn add_constant(&mut self, constant: i64) {
        if constant != 0 {
            self.body.ops(&[W::I64Const(constant), W::I64Add]);
        }
    }

    /// Pops an address into a new local and pushes whether it is a guest pointer.
    fn is_guest(&mut self) -> u32 {
        let address = self.temporary();
        self.body.ops(&[
            W::LocalTee(address),
            W::I64Const(32),
            W::I64ShrU,
            W::I64Const(i64::from(TAG)),
            W::I64Eq,
        ]);
        address
    }

    pub(super) fn load(&mut self, insn: &Insn, signed: bool) {
        let base = self.base(insn);
        let width = match base {
            Base::Frame(_) | Base::Guest => self.kept(),
            Base::Kernel | Base::Checked => Width::Wide,
        };
        match insn.reference {
            Some(Ref::Core(relocation)) => self.load_field(relocation, base, insn, signed, width),
            _ => self.load_from(base, insn, signed, width),
        }
        if self.input.facts.packet_loads[self.index] && width == Width::Wide {
            self.body
                .ops(&[W::I64Const(i64::from(TAG) << 32), W::I64Or]);
        }
        self.write(insn.dst, width);
    }

    pub(super) fn load_from(&mut self, base: Base, insn: &Insn, signed: bool, width: Width) {
        let bytes = insn.bytes();
        match base {
            Base::Frame(_) | Base::Guest => {
                let at = self.guest_address(base, insn.src, insn);
                self.body.op(&load_op(bytes, signed, width, at));
            }
            Base::Kernel => {
                self.address(base, insn.src, insn);
                self.probe(bytes, signed);
            }
            Base::Checked => {
                self.address(base, insn.src, insn);
                let address = self.is_guest();
                self.body
                    .ops(&[W::If(BlockType::Result(ValType::I64)), W::LocalGet(address)]);
                let load = load_op(bytes, signed, width, at(0));
                self.body.ops(&[W::I32WrapI64, load, W::Else]);
                self.body.op(&W::LocalGet(address));
                self.probe(bytes, signed);
                self.body.op(&W::End);
            }
        }
    }

    /// Replaces an address by what the kernel's memory holds there.
    fn probe(&mut self, bytes: u32, signed: bool) {
        self.body.call(Callee::ProbeLoad(bytes));
        match (bytes, signed) {
            (1, true) => self.body.op(&W::I64Extend8S),
            (2, true) => self.body.op(&W::I64Extend16S),
            (4, true) => self.body.op(&W::I64Extend32S),
            _ => {}
        }
    }

    pub(super) fn store(&mut self, insn: &Insn) {
        let base = self.base(insn);
        match insn.reference {
            _ if base == Base::Kernel => self.trap(Trap::WildStore),
            Some(Ref::Core(relocation)) => self.store_field(relocation, base, insn),
            _ => self.store_to(base, insn),
        }
    }

    pub(super) fn store_to(&mut self, base: Base, insn: &Insn) {
        let at = match base {
            Base::Frame(_) | Base::Guest | Base::Kernel => self.guest_address(base, insn.dst, insn),
            Base::Checked => {
                self.address(base, insn.dst, insn);
                let address = self.is_guest();
                self.body.ops(&[W::I32Eqz, W::If(BlockType::Empty)]);
                self.trap(Trap::WildStore);
                self.body
                    .ops(&[W::End, W::LocalGet(address), W::I32WrapI64]);
                at(0)
            }
        };
        let width = match insn.operand() {
            Operand::Reg(register) if insn.bytes() < 8 => self.held(register),
            _ => Width::Wide,
        };
        self.stored(insn, width);
        self.body.op(&store_op(insn.bytes(), width, at));
    }

    /// Pushes what is stored. A CO-RE relocation of a store is about its offset.
    pub(super) fn stored(&mut self, insn: &Insn, width: Width) {
        match insn.operand() {
            Operand::Reg(register) => self.take(register, width),
            Operand::Imm(imm) => self.number(imm, width),
        }
    }
}
