//! Instructions to wasm: one small function per lowering shape.
//!
//! A register is an i64 local, an i32 local, or now one and now the other ([`crate::types::Webs`]); the operand stack is empty between
//! instructions. The frame pointer exists as two locals that the prologue computes where they are used: the i32 address of the frame's
//! lowest byte, and the tagged i64 value of r10.

mod alu;
mod atomic;
mod call;
mod constant;
mod endian;
mod field;
mod flow;
mod memory;
mod packet;

use alloc::string::String;
use alloc::vec::Vec;

use abi::layout::guest_ptr;
use abi::manifest::{CoreRelocation, Extern};
use abi::traps::Trap;
use wasm_encoder::{Instruction as W, ValType};

use crate::analysis::Analysis;
use crate::emit::body::{Body, Callee};
use crate::emit::imports::Globals;
use crate::error::{Error, Result};
use crate::isa::insn::{FP, Insn, Operand, REGISTERS, Ref};
use crate::isa::table::Shape;
use crate::object::Function;
use crate::types::{Narrowing, narrowing};

/// What every function's translation may look at.
pub(crate) struct Shared<'a> {
    pub(crate) relocations: &'a [CoreRelocation],
    pub(crate) globals: &'a Globals,
    /// By function, how many arguments a call passes.
    pub(crate) params: &'a [u32],
    /// By function, its index in the callback table.
    pub(crate) callbacks: &'a [Option<u32>],
    pub(crate) externs: &'a [Extern],
}

/// How many accesses took which form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Accesses {
    /// At a constant offset in the frame.
    pub frame: usize,
    /// Through a pointer proven to be guest memory.
    pub guest: usize,
    /// Through a proven kernel pointer.
    pub kernel: usize,
    /// Decided at run time.
    pub checked: usize,
}

impl Accesses {
    /// Adds another function's.
    pub(crate) fn add(&mut self, other: &Accesses) {
        self.frame += other.frame;
        self.guest += other.guest;
        self.kernel += other.kernel;
        self.checked += other.checked;
    }
}

/// A translated function.
pub(crate) struct Lowered {
    pub(crate) body: Body,
    pub(crate) prologue: Vec<W<'static>>,
    pub(crate) accesses: Accesses,
    /// Calls of what this version's runtimes lack: by slot, what.
    pub(crate) lacks: Vec<(u32, String)>,
}

/// Translates a function of `params` parameters.
pub(crate) fn lower(
    shared: &Shared<'_>,
    function: &Function,
    input: &Analysis,
    params: u32,
) -> Result<Lowered> {
    let mut lower = Lower {
        shared,
        function,
        input,
        body: Body::new(params, function.insns.len()),
        registers: [[None; 2]; REGISTERS],
        frame: None,
        fp: None,
        next: None,
        budget: None,
        scratch: None,
        index: 0,
        accesses: Accesses::default(),
        lacks: Vec::new(),
    };
    for (local, register) in (0..params).zip(1..) {
        lower.registers[register][Width::Wide as usize] = Some(local);
    }
    lower.run()?;
    let prologue = lower.prologue();
    Ok(Lowered {
        body: lower.body,
        prologue,
        accesses: lower.accesses,
        lacks: lower.lacks,
    })
}

/// How much of a register is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Width {
    /// The low half, as an i32.
    Narrow,
    /// All of it, as an i64.
    Wide,
}

impl Width {
    fn ty(self) -> ValType {
        match self {
            Width::Narrow => ValType::I32,
            Width::Wide => ValType::I64,
        }
    }
}

struct Lower<'a> {
    shared: &'a Shared<'a>,
    function: &'a Function,
    input: &'a Analysis,
    body: Body,
    /// The locals of each register that were used, by width.
    registers: [[Option<u32>; 2]; REGISTERS],
    /// i32: address of the frame's lowest byte.
    frame: Option<u32>,
    /// i64: r10.
    fp: Option<u32>,
    /// i32: the dispatch variable.
    next: Option<u32>,
    /// i32: `may_goto`s so far.
    budget: Option<u32>,
    /// i64: for the use of one instruction.
    scratch: Option<u32>,
    /// The instruction being translated.
    index: usize,
    accesses: Accesses,
    lacks: Vec<(u32, String)>,
}

impl<'a> Lower<'a> {
    fn insn(&self) -> &'a Insn {
        &self.function.insns[self.index]
    }

    /// Translates instruction `index`, branches excepted.
    fn step(&mut self, index: usize) -> Result<()> {
        self.index = index;
        let insn = &self.function.insns[index];
        if self.input.live.is_dead(index, insn) {
            return Ok(());
        }
        self.body.mark(insn.slot);
        match &insn.row.shape {
            Shape::Binary(narrow, wide) => self.binary(insn, narrow, wide),
            Shape::Divide {
                narrow,
                wide,
                on_zero,
                min_neg1,
            } => self.divide(insn, (narrow, wide), *on_zero, *min_neg1),
            Shape::Negate => self.negate(insn),
            Shape::Move => self.copy(insn),
            Shape::MoveSigned(bits) => self.copy_signed(insn, *bits),
            Shape::Truncate(bits) => self.truncate(insn, *bits),
            Shape::Swap(bits) => self.swap(insn, *bits),
            Shape::Constant => self.constant(insn),
            Shape::Load(signed) => self.load(insn, *signed),
            Shape::Store => self.store(insn),
            Shape::Atomic(op, _) => self.atomic(insn, *op),
            Shape::Helper | Shape::Local | Shape::Kfunc => self
                .call(insn)
                .map_err(|e| Error::at(insn.slot as usize, e))?,
            Shape::Packet => self.packet(insn),
            // Ends of blocks are `flow`'s; the last two are refused when decoded.
            Shape::Compare(..) | Shape::Test | Shape::Goto | Shape::MayGoto | Shape::Exit => {}
            Shape::Arena | Shape::CallRegister => {}
        }
        Ok(())
    }

    /// The local of `register` in one width.
    fn local(&mut self, register: u8, width: Width) -> u32 {
        let body = &mut self.body;
        let local = match register {
            FP => &mut self.fp,
            _ => &mut self.registers[usize::from(register)][width as usize],
        };
        *local.get_or_insert_with(|| body.local(width.ty()))
    }

    /// The number that the instruction finds in `register`, if it is known.
    fn known(&self, register: u8) -> Option<i64> {
        self.input.constants.register(self.index, register)
    }

    /// The width in which the instruction finds `register`.
    fn held(&self, register: u8) -> Width {
        let narrow = match self.known(register) {
            Some(number) => u32::try_from(number).is_ok(),
            None => self.input.webs.reads_narrow(self.index, register),
        };
        match narrow {
            true => Width::Narrow,
            false => Width::Wide,
        }
    }

    /// The width in which the instruction's result is kept.
    fn kept(&self) -> Width {
        match self.input.webs.writes_narrow(self.index) {
            true => Width::Narrow,
            false => Width::Wide,
        }
    }

    /// The width in which an operation is computed.
    fn width(&self, insn: &Insn) -> Width {
        let narrow = !insn.is_wide()
            || match narrowing(insn) {
                Narrowing::No => false,
                Narrowing::Result => self.kept() == Width::Narrow,
                Narrowing::Operand => {
                    let held = |register| self.held(register) == Width::Narrow;
                    held(insn.dst) && insn.operand().register().is_none_or(held)
                }
            };
        if narrow { Width::Narrow } else { Width::Wide }
    }

    /// The local that holds the frame's address.
    fn frame(&mut self) -> u32 {
        *self
            .frame
            .get_or_insert_with(|| self.body.local(ValType::I32))
    }

    /// A local that no other instruction uses at the same time.
    fn temporary(&mut self) -> u32 {
        *self
            .scratch
            .get_or_insert_with(|| self.body.local(ValType::I64))
    }

    /// Pushes `register`, which this instruction may read again.
    fn read(&mut self, register: u8, width: Width) {
        if let Some(number) = self.known(register) {
            return self.number(number, width);
        }
        let held = self.held(register);
        let local = self.local(register, held);
        self.body.get(local);
        self.convert(held, width);
    }

    /// Pushes `register`; this instruction reads it at most once more, as its second operand.
    fn take(&mut self, register: u8, width: Width) {
        let insn = self.insn();
        let last = !self.input.live.after(self.index, register) || insn.overwrites(register);
        let twice = insn.operand() == Operand::Reg(insn.dst);
        if !last || twice || register == FP || self.known(register).is_some() {
            return self.read(register, width);
        }
        let held = self.held(register);
        let local = self.local(register, held);
        self.body.take(local);
        self.convert(held, width);
    }

    /// Converts the top of the operand stack. A narrow register that is read in full has zeros above.
    fn convert(&mut self, from: Width, to: Width) {
        match (from, to) {
            (Width::Narrow, Width::Wide) => self.body.extend(),
            (Width::Wide, Width::Narrow) => self.body.wrap(),
            _ => {}
        }
    }

    /// Pushes the second operand.
    fn operand(&mut self, insn: &Insn, width: Width) {
        match (insn.operand(), insn.reference) {
            (Operand::Reg(register), _) => self.take(register, width),
            (Operand::Imm(_), Some(Ref::Core(relocation))) => {
                self.core_value(relocation);
                self.convert(Width::Wide, width);
            }
            (Operand::Imm(imm), _) => self.number(imm, width),
        }
    }

    /// Pushes a number.
    fn number(&mut self, number: i64, width: Width) {
        match width {
            Width::Narrow => self.body.op(&W::I32Const(number as i32)),
            Width::Wide => self.body.op(&W::I64Const(number)),
        }
    }

    /// Pops the result, which has `width`, into `register`; a narrow one is zero-extended (RFC 9669, section 4.1).
    fn write(&mut self, register: u8, width: Width) {
        if self.input.live.after(self.index, register) {
            let kept = self.kept();
            self.convert(width, kept);
            let local = self.local(register, kept);
            self.body.set(local);
        } else {
            self.body.op(&W::Drop);
        }
    }

    /// Ends the run.
    fn trap(&mut self, trap: Trap) {
        let site = self.input.site + self.insn().slot;
        self.body
            .ops(&[W::I32Const(trap as i32), W::I32Const(site as i32)]);
        self.body.call(Callee::Trap);
        self.body.op(&W::Unreachable);
    }

    /// Computes the frame's locals.
    fn prologue(&self) -> Vec<W<'static>> {
        let mut ops = Vec::new();
        let size = self.input.facts.frame;
        let base = |ops: &mut Vec<W<'static>>| {
            ops.push(W::GlobalGet(0));
            if self.input.frame_at != 0 {
                ops.extend([W::I32Const(self.input.frame_at as i32), W::I32Add]);
            }
        };
        if let Some(frame) = self.frame {
            base(&mut ops);
            ops.push(W::LocalSet(frame));
        }
        if let Some(fp) = self.fp {
            match self.frame {
                Some(frame) => ops.push(W::LocalGet(frame)),
                None => base(&mut ops),
            }
            let top = guest_ptr(size) as i64;
            ops.extend([
                W::I64ExtendI32U,
                W::I64Const(top),
                W::I64Add,
                W::LocalSet(fp),
            ]);
        }
        ops
    }
}
