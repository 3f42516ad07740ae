//! A function body under construction.
//!
//! Calls stay symbolic until all imports are known. Two rewrites happen while bytes are appended: a local that is set and read at once stays on
//! the operand stack, and a zero extension that is wrapped at once vanishes. A local whose every use vanishes so is not declared: it gets its
//! index when an instruction first names it.

use alloc::vec::Vec;

use wasm_encoder::{Encode, Instruction as W, ValType};

use super::resized::Resized;

const CALL: u8 = 0x10;
const LOCAL_GET: u8 = 0x20;
const LOCAL_SET: u8 = 0x21;
const LOCAL_TEE: u8 = 0x22;

/// What a call calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Callee {
    /// `env.trap`.
    Trap,
    /// A helper, by id.
    Helper(u32),
    /// `bpf.tail_call_within`.
    TailCallWithin,
    /// `bpf.tail_call_result`.
    TailCallResult,
    /// `bpf.packet_load*`, by bytes.
    PacketLoad(u32),
    /// `bpf.probe_load*`, by bytes.
    ProbeLoad(u32),
    /// An item of [`abi::imports::ATOMICS`], by index.
    Atomic(usize),
    /// A kernel function, by the index of its extern.
    Kfunc(usize),
    /// A function of the object, by index.
    Local(usize),
    /// A function that the translator adds.
    Resized(Resized),
}

/// Bytes of a body, without its locals.
#[derive(Default)]
pub(crate) struct Body {
    bytes: Vec<u8>,
    /// Where the code of each instruction begins: slot, offset.
    marks: Vec<(u32, usize)>,
    /// Where calls stand that need an index.
    calls: Vec<(usize, Callee)>,
    /// The locals after the parameters: types, and indices of those in use.
    locals: Vec<(ValType, Option<u32>)>,
    /// Types of those in use, by index.
    declared: Vec<ValType>,
    params: u32,
    /// A local that is to be set to the top of the operand stack.
    pending: Option<u32>,
    /// The length after the last `i64.extend_i32_u`.
    extended: usize,
}

impl Body {
    /// A body with so many i64 parameters, for about so many instructions.
    pub(crate) fn new(params: u32, insns: usize) -> Self {
        Body {
            bytes: Vec::with_capacity(8 * insns),
            marks: Vec::with_capacity(insns),
            calls: Vec::with_capacity(insns / 8),
            locals: Vec::with_capacity(16),
            declared: Vec::with_capacity(16),
            params,
            ..Body::default()
        }
    }

    /// A new local. Its number is not yet its index.
    pub(crate) fn local(&mut self, ty: ValType) -> u32 {
        self.locals.push((ty, None));
        self.params + self.locals.len() as u32 - 1
    }

    /// The index of a local that an instruction names.
    fn index_of(&mut self, local: u32) -> u32 {
        let Some(at) = local.checked_sub(self.params) else {
            return local;
        };
        let (ty, index) = &mut self.locals[at as usize];
        *index.get_or_insert_with(|| {
            self.declared.push(*ty);
            self.params + self.declared.len() as u32 - 1
        })
    }

    /// What follows is the code of the instruction at `slot`.
    pub(crate) fn mark(&mut self, slot: u32) {
        self.marks.push((slot, self.bytes.len()));
    }

    /// Appends an instruction.
    pub(crate) fn op(&mut self, op: &W<'_>) {
        self.flush();
        match op {
            W::LocalGet(local) => self.local_op(LOCAL_GET, *local),
            W::LocalSet(local) => self.local_op(LOCAL_SET, *local),
            W::LocalTee(local) => self.local_op(LOCAL_TEE, *local),
            _ => op.encode(&mut self.bytes),
        }
    }

    /// Appends an instruction that names a local.
    fn local_op(&mut self, opcode: u8, local: u32) {
        let index = self.index_of(local);
        self.bytes.push(opcode);
        index.encode(&mut self.bytes);
    }

    /// Appends several.
    pub(crate) fn ops(&mut self, ops: &[W<'_>]) {
        ops.iter().for_each(|op| self.op(op));
    }

    /// Calls `callee`.
    pub(crate) fn call(&mut self, callee: Callee) {
        self.flush();
        self.bytes.push(CALL);
        self.calls.push((self.bytes.len(), callee));
    }

    /// Pops into `local`.
    pub(crate) fn set(&mut self, local: u32) {
        self.flush();
        self.pending = Some(local);
    }

    /// Pushes `local`, which may be read again.
    pub(crate) fn get(&mut self, local: u32) {
        if self.pending == Some(local) {
            self.pending = None;
            self.op(&W::LocalTee(local));
        } else {
            self.op(&W::LocalGet(local));
        }
    }

    /// Pushes `local`, which is not read again before it is set.
    pub(crate) fn take(&mut self, local: u32) {
        if self.pending == Some(local) {
            self.pending = None;
        } else {
            self.op(&W::LocalGet(local));
        }
    }

    /// Zero-extends to 64 bits.
    pub(crate) fn extend(&mut self) {
        self.op(&W::I64ExtendI32U);
        self.extended = self.bytes.len();
    }

    /// Cuts to 32 bits.
    pub(crate) fn wrap(&mut self) {
        if self.pending.is_none() && self.extended == self.bytes.len() && self.extended > 0 {
            self.bytes.pop();
            self.extended = 0;
            let end = self.bytes.len();
            self.move_marks(|offset| offset > end);
        } else {
            self.op(&W::I32WrapI64);
        }
    }

    fn flush(&mut self) {
        if let Some(local) = self.pending.take() {
            let at = self.bytes.len();
            self.local_op(LOCAL_SET, local);
            // It belongs to the instruction before.
            self.move_marks(|offset| offset == at);
        }
    }

    /// Moves the last marks, those at `which` offsets, to the end.
    fn move_marks(&mut self, which: impl Fn(usize) -> bool) {
        let end = self.bytes.len();
        let marks = self.marks.iter_mut().rev();
        marks
            .take_while(|(_, offset)| which(*offset))
            .for_each(|m| m.1 = end);
    }

    /// The functions it calls.
    pub(crate) fn callees(&self) -> impl Iterator<Item = Callee> + Clone {
        self.calls.iter().map(|(_, callee)| *callee)
    }

    /// The body as the code section wants it.
    pub(crate) fn finish(mut self, prologue: &[W<'static>], index: impl Fn(Callee) -> u32) -> Code {
        self.flush();
        let after = self.bytes.len();
        self.ops(prologue);
        let mut out = Vec::with_capacity(self.bytes.len() + 64);
        encode_locals(&self.declared, &mut out);
        out.extend_from_slice(&self.bytes[after..]);
        self.bytes.truncate(after);
        let mut marks = Vec::with_capacity(self.marks.len());
        let mut open = self.marks.into_iter().peekable();
        let mut done = 0;
        for (at, callee) in &self.calls {
            let moved = out.len() - done;
            while let Some((slot, offset)) = open.next_if(|m| m.1 < *at) {
                marks.push((slot, offset + moved));
            }
            out.extend_from_slice(&self.bytes[done..*at]);
            index(*callee).encode(&mut out);
            done = *at;
        }
        let moved = out.len() - done;
        marks.extend(open.map(|(slot, offset)| (slot, offset + moved)));
        out.extend_from_slice(&self.bytes[done..]);
        W::End.encode(&mut out);
        Code { bytes: out, marks }
    }
}

/// A finished body.
pub(crate) struct Code {
    /// With locals and prologue.
    pub(crate) bytes: Vec<u8>,
    /// Where the code of each instruction begins, upwards: slot, offset.
    pub(crate) marks: Vec<(u32, usize)>,
}

/// Locals as runs of one type.
fn encode_locals(locals: &[ValType], out: &mut Vec<u8>) {
    let runs: Vec<_> = locals.chunk_by(|a, b| a == b).collect();
    runs.len().encode(out);
    for run in runs {
        run.len().encode(out);
        run[0].encode(out);
    }
}
