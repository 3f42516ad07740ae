//! Functions that a module brings along for accesses to fields of unforeseen width. They take what translated code finds unusual: a
//! relocation's value that is poison, or [`abi::imports::resized`].

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use abi::imports::POISON;
use abi::layout::TAG;
use abi::traps::Trap;
use wasm_encoder::{BlockType, Instruction as W, MemArg, MemArgTarget, ValType};

use super::body::{Body, Callee};

/// One such function. Parameters, all i64: the base register, the relocation's value, the site, and what is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Resized {
    /// A load from guest memory, of whose address the low half counts.
    GuestLoad,
    /// A load from guest or kernel memory.
    Load,
    /// A store to guest memory; the result means nothing.
    Store,
}

const BASE: u32 = 0;
const VALUE: u32 = 1;
const SITE: u32 = 2;
const STORED: u32 = 3;

const AT: MemArg = MemArg {
    offset: 0,
    align: 0,
    target: MemArgTarget::Memory(0),
    ordering: None,
};

impl Resized {
    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Resized::GuestLoad => "resized_guest_load",
            Resized::Load => "resized_load",
            Resized::Store => "resized_store",
        }
    }

    /// How many parameters it has.
    pub(crate) fn params(self) -> u32 {
        match self {
            Resized::GuestLoad | Resized::Load => 3,
            Resized::Store => 4,
        }
    }

    fn body(self) -> Body {
        let mut body = Body::new(self.params(), 0);
        body.ops(&[W::LocalGet(VALUE), W::I64Const(POISON), W::I64Eq]);
        trap_if(&mut body, Trap::Poison);
        let address = body.local(ValType::I64);
        let low = i64::from(u32::MAX);
        body.ops(&[W::LocalGet(BASE), W::LocalGet(VALUE)]);
        body.ops(&[W::I64Const(low), W::I64And, W::I64Add, W::LocalSet(address)]);
        let is_guest = [
            W::LocalGet(address),
            W::I64Const(32),
            W::I64ShrU,
            W::I64Const(i64::from(TAG)),
            W::I64Eq,
        ];
        match self {
            Resized::GuestLoad => by_width(&mut body, |b, bytes| guest_load(b, address, bytes)),
            Resized::Load => {
                body.ops(&is_guest);
                body.op(&W::If(BlockType::Empty));
                by_width(&mut body, |b, bytes| guest_load(b, address, bytes));
                body.ops(&[W::Return, W::End]);
                by_width(&mut body, |b, bytes| {
                    b.op(&W::LocalGet(address));
                    b.call(Callee::ProbeLoad(bytes));
                });
            }
            Resized::Store => {
                body.ops(&is_guest);
                body.op(&W::I32Eqz);
                trap_if(&mut body, Trap::WildStore);
                by_width(&mut body, |b, bytes| store(b, address, bytes));
            }
        }
        body
    }
}

/// The functions that `callees` name, in order.
pub(crate) fn bodies(callees: impl Iterator<Item = Callee>) -> Vec<(Resized, Body)> {
    let kinds: BTreeSet<Resized> = callees
        .filter_map(|callee| match callee {
            Callee::Resized(kind) => Some(kind),
            _ => None,
        })
        .collect();
    kinds.into_iter().map(|kind| (kind, kind.body())).collect()
}

/// Pops a condition and traps at the caller's site if it holds.
fn trap_if(body: &mut Body, trap: Trap) {
    body.ops(&[
        W::If(BlockType::Empty),
        W::I32Const(trap as i32),
        W::LocalGet(SITE),
        W::I32WrapI64,
    ]);
    body.call(Callee::Trap);
    body.ops(&[W::Unreachable, W::End]);
}

/// Pushes what `access` pushes for the width that the relocation's value has.
fn by_width(body: &mut Body, mut access: impl FnMut(&mut Body, u32)) {
    for bytes in [1, 2, 4] {
        body.ops(&[
            W::LocalGet(VALUE),
            W::I64Const(32),
            W::I64ShrU,
            W::I64Const(i64::from(bytes)),
            W::I64Eq,
            W::If(BlockType::Empty),
        ]);
        access(body, bytes);
        body.ops(&[W::Return, W::End]);
    }
    access(body, 8);
}

fn guest_load(body: &mut Body, address: u32, bytes: u32) {
    let load = match bytes {
        1 => W::I64Load8U(AT),
        2 => W::I64Load16U(AT),
        4 => W::I64Load32U(AT),
        _ => W::I64Load(AT),
    };
    body.ops(&[W::LocalGet(address), W::I32WrapI64, load]);
}

fn store(body: &mut Body, address: u32, bytes: u32) {
    let store = match bytes {
        1 => W::I64Store8(AT),
        2 => W::I64Store16(AT),
        4 => W::I64Store32(AT),
        _ => W::I64Store(AT),
    };
    body.ops(&[
        W::LocalGet(address),
        W::I32WrapI64,
        W::LocalGet(STORED),
        store,
    ]);
    body.op(&W::I64Const(0));
}
