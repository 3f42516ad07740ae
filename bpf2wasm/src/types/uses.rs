//! What instructions ask of the registers they read, and what they leave in the one they write.

use abi::helpers;
use wasm_encoder::Instruction as W;

use super::infer::{Facts, fetched};
use super::lattice::Class;
use crate::isa::insn::{Insn, Operand, Ref};
use crate::isa::table::{Form, Shape};
use crate::object::Function;

/// Which bits of a register matter to a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Demand {
    /// The low 32.
    Low,
    /// All.
    Full,
    /// Those that matter of the result.
    Result,
}

/// What is cheapest to read or write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Native {
    /// An i32.
    Narrow,
    /// An i64.
    Wide,
    /// Either.
    Any,
    /// What the others of the instruction are.
    Same,
}

/// When a result's upper 32 bits are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Zero {
    Always,
    Never,
    /// When those of all operands are.
    All,
    /// When those of the first operand are.
    First,
}

/// A register that is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Use {
    pub(super) register: u8,
    pub(super) demand: Demand,
    pub(super) native: Native,
}

/// What is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Def {
    pub(super) zero: Zero,
    pub(super) native: Native,
}

/// All of an instruction's.
#[derive(Default)]
pub(super) struct Effect {
    uses: [Option<Use>; 5],
    pub(super) def: Option<Def>,
}

impl Effect {
    pub(super) fn uses(&self) -> impl Iterator<Item = Use> {
        self.uses.iter().map_while(|u| *u)
    }

    fn reads(mut self, register: u8, demand: Demand, native: Native) -> Self {
        if let Some(free) = self.uses.iter_mut().find(|u| u.is_none()) {
            *free = Some(Use {
                register,
                demand,
                native,
            });
        }
        self
    }

    fn reads_operand(self, insn: &Insn, demand: Demand, native: Native) -> Self {
        match insn.operand() {
            Operand::Reg(register) => self.reads(register, demand, native),
            Operand::Imm(_) => self,
        }
    }

    fn writes(mut self, zero: Zero, native: Native) -> Self {
        self.def = Some(Def { zero, native });
        self
    }
}

/// The register that an instruction writes.
pub(super) fn result(insn: &Insn) -> Option<u8> {
    match insn.row.form {
        Form::Binary | Form::Unary | Form::Wide | Form::Load | Form::AtomicLoad => Some(insn.dst),
        Form::Atomic => fetched(insn),
        Form::Call | Form::PacketAbs | Form::PacketInd => Some(0),
        _ => None,
    }
}

/// How an access reads its base register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Base {
    /// Not at all: it is so far from r10.
    Frame(i32),
    /// Guest memory.
    Guest,
    /// Kernel memory.
    Kernel,
    /// Known at run time only.
    Checked,
}

impl Base {
    /// The base of an access through a register of `class`.
    pub(crate) fn of(class: Class, insn: &Insn) -> Self {
        match class {
            Class::Stack(Some(at)) if !insn.is_relocated() => Base::Frame(at),
            Class::Stack(_) | Class::Ctx(_) | Class::Guest => Base::Guest,
            Class::Kernel => Base::Kernel,
            _ => Base::Checked,
        }
    }
}

/// How a 64-bit operation may be computed in 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Narrowing {
    /// It may not.
    No,
    /// Where the result is narrow: its low half depends on nothing but low halves.
    Result,
    /// Where the first operand is narrow.
    Operand,
}

/// How the 64-bit operation `insn` may be computed in 32.
pub(crate) fn narrowing(insn: &Insn) -> Narrowing {
    let imm = match insn.operand() {
        Operand::Imm(imm) if insn.reference.is_none() => Some(imm),
        _ => None,
    };
    let small = imm.is_some_and(|imm| (0..=i64::from(i32::MAX)).contains(&imm));
    let shift = imm.is_some_and(|imm| (0..32).contains(&imm));
    let register = matches!(insn.operand(), Operand::Reg(_));
    match &insn.row.shape {
        Shape::Binary(_, W::I64And) if small => Narrowing::Operand,
        Shape::Binary(_, W::I64ShrU) if shift => Narrowing::Operand,
        Shape::Binary(_, W::I64Shl) if shift => Narrowing::Result,
        Shape::Binary(_, W::I64Add | W::I64Sub | W::I64Mul | W::I64And | W::I64Or | W::I64Xor)
        | Shape::Negate
        | Shape::Move
        | Shape::MoveSigned(_)
        | Shape::Truncate(_) => Narrowing::Result,
        // Numbers below 2³² compare alike in both widths.
        Shape::Compare(_, op) if is_unsigned(op) && (small || register) => Narrowing::Operand,
        Shape::Test if small || register => Narrowing::Operand,
        _ => Narrowing::No,
    }
}

fn is_unsigned(comparison: &W<'_>) -> bool {
    !matches!(comparison, W::I64GtS | W::I64GeS | W::I64LtS | W::I64LeS)
}

/// What instruction `index` reads and writes; `params` are the parameter counts of all functions.
pub(super) fn effect(function: &Function, facts: &Facts, params: &[u32], index: usize) -> Effect {
    let insn = &function.insns[index];
    let base = Base::of(facts.bases[index], insn);
    // The target may have the field in more bytes than the access was compiled for.
    let relocated = insn.is_relocated();
    match &insn.row.shape {
        Shape::Load(signed) => load(insn, base, *signed, facts.packet_loads[index] || relocated),
        Shape::Store => store(insn, base, relocated),
        Shape::Atomic(..) => atomic(insn, base),
        Shape::Constant => {
            let small = insn.reference.is_none() && u32::try_from(insn.imm).is_ok();
            let zero = if small { Zero::Always } else { Zero::Never };
            let native = if insn.reference.is_none() {
                Native::Any
            } else {
                Native::Wide
            };
            Effect::default().writes(zero, native)
        }
        _ if let Some(lookup) = facts.lookups.get(&index) => {
            through(lookup.key, 2).writes(Zero::Never, Native::Wide)
        }
        Shape::Helper | Shape::Local | Shape::Kfunc => {
            let passed = arity(insn, params) as u8;
            (1..=passed)
                .fold(Effect::default(), |e, r| {
                    e.reads(r, Demand::Full, Native::Wide)
                })
                .writes(Zero::Never, Native::Wide)
        }
        Shape::Exit => Effect::default().reads(0, Demand::Full, Native::Wide),
        Shape::Packet => packet(insn),
        Shape::Goto | Shape::MayGoto | Shape::Arena | Shape::CallRegister => Effect::default(),
        _ if insn.row.form == Form::Branch => branch(insn),
        Shape::Truncate(_) => wide(insn),
        Shape::Swap(bits) if *bits < 64 => narrow(insn),
        Shape::Swap(_) => wide(insn),
        _ if insn.is_wide() => wide(insn),
        _ => narrow(insn),
    }
}

fn load(insn: &Insn, base: Base, signed: bool, unbounded: bool) -> Effect {
    let zero = if signed || unbounded || insn.bytes() == 8 {
        Zero::Never
    } else {
        Zero::Always
    };
    let native = match base {
        Base::Frame(_) | Base::Guest => Native::Any,
        Base::Kernel | Base::Checked => Native::Wide,
    };
    through(base, insn.src).writes(zero, native)
}

fn store(insn: &Insn, base: Base, relocated: bool) -> Effect {
    let (demand, native) = match insn.bytes() {
        _ if relocated => (Demand::Full, Native::Wide),
        8 => (Demand::Full, Native::Wide),
        _ => (Demand::Low, Native::Any),
    };
    through(base, insn.dst).reads_operand(insn, demand, native)
}

/// The use of an access's base.
fn through(base: Base, register: u8) -> Effect {
    match base {
        Base::Frame(_) => Effect::default(),
        Base::Guest => Effect::default().reads(register, Demand::Low, Native::Narrow),
        _ => Effect::default().reads(register, Demand::Full, Native::Wide),
    }
}

fn atomic(insn: &Insn, base: Base) -> Effect {
    let mut effect = Effect::default();
    if !matches!(base, Base::Frame(_)) {
        effect = effect.reads(insn.dst, Demand::Full, Native::Wide);
    }
    effect = effect.reads_operand(insn, Demand::Full, Native::Wide);
    let Some(old) = fetched(insn) else {
        return effect;
    };
    // What is expected, or the operand once more.
    effect = effect.reads(old, Demand::Full, Native::Wide);
    let zero = if insn.bytes() == 8 {
        Zero::Never
    } else {
        Zero::Always
    };
    effect.writes(zero, Native::Wide)
}

fn packet(insn: &Insn) -> Effect {
    let mut effect = Effect::default().reads(6, Demand::Full, Native::Wide);
    if insn.row.form == Form::PacketInd {
        effect = effect.reads(insn.src, Demand::Low, Native::Wide);
    }
    effect.writes(Zero::Always, Native::Wide)
}

fn branch(insn: &Insn) -> Effect {
    let immediate = matches!(insn.operand(), Operand::Imm(_));
    let (demand, native) = match (insn.is_wide(), narrowing(insn), &insn.row.shape) {
        (false, ..) => (Demand::Low, Native::Narrow),
        (true, Narrowing::No, _) => (Demand::Full, Native::Wide),
        // The immediate's upper half is zero.
        (true, _, Shape::Test) if immediate => (Demand::Low, Native::Any),
        _ => (Demand::Full, Native::Same),
    };
    Effect::default()
        .reads(insn.dst, demand, native)
        .reads_operand(insn, demand, native)
}

/// A 32-bit operation.
fn narrow(insn: &Insn) -> Effect {
    let effect = match insn.row.shape {
        Shape::Move | Shape::MoveSigned(_) => Effect::default(),
        _ => Effect::default().reads(insn.dst, Demand::Low, Native::Narrow),
    };
    effect
        .reads_operand(insn, Demand::Low, Native::Narrow)
        .writes(Zero::Always, Native::Narrow)
}

/// A 64-bit operation.
fn wide(insn: &Insn) -> Effect {
    let (demand, native) = match (narrowing(insn), &insn.row.shape) {
        (_, Shape::MoveSigned(_) | Shape::Truncate(16 | 32)) => (Demand::Low, Native::Same),
        (Narrowing::Operand, Shape::Binary(_, W::I64And)) => (Demand::Low, Native::Same),
        (Narrowing::Operand, _) => (Demand::Full, Native::Same),
        (Narrowing::Result, _) => (Demand::Result, Native::Same),
        (Narrowing::No, _) => (Demand::Full, Native::Wide),
    };
    let effect = match insn.row.shape {
        Shape::Move | Shape::MoveSigned(_) => Effect::default(),
        _ => Effect::default().reads(insn.dst, demand, native),
    };
    effect
        .reads_operand(insn, demand, native)
        .writes(zero(insn), native)
}

/// When the result of a 64-bit operation is below 2³².
fn zero(insn: &Insn) -> Zero {
    let imm = match insn.operand() {
        Operand::Imm(_) if insn.is_relocated() => None,
        Operand::Imm(imm) => Some(imm),
        Operand::Reg(_) => None,
    };
    let register = matches!(insn.operand(), Operand::Reg(_));
    match (&insn.row.shape, imm) {
        (Shape::Move, Some(0..)) => Zero::Always,
        (Shape::Move, None) if register => Zero::All,
        (Shape::Truncate(16 | 32), _) => Zero::Always,
        (Shape::Truncate(_), _) => Zero::All,
        (Shape::Binary(_, W::I64And), Some(0..)) => Zero::Always,
        (Shape::Binary(_, W::I64And), _) => Zero::First,
        (Shape::Binary(_, W::I64Or | W::I64Xor), Some(0..)) => Zero::All,
        (Shape::Binary(_, W::I64Or | W::I64Xor), None) if register => Zero::All,
        (Shape::Binary(_, W::I64ShrU), Some(32..)) => Zero::Always,
        (Shape::Binary(_, W::I64ShrU), _) => Zero::First,
        // No quotient and no remainder exceeds the dividend.
        (
            Shape::Divide {
                min_neg1: false,
                wide: W::I64DivU | W::I64RemU,
                ..
            },
            _,
        ) => Zero::First,
        _ => Zero::Never,
    }
}

/// How many arguments a call passes.
pub(crate) fn arity(insn: &Insn, params: &[u32]) -> u32 {
    match (insn.reference, &insn.row.shape) {
        (Some(Ref::Function(callee)), _) => params[callee],
        (Some(Ref::Extern(_)), _) | (None, Shape::Kfunc) => 5,
        _ => u32::try_from(insn.imm)
            .ok()
            .and_then(helpers::by_id)
            .map_or(0, |row| row.args.len() as u32),
    }
}
