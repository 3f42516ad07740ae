//! What registers and spilled words hold, as far as events care: forward dataflow over one function.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;

use abi::manifest::Content;

use super::buffers::{Buffers, Either};
use crate::cfg::Blocks;
use crate::isa::insn::{FP, Insn, Operand, REGISTERS, Ref};
use crate::isa::table::Shape;
use crate::object::Function;

/// Helpers by what they give or write.
mod id {
    pub(super) const MAP_LOOKUP: i64 = 1;
    pub(super) const MAP_UPDATE: i64 = 2;
    pub(super) const PROBE_READ: i64 = 4;
    pub(super) const KTIME: i64 = 5;
    pub(super) const PID_TGID: i64 = 14;
    pub(super) const UID_GID: i64 = 15;
    pub(super) const COMM: i64 = 16;
    pub(super) const PERF_OUTPUT: i64 = 25;
    pub(super) const PROBE_READ_STR: i64 = 45;
    pub(super) const READ_USER: i64 = 112;
    pub(super) const READ_KERNEL: i64 = 113;
    pub(super) const READ_USER_STR: i64 = 114;
    pub(super) const READ_KERNEL_STR: i64 = 115;
    pub(super) const KTIME_BOOT: i64 = 125;
    pub(super) const RING_OUTPUT: i64 = 130;
    pub(super) const RING_RESERVE: i64 = 131;
    pub(super) const RING_SUBMIT: i64 = 132;
    pub(super) const RING_DISCARD: i64 = 133;
}

/// What a word is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    /// A known number.
    Number(i64),
    /// A map, by index.
    Map(usize),
    /// So far into a buffer.
    At(Either, i64),
    /// What a helper gave, by what people call it.
    Named(&'static str),
    /// What a map's value has so far from its start.
    Loaded(usize, i64),
    /// Both halves of what a helper gave: the upper one's name, and the lower one's.
    Halves(&'static str, &'static str),
    /// Anything.
    Other,
}

/// A write: where, how many bytes, what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Write {
    pub(super) at: i64,
    pub(super) size: i64,
    pub(super) content: Content,
    /// What people call the value; empty if nothing is known of it.
    pub(super) value: &'static str,
    /// The map whose value it was loaded from, and from where in that.
    pub(super) copied: Option<(usize, i64)>,
    /// The instruction's slot.
    pub(super) slot: u32,
}

/// What a function sends, and what it writes to values of maps, which others may send.
#[derive(Clone, Debug, Default)]
pub(super) struct Outputs {
    pub(super) sent: Vec<Sent>,
    /// Map and write.
    pub(super) values: BTreeSet<(usize, Write)>,
}

/// An event that a function sends: through which map, and what it wrote to it.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) map: usize,
    /// The map whose value it is, and where in that it begins.
    pub(super) value_of: Option<(usize, i64)>,
    /// Its bytes; `None` if that depends.
    pub(super) size: Option<i64>,
    /// In no order, from the event's start on.
    pub(super) writes: Vec<Write>,
}

/// The registers, the words in the frame, and what was written last to each place of each buffer.
#[derive(Clone, PartialEq)]
struct State {
    regs: [Value; REGISTERS],
    spilled: BTreeMap<i64, Value>,
    writes: BTreeSet<(usize, Write)>,
}

impl State {
    fn entry() -> Self {
        let mut regs = [Value::Other; REGISTERS];
        regs[usize::from(FP)] = Value::At(Either::FRAME, 0);
        State {
            regs,
            spilled: BTreeMap::new(),
            writes: BTreeSet::new(),
        }
    }

    fn reg(&self, register: u8) -> Value {
        self.regs[usize::from(register)]
    }
}

/// Every event that `function` sends, and what it writes to values.
pub(super) fn outputs(function: &Function, blocks: &Blocks) -> Outputs {
    let mut flow = Flow::new(function);
    let mut states: Vec<Option<State>> = vec![None; blocks.list.len()];
    states[0] = Some(State::entry());
    let mut pending = vec![true; blocks.list.len()];
    while pending.contains(&true) {
        for (number, block) in blocks.list.iter().enumerate() {
            if !core::mem::take(&mut pending[number]) {
                continue;
            }
            let Some(mut state) = states[number].clone() else {
                continue;
            };
            for index in block.first..block.end {
                flow.step(index, &mut state);
            }
            for to in block.exit.targets() {
                pending[to] |= flow.join(&mut states[to], &state);
            }
        }
    }
    // What was noted on the way may be of values that were not known to differ yet.
    flow.outputs = Outputs::default();
    for (block, state) in blocks.list.iter().zip(&mut states) {
        for state in state.iter_mut() {
            for index in block.first..block.end {
                flow.step(index, state);
            }
        }
    }
    flow.outputs
}

struct Flow<'f> {
    function: &'f Function,
    buffers: Buffers,
    /// Records of rings that were reserved: map and bytes, by buffer.
    reserved: BTreeMap<usize, (usize, Option<i64>)>,
    /// Values that were looked up: the map, by buffer.
    looked_up: BTreeMap<usize, usize>,
    outputs: Outputs,
}

impl<'f> Flow<'f> {
    fn new(function: &'f Function) -> Self {
        Flow {
            function,
            buffers: Buffers::new(),
            reserved: BTreeMap::new(),
            looked_up: BTreeMap::new(),
            outputs: Outputs::default(),
        }
    }

    fn joined(&mut self, a: Value, b: Value) -> Value {
        match (a, b) {
            (a, b) if a == b => a,
            (Value::At(a, at), Value::At(b, other)) if at == other => {
                let either = self.buffers.joined(a, b);
                either.map_or(Value::Other, |either| Value::At(either, at))
            }
            // Null joins any pointer: nobody writes there.
            (Value::Number(0), at @ Value::At(..)) | (at @ Value::At(..), Value::Number(0)) => at,
            _ => Value::Other,
        }
    }

    /// Joins `state` into what is known at a block's start; whether that changed.
    fn join(&mut self, known: &mut Option<State>, state: &State) -> bool {
        let Some(known) = known else {
            *known = Some(state.clone());
            return true;
        };
        let before = known.clone();
        for (mine, other) in known.regs.iter_mut().zip(state.regs) {
            *mine = self.joined(*mine, other);
        }
        known
            .spilled
            .retain(|at, mine| match state.spilled.get(at) {
                Some(other) => {
                    *mine = self.joined(*mine, *other);
                    *mine != Value::Other
                }
                None => false,
            });
        known.writes.extend(&state.writes);
        *known != before
    }

    fn step(&mut self, index: usize, state: &mut State) {
        let insn = &self.function.insns[index];
        match insn.row.shape {
            Shape::Constant => {
                state.regs[usize::from(insn.dst)] = match insn.reference {
                    Some(Ref::Map(map)) => Value::Map(map),
                    None => Value::Number(insn.imm),
                    Some(_) => Value::Other,
                }
            }
            Shape::Move | Shape::Binary(..) => arithmetic(insn, state),
            Shape::Load(_) => {
                let off = i64::from(insn.off);
                let known = match state.reg(insn.src) {
                    Value::At(Either::FRAME, at) if insn.bytes() == 8 => {
                        state.spilled.get(&(at + off)).copied()
                    }
                    Value::At(either, at) => {
                        let mut buffers = self.buffers.of(either).iter();
                        let map = buffers.find_map(|buffer| self.looked_up.get(buffer));
                        map.map(|map| Value::Loaded(*map, at + off))
                    }
                    _ => None,
                };
                state.regs[usize::from(insn.dst)] = known.unwrap_or(Value::Other);
            }
            Shape::Store => self.store(insn, state),
            Shape::Helper if insn.reference.is_none() => self.helper(index, insn, state),
            Shape::Helper | Shape::Kfunc | Shape::Local | Shape::Packet => {
                state.regs[..6].fill(Value::Other);
            }
            _ if insn.overwrites(insn.dst) => state.regs[usize::from(insn.dst)] = Value::Other,
            _ => {}
        }
    }

    fn store(&mut self, insn: &Insn, state: &mut State) {
        let Value::At(to, at) = state.reg(insn.dst) else {
            return;
        };
        let at = at + i64::from(insn.off);
        let size = i64::from(insn.bytes());
        let value = match insn.operand() {
            Operand::Reg(register) => state.reg(register),
            Operand::Imm(imm) => Value::Number(imm),
        };
        let (content, named) = match (value, size) {
            (Value::Number(0), _) => (Content::Zero, ""),
            (Value::Named(name), _) => (Content::Number, name),
            (Value::Halves(_, lower), 4) => (Content::Number, lower),
            _ => (Content::Number, ""),
        };
        let write = Write {
            at,
            size,
            content,
            value: named,
            copied: match value {
                Value::Loaded(map, from) => Some((map, from)),
                _ => None,
            },
            slot: insn.slot,
        };
        self.write(state, to, write);
        if to == Either::FRAME {
            state.spilled.retain(|spilled, _| (spilled - at).abs() >= 8);
            if size == 8 && value != Value::Other {
                state.spilled.insert(at, value);
            }
        }
    }

    /// Notes a write; what it covers is gone.
    fn write(&mut self, state: &mut State, to: Either, write: Write) {
        for buffer in self.buffers.of(to) {
            state.writes.retain(|(other, old)| {
                let is_covered = old.at >= write.at && old.at + old.size <= write.at + write.size;
                other != buffer || !is_covered
            });
            state.writes.insert((*buffer, write));
            if let Some(map) = self.looked_up.get(buffer) {
                self.outputs.values.insert((*map, write));
            }
        }
    }

    fn helper(&mut self, index: usize, insn: &Insn, state: &mut State) {
        let before = state.regs;
        let number = |register: u8| match before[usize::from(register)] {
            Value::Number(number) => Some(number),
            _ => None,
        };
        let written = match insn.imm {
            id::PROBE_READ | id::READ_USER | id::READ_KERNEL => {
                let content = match number(2) {
                    Some(1 | 2 | 4 | 8) => Content::Number,
                    _ => Content::Bytes,
                };
                Some((number(2), content, ""))
            }
            id::PROBE_READ_STR | id::READ_USER_STR | id::READ_KERNEL_STR => {
                Some((number(2), Content::Text, ""))
            }
            id::COMM => Some((number(2), Content::Text, "comm")),
            _ => None,
        };
        if let (Some((Some(size), content, value)), Value::At(to, at)) = (written, state.reg(1)) {
            let write = Write {
                at,
                size,
                content,
                value,
                copied: None,
                slot: insn.slot,
            };
            self.write(state, to, write);
            if to == Either::FRAME {
                let clobbered = at..at + size;
                state
                    .spilled
                    .retain(|at, _| !(*at < clobbered.end && at + 8 > clobbered.start));
            }
        }
        self.output(index, insn, state);
        self.forget(index, insn, state);
        state.regs[..6].fill(Value::Other);
        state.regs[0] = match insn.imm {
            id::MAP_LOOKUP | id::RING_RESERVE => Value::At(self.buffers.only(index + 1), 0),
            id::KTIME | id::KTIME_BOOT => Value::Named("time"),
            id::PID_TGID => Value::Halves("pid", "tid"),
            id::UID_GID => Value::Halves("gid", "uid"),
            _ => Value::Other,
        };
    }

    /// Notes what a helper sends, or puts into a map.
    fn output(&mut self, index: usize, insn: &Insn, state: &State) {
        let number = |register: u8| match state.reg(register) {
            Value::Number(number) => Some(number),
            _ => None,
        };
        match (
            insn.imm,
            state.reg(1),
            state.reg(2),
            state.reg(3),
            state.reg(4),
        ) {
            (id::PERF_OUTPUT, _, Value::Map(map), _, Value::At(of, at)) => {
                self.send(state, map, (of, at), number(5));
            }
            (id::RING_OUTPUT, Value::Map(map), Value::At(of, at), ..) => {
                self.send(state, map, (of, at), number(3));
            }
            (id::RING_RESERVE, Value::Map(map), ..) => {
                self.reserved.insert(index + 1, (map, number(2)));
            }
            (id::RING_SUBMIT, Value::At(of, 0), ..) => {
                let records = self.buffers.of(of).iter();
                let records =
                    records.filter_map(|record| Some((*record, *self.reserved.get(record)?)));
                for (record, (map, size)) in records.collect::<Vec<_>>() {
                    self.send_of(state, map, (record, 0), size);
                }
            }
            (id::MAP_LOOKUP, Value::Map(map), ..) => {
                self.looked_up.insert(index + 1, map);
            }
            (id::MAP_UPDATE, Value::Map(map), _, Value::At(of, at), _) => {
                for buffer in self.buffers.of(of) {
                    let values = written(state, *buffer, at);
                    self.outputs.values.extend(values.map(|write| (map, write)));
                }
            }
            _ => {}
        }
    }

    /// Of a record that is given back nothing is left, and a new one holds nothing.
    fn forget(&self, index: usize, insn: &Insn, state: &mut State) {
        match (insn.imm, state.reg(1)) {
            (id::RING_SUBMIT | id::RING_DISCARD, Value::At(of, 0)) => {
                let records = self.buffers.of(of);
                state.writes.retain(|(record, _)| !records.contains(record));
            }
            (id::RING_RESERVE, _) => state.writes.retain(|(record, _)| *record != index + 1),
            _ => {}
        }
    }

    /// Notes that `size` bytes at `from`, a place in a buffer, are sent through `map`.
    fn send(&mut self, state: &State, map: usize, from: (Either, i64), size: Option<i64>) {
        let buffers: Vec<usize> = self.buffers.of(from.0).iter().copied().collect();
        for buffer in buffers {
            self.send_of(state, map, (buffer, from.1), size);
        }
    }

    /// The same of one buffer.
    fn send_of(&mut self, state: &State, map: usize, from: (usize, i64), size: Option<i64>) {
        let value_of = self.looked_up.get(&from.0);
        self.outputs.sent.push(Sent {
            map,
            value_of: value_of.map(|value| (*value, from.1)),
            size,
            writes: written(state, from.0, from.1).collect(),
        });
    }
}

/// What was written last to buffer `of`, by places from `from` on.
fn written(state: &State, of: usize, from: i64) -> impl Iterator<Item = Write> {
    let here = state.writes.iter().filter(move |(buffer, _)| *buffer == of);
    here.map(move |(_, write)| Write {
        at: write.at - from,
        ..*write
    })
}

fn arithmetic(insn: &Insn, state: &mut State) {
    let dst = state.reg(insn.dst);
    let src = match insn.operand() {
        _ if insn.is_relocated() => Value::Other,
        Operand::Reg(register) => state.reg(register),
        Operand::Imm(imm) => Value::Number(imm),
    };
    let value = match (insn.is_wide(), insn.row.mnemonic, dst, src) {
        (true, "mov", _, src) => src,
        (false, "mov", _, Value::Number(n)) => Value::Number(n & 0xffff_ffff),
        (false, "mov", _, Value::Halves(_, lower)) => Value::Named(lower),
        (true, "add", Value::At(buffer, at), Value::Number(n)) => Value::At(buffer, at + n),
        (true, "add", Value::Number(n), Value::At(buffer, at)) => Value::At(buffer, at + n),
        (true, "sub", Value::At(buffer, at), Value::Number(n)) => Value::At(buffer, at - n),
        (true, "rsh", Value::Halves(upper, _), Value::Number(32)) => Value::Named(upper),
        // Another unit of it.
        (_, "div", Value::Named("time"), Value::Number(_)) => Value::Named("time"),
        _ => Value::Other,
    };
    state.regs[usize::from(insn.dst)] = value;
}
