//! Forward dataflow: the class of every base register.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;

use abi::helpers::{self, Arg, Ret};
use abi::layout::FRAME_SIZE;
use abi::sections::{Attach, ProgType};

use super::lattice::Class;
use super::state::State;
use super::uses::Base;
use crate::cfg::{Block, Blocks};
use crate::isa::insn::{FP, Insn, Operand, Ref};
use crate::isa::table::{Form, Shape};
use crate::object::{Function, Program};

/// What loads from a program's context give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// 8-byte fields are addresses of kernel objects wherever they are dereferenced: BTF-typed arguments.
    Kernel,
    /// These 4-byte fields are guest pointers: packet bounds of `__sk_buff` and `xdp_md`.
    Packet(&'static [i32]),
    /// Nothing is known.
    Plain,
}

impl Scope {
    /// The scope of `program`.
    pub(crate) fn of(program: &Program) -> Self {
        match (program.prog_type, program.attach) {
            (_, Attach::Iter) => Scope::Plain,
            (ProgType::Tracing | ProgType::Lsm, _) => Scope::Kernel,
            (ProgType::Xdp, _) => Scope::Packet(&[0, 4, 8]),
            (
                ProgType::SchedCls
                | ProgType::SchedAct
                | ProgType::CgroupSkb
                | ProgType::LwtIn
                | ProgType::LwtOut
                | ProgType::LwtXmit
                | ProgType::SkSkb
                | ProgType::LwtSeg6local
                | ProgType::FlowDissector,
                _,
            ) => Scope::Packet(&[76, 80, 140]),
            _ => Scope::Plain,
        }
    }
}

/// What is known at a function's entry.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Classes of r1…r5.
    pub(crate) args: [Class; 5],
    /// The program's scope; `None` before any caller was seen.
    pub(crate) scope: Option<Scope>,
}

impl Entry {
    /// Nothing yet.
    pub(crate) const NONE: Entry = Entry {
        args: [Class::Unset; 5],
        scope: None,
    };

    /// A program's entry: the context.
    pub(crate) fn program(scope: Scope) -> Self {
        let mut args = [Class::Scalar; 5];
        args[0] = Class::Ctx(Some(0));
        Entry {
            args,
            scope: Some(scope),
        }
    }

    /// Adds another caller.
    pub(crate) fn join(&mut self, other: &Entry) {
        for (mine, other) in self.args.iter_mut().zip(other.args) {
            *mine = mine.join(other);
        }
        self.scope = match (self.scope, other.scope) {
            (a, b) if a == b => a,
            (None, x) | (x, None) => x,
            _ => Some(Scope::Plain),
        };
    }
}

/// What was found out about a function.
pub(crate) struct Facts {
    /// For every instruction that accesses memory, the class of its base register before it.
    pub(crate) bases: Vec<Class>,
    /// For loads from a context: whether the value is a packet pointer.
    pub(crate) packet_loads: Vec<bool>,
    /// Bytes below r10 that the function may touch.
    pub(crate) frame: u32,
    /// The first access at a known place that is not wholly in the frame: by which instruction, where, of how many bytes.
    pub(crate) outside: Option<(usize, i32, i64)>,
    /// Bytes of the context that may be read; `None` if unknown.
    pub(crate) context: Option<u32>,
    /// Calls and taken addresses of other functions, with what they are given.
    pub(crate) calls: Vec<(usize, Entry)>,
    /// By instruction, the look-ups in a known array by a key in guest memory.
    pub(crate) lookups: BTreeMap<usize, Lookup>,
}

/// A look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lookup {
    /// Index of the map.
    pub(crate) map: usize,
    /// Where the key is: in the frame, or where r2 points in guest memory.
    pub(crate) key: Base,
}

/// Infers classes to a fixed point; `arrays` are the maps whose elements lie in order.
pub(crate) fn infer(
    function: &Function,
    blocks: &Blocks,
    entry: &Entry,
    arrays: &BTreeSet<usize>,
) -> Facts {
    let mut states: Vec<Option<State>> = vec![None; blocks.list.len()];
    states[0] = Some(State::entry(&entry.args));
    let mut pending = vec![true; blocks.list.len()];
    let mut infer = Infer::new(function, entry.scope.unwrap_or(Scope::Plain), arrays);
    let mut steps = 0;
    while pending.contains(&true) {
        for (number, block) in blocks.list.iter().enumerate() {
            if !core::mem::take(&mut pending[number]) {
                continue;
            }
            let Some(mut state) = states[number] else {
                continue;
            };
            steps += 1;
            infer.block(block, &mut state);
            for to in block.exit.targets() {
                pending[to] |= join(&mut states[to], &state);
            }
        }
    }
    // Facts are taken from the fixed point only: what was noted on the way there may be too narrow.
    if steps > blocks.list.len() {
        infer.reset();
        for (block, state) in blocks.list.iter().zip(&mut states) {
            state.iter_mut().for_each(|state| infer.block(block, state));
        }
    }
    infer.facts
}

/// Joins `state` into what is known at a block's start, if anything is; whether that changed.
fn join(known: &mut Option<State>, state: &State) -> bool {
    match known {
        Some(known) => known.join(state),
        None => {
            *known = Some(*state);
            true
        }
    }
}

struct Infer<'a> {
    function: &'a Function,
    scope: Scope,
    arrays: &'a BTreeSet<usize>,
    facts: Facts,
}

impl<'a> Infer<'a> {
    fn new(function: &'a Function, scope: Scope, arrays: &'a BTreeSet<usize>) -> Self {
        let count = function.insns.len();
        let facts = Facts {
            bases: vec![Class::Unset; count],
            packet_loads: vec![false; count],
            frame: 0,
            outside: None,
            context: Some(0),
            calls: Vec::new(),
            lookups: BTreeMap::new(),
        };
        Infer {
            function,
            scope,
            arrays,
            facts,
        }
    }

    fn reset(&mut self) {
        *self = Infer::new(self.function, self.scope, self.arrays);
    }

    /// The effects of a block's instructions.
    fn block(&mut self, block: &Block, state: &mut State) {
        for index in block.first..block.end {
            self.step(index, state);
        }
    }

    /// The effect of an instruction.
    fn step(&mut self, index: usize, state: &mut State) {
        let insn = &self.function.insns[index];
        match insn.row.shape {
            Shape::Constant => {
                if let Some(Ref::Function(callback)) = insn.reference {
                    let (args, scope) = ([Class::Unknown; 5], Some(self.scope));
                    self.facts.calls.push((callback, Entry { args, scope }));
                }
                state.set(insn.dst, constant(insn));
            }
            Shape::Move | Shape::Binary(..) => self.arithmetic(insn, state),
            Shape::Load(_) => self.load(index, insn, state),
            Shape::Store => self.store(index, insn, state),
            Shape::Atomic(..) => self.atomic(index, insn, state),
            Shape::Helper => match insn.reference {
                Some(Ref::Extern(_)) => self.kfunc(state),
                _ => self.helper(index, insn, state),
            },
            Shape::Kfunc => self.kfunc(state),
            Shape::Local => self.local(insn, state),
            Shape::Packet => after_call(state, Class::Scalar),
            _ if matches!(insn.row.form, Form::Binary | Form::Unary) => {
                state.set(insn.dst, Class::Scalar)
            }
            _ => {}
        }
        self.note_depth(insn, state);
    }

    /// The frame reaches down to the lowest address that any register ever holds.
    fn note_depth(&mut self, insn: &Insn, state: &State) {
        let lowest = match (insn.row.form, state.reg(insn.dst.min(FP))) {
            (Form::Binary, Class::Stack(Some(at))) => at,
            (_, Class::Stack(None)) => -512,
            _ => return,
        };
        self.touch(lowest);
    }

    fn touch(&mut self, lowest: i32) {
        let below = lowest.min(0).unsigned_abs().next_multiple_of(8);
        self.facts.frame = self.facts.frame.max(below);
    }

    /// Notes an access that is not wholly in the frame.
    fn within_frame(&mut self, index: usize, at: i32, bytes: i64) {
        let frame = -i64::from(FRAME_SIZE)..=0;
        let (from, end) = (i64::from(at), i64::from(at).saturating_add(bytes));
        if !(frame.contains(&from) && frame.contains(&end)) {
            self.facts.outside.get_or_insert((index, at, bytes));
        }
    }

    /// Notes that the context's `bytes` from `offset` on are accessed.
    fn read_context(&mut self, offset: Option<i32>, bytes: Option<i64>) {
        let end = offset
            .zip(bytes)
            .and_then(|(o, b)| u32::try_from(i64::from(o).checked_add(b)?).ok());
        self.facts.context = self.facts.context.zip(end).map(|(a, b)| a.max(b));
    }

    fn arithmetic(&mut self, insn: &Insn, state: &mut State) {
        let dst = state.reg(insn.dst);
        let src = match (insn.operand(), insn.reference) {
            (_, Some(Ref::Core(_))) => Class::Scalar,
            (Operand::Reg(register), _) => state.reg(register),
            (Operand::Imm(imm), _) => i32::try_from(imm).map_or(Class::Scalar, Class::Const),
        };
        let class = match (insn.is_wide(), insn.row.mnemonic) {
            (true, "mov") => src,
            (false, "mov") => src
                .number()
                .map_or(Class::Scalar, |n| number(n & 0xffff_ffff)),
            (true, "add") if src.is_pointer() && !dst.is_pointer() => src.plus(dst.number()),
            (true, "add") if !src.is_pointer() => dst.plus(src.number()),
            (true, "sub") if !src.is_pointer() => dst.plus(src.number().and_then(i64::checked_neg)),
            _ => Class::Scalar,
        };
        state.set(insn.dst, class);
    }

    /// The class of an access's base, and its offset from there unless it is relocated.
    fn base(&mut self, index: usize, register: u8, state: &State) -> (Class, Option<i64>) {
        let insn = &self.function.insns[index];
        let class = state.reg(register);
        self.facts.bases[index] = class;
        let offset = (!insn.is_relocated()).then_some(i64::from(insn.off));
        match class.plus(offset) {
            Class::Ctx(at) => self.read_context(at, Some(i64::from(insn.bytes()))),
            Class::Stack(Some(at)) => {
                self.touch(at);
                self.within_frame(index, at, i64::from(insn.bytes()));
            }
            Class::Stack(None) => self.touch(-512),
            _ => {}
        }
        (class, offset)
    }

    fn load(&mut self, index: usize, insn: &Insn, state: &mut State) {
        let (class, offset) = self.base(index, insn.src, state);
        let wide = insn.bytes() == 8;
        let loaded = match (class.plus(offset), self.scope) {
            (Class::Stack(Some(at)), _) => state.load(at, insn.bytes()),
            (Class::Ctx(Some(at)), Scope::Packet(fields))
                if insn.bytes() == 4 && fields.contains(&at) =>
            {
                self.facts.packet_loads[index] = true;
                Class::Guest
            }
            (Class::Ctx(_), Scope::Kernel) | (Class::Kernel, _) if wide => Class::Kernel,
            _ if wide => Class::Unknown,
            _ => Class::Scalar,
        };
        state.set(insn.dst, loaded);
    }

    fn store(&mut self, index: usize, insn: &Insn, state: &mut State) {
        let (class, offset) = self.base(index, insn.dst, state);
        let value = match insn.operand() {
            Operand::Reg(register) => state.reg(register),
            Operand::Imm(imm) => number(imm),
        };
        match class.plus(offset) {
            Class::Stack(Some(at)) => state.store(at, insn.bytes(), value),
            Class::Stack(None) => state.forget_frame(),
            // A context that lies somewhere in memory can be read by anyone.
            _ if matches!(value, Class::Ctx(_)) => self.facts.context = None,
            _ => {}
        }
    }

    fn atomic(&mut self, index: usize, insn: &Insn, state: &mut State) {
        let (class, offset) = self.base(index, insn.dst, state);
        match class.plus(offset) {
            Class::Stack(Some(at)) => state.overwrite(at, i64::from(insn.bytes()), Class::Unknown),
            Class::Stack(None) => state.forget_frame(),
            _ => {}
        }
        if let Some(register) = fetched(insn) {
            state.set(register, Class::Unknown);
        }
    }

    fn helper(&mut self, index: usize, insn: &Insn, state: &mut State) {
        let row = u32::try_from(insn.imm).ok().and_then(helpers::by_id);
        let args = row.map_or(&[][..], |row| row.args);
        // The program that takes over reads who knows how much of it.
        if row.is_some_and(|row| row.id == helpers::TAIL_CALL) {
            self.facts.context = None;
        }
        if row.is_some_and(|row| row.id == helpers::MAP_LOOKUP) {
            self.look_up(index, state);
        }
        // The size that belongs to a pointer is the next argument, or (probe_read) the one before.
        let size = |i: usize, state: &State| {
            let next = (args.get(i + 1) == Some(&Arg::Size)).then_some(i + 1);
            let before = (i > 0 && args[i - 1] == Arg::Size).then(|| i - 1);
            next.or(before)
                .and_then(|at| state.reg(at as u8 + 1).number())
        };
        let mut written = Vec::new();
        for (i, arg) in args.iter().enumerate() {
            let class = state.reg(i as u8 + 1);
            let bytes = size(i, state);
            // What stands behind another's size has one of its own, which is in no argument.
            let own = bytes.filter(|_| args.get(i + 1) == Some(&Arg::Size));
            if let (Arg::In | Arg::Out | Arg::InOut, Class::Stack(Some(at))) = (arg, class) {
                self.within_frame(index, at, own.map_or(0, |bytes| i64::from(bytes as u32)));
            }
            match (arg, class) {
                (Arg::In | Arg::Unsafe, Class::Ctx(at)) => self.read_context(at, bytes),
                (Arg::Opaque | Arg::MapValue | Arg::Scalar, Class::Ctx(_)) => {
                    self.facts.context = None
                }
                (
                    Arg::Out | Arg::InOut | Arg::MapValueOut | Arg::Opaque,
                    Class::Stack(Some(at)),
                ) => {
                    written.push((at, bytes.unwrap_or(512)));
                }
                (Arg::Out | Arg::InOut | Arg::MapValueOut | Arg::Opaque, Class::Stack(None)) => {
                    written.push((-512, 512));
                }
                _ => {}
            }
        }
        for (at, bytes) in written {
            state.overwrite(at, bytes, Class::Unknown);
        }
        let result = match row.map(|row| row.ret) {
            Some(Ret::MapValueOrNull | Ret::RecordOrNull | Ret::MemOrNull) => Class::Guest,
            Some(Ret::Kernel | Ret::KernelOrNull) => Class::Kernel,
            Some(Ret::Scalar | Ret::Void) => Class::Scalar,
            None => Class::Unknown,
        };
        after_call(state, result);
    }

    fn look_up(&mut self, index: usize, state: &State) {
        let key = match state.reg(2) {
            Class::Stack(Some(at)) => Some(Base::Frame(at)),
            Class::Stack(None) | Class::Guest => Some(Base::Guest),
            _ => None,
        };
        match (state.reg(1), key) {
            (Class::Map(Some(map)), Some(key)) if self.arrays.contains(&map) => {
                self.facts.lookups.insert(index, Lookup { map, key });
            }
            _ => {
                self.facts.lookups.remove(&index);
            }
        }
    }

    fn kfunc(&mut self, state: &mut State) {
        let classes = (1..=5).map(|r| state.reg(r));
        for class in classes.collect::<Vec<_>>() {
            match class {
                Class::Ctx(_) => self.facts.context = None,
                Class::Stack(_) => state.forget_frame(),
                _ => {}
            }
        }
        after_call(state, Class::Unknown);
    }

    fn local(&mut self, insn: &Insn, state: &mut State) {
        let mut args = [Class::Unset; 5];
        for (arg, register) in args.iter_mut().zip(1..) {
            *arg = match state.reg(register) {
                // Another function's frame is no frame of the callee's.
                Class::Stack(_) => {
                    state.forget_frame();
                    Class::Guest
                }
                class => class,
            };
        }
        if let Some(Ref::Function(callee)) = insn.reference {
            self.facts.calls.push((
                callee,
                Entry {
                    args,
                    scope: Some(self.scope),
                },
            ));
        }
        after_call(state, Class::Unknown);
    }
}

/// The register that receives an atomic operation's old value.
pub(super) fn fetched(insn: &Insn) -> Option<u8> {
    match insn.row.shape {
        Shape::Atomic(abi::imports::AtomicOp::Cmpxchg, _) => Some(0),
        Shape::Atomic(_, true) => Some(insn.src),
        _ => None,
    }
}

fn number(value: i64) -> Class {
    i32::try_from(value).map_or(Class::Scalar, Class::Const)
}

fn constant(insn: &Insn) -> Class {
    match insn.reference {
        None => number(insn.imm),
        Some(Ref::Map(map)) => Class::Map(Some(map)),
        Some(Ref::Data(..) | Ref::Value(..)) => Class::Guest,
        Some(Ref::Extern(_)) => Class::Kernel,
        Some(Ref::Function(_) | Ref::Core(_)) => Class::Scalar,
    }
}

fn after_call(state: &mut State, result: Class) {
    state.set(0, result);
    for register in 1..=5 {
        state.set(register, Class::Scalar);
    }
}
