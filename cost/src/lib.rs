//! What wasm costs a run, and where it is paid: once, for every engine.
//!
//! A run has a budget of units. A unit is one plain operator of wasm: an addition, a load, a taken or untaken branch. What
//! takes longer costs more ([`operator()`]); what leaves no instruction behind costs nothing.
//!
//! # Where it is paid
//!
//! A function's body falls into **stretches**: what lies in no loop, and each loop without the loops in it. Nothing of a
//! stretch is reached twice but by its beginning, so each is paid for there, before any of it is done:
//!
//! * what lies in no loop, where the function is entered ([`Costs::entry`]);
//! * a loop, at each turn, where branches to it lead ([`Costs::loops`], in the order in which the loops begin).
//!
//! Each place where something is paid costs [`PLACE`] itself, which is what a turn of an empty loop costs, and so does an arm of an `if`. Of its arms
//! one is taken: the dearer one counts. Code that is never reached counts as any other.
//!
//! Of a function that only the runtime calls, once a run or a tail call, the first [`UNPAID`] units are the hit's.
//!
//! # What bodies are
//!
//! This crate reads bodies by itself, so that it fits compilers with any parser, and the kernel. A body is expected to have been validated;
//! what it cannot follow gives `None`. It knows the operators of wasm 1.0 with sign extension, bulk memory and references.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod body;
mod module;
mod wasmi;

pub use body::{Costs, function};
pub use module::most_locals;

/// What paying costs, and so the shortest turn of a loop.
pub const PLACE: u64 = 1;
/// What a call costs, of whatever function: the frame, the arguments, and the way back. What an imported function does, it
/// asks for itself.
pub const CALL: u64 = 16;
/// What a division or a remainder costs: other operators take a cycle, these ten to forty.
pub const DIVISION: u64 = 8;
/// What counting bits costs, for which the plainest x86-64 has no instruction.
pub const COUNT: u64 = 4;
/// What a branch by a table costs: native code finds its target by halves.
pub const TABLE: u64 = 8;
/// What an operator costs that moves bytes or elements, besides one unit for so many bytes.
pub const BULK: u64 = 16;
/// Bytes that [`BULK`] operators move for a unit.
pub const BYTES: u64 = 16;
/// What a hit pays of a program: a stretch that only the runtime enters is paid for if it costs more.
pub const UNPAID: u64 = 256;
/// Locals of a function at most, parameters aside: an engine may have to clear them at each call.
pub const MAX_LOCALS: u64 = 256;

/// Opcodes that are more than a unit, or lead to other bytes than a plain operator's.
pub(crate) mod op {
    pub(crate) const UNREACHABLE: u8 = 0x00;
    pub(crate) const NOP: u8 = 0x01;
    pub(crate) const BLOCK: u8 = 0x02;
    pub(crate) const LOOP: u8 = 0x03;
    pub(crate) const IF: u8 = 0x04;
    pub(crate) const ELSE: u8 = 0x05;
    pub(crate) const END: u8 = 0x0b;
    pub(crate) const BR: u8 = 0x0c;
    pub(crate) const BR_IF: u8 = 0x0d;
    pub(crate) const BR_TABLE: u8 = 0x0e;
    pub(crate) const RETURN: u8 = 0x0f;
    pub(crate) const CALL: u8 = 0x10;
    pub(crate) const CALL_INDIRECT: u8 = 0x11;
    pub(crate) const DROP: u8 = 0x1a;
    pub(crate) const SELECT: u8 = 0x1b;
    pub(crate) const SELECT_TYPED: u8 = 0x1c;
    pub(crate) const LOCAL_GET: u8 = 0x20;
    pub(crate) const TABLE_SET: u8 = 0x26;
    pub(crate) const FIRST_ACCESS: u8 = 0x28;
    pub(crate) const LAST_ACCESS: u8 = 0x3e;
    pub(crate) const MEMORY_SIZE: u8 = 0x3f;
    pub(crate) const MEMORY_GROW: u8 = 0x40;
    pub(crate) const I32_CONST: u8 = 0x41;
    pub(crate) const I64_CONST: u8 = 0x42;
    pub(crate) const FIRST_PLAIN: u8 = 0x45;
    pub(crate) const LAST_PLAIN: u8 = 0xc4;
    pub(crate) const REF_NULL: u8 = 0xd0;
    pub(crate) const REF_IS_NULL: u8 = 0xd1;
    pub(crate) const REF_FUNC: u8 = 0xd2;
    pub(crate) const PREFIX: u8 = 0xfc;
}

/// What the operator with this opcode costs, in units; those behind the prefix 0xfc are all [`BULK`].
pub const fn operator(opcode: u8) -> u64 {
    match opcode {
        op::UNREACHABLE | op::NOP | op::ELSE | op::END | op::RETURN | op::DROP => 0,
        // A turn of a loop pays for the branch back, and a block for the one out of it.
        op::LOOP | op::BR => 0,
        op::CALL | op::CALL_INDIRECT => CALL,
        op::BR_TABLE => TABLE,
        op::MEMORY_GROW | op::PREFIX => BULK,
        // i32.clz to i32.popcnt, and of i64.
        0x67..=0x69 | 0x79..=0x7b => COUNT,
        // i32.div_s to i32.rem_u, and of i64.
        0x6d..=0x70 | 0x7f..=0x82 => DIVISION,
        _ => 1,
    }
}
