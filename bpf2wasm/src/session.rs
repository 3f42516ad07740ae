//! Sessions: one program that runs at a function's entry and at its return. What it asks about the session lies behind its
//! context, and so does what it gives (`abi::layout`).

use alloc::borrow::ToOwned;

use abi::helpers::{SESSION_COOKIE, SESSION_IS_RETURN};
use abi::layout::{self, CONTEXT_SIZE, guest_ptr};
use abi::manifest::Extern;
use wasm_encoder::{Instruction as W, MemArg, MemArgTarget};

use crate::analysis::Analysed;
use crate::error::{Error, ReferenceError, Result};
use crate::isa::insn::{Insn, Ref};
use crate::object::btf::essential;
use crate::object::{Function, Object};

/// Each of the words.
const WORD: MemArg = MemArg {
    offset: 0,
    align: 3,
    target: MemArgTarget::Memory(0),
    ordering: None,
};

/// What a program asks about its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    IsReturn,
    Cookie,
}

impl Asked {
    /// What `insn` asks, if it calls one of these kernel functions.
    pub(crate) fn of(insn: &Insn, externs: &[Extern]) -> Option<Self> {
        let Some(Ref::Extern(index)) = insn.reference else {
            return None;
        };
        // Flavours tell apart that later kernels want the context as well.
        match essential(&externs.get(index)?.name) {
            SESSION_IS_RETURN => Some(Asked::IsReturn),
            SESSION_COOKIE => Some(Asked::Cookie),
            _ => None,
        }
    }

    /// Pushes the answer.
    pub(crate) fn answer(self, mut op: impl FnMut(&W<'static>)) {
        match self {
            Asked::IsReturn => {
                address(layout::SESSION_IS_RETURN).iter().for_each(&mut op);
                op(&W::I64Load(WORD));
            }
            Asked::Cookie => {
                address(layout::SESSION_COOKIE).iter().for_each(&mut op);
                op(&W::I64ExtendI32U);
                op(&W::I64Const(guest_ptr(0) as i64));
                op(&W::I64Add);
            }
        }
    }
}

/// Whether what `function` returns is the result of a session's program.
pub(crate) fn gives(function: &Function) -> bool {
    let program = function.program.as_ref();
    program.is_some_and(|program| program.attach.is_session())
}

/// Before the result is pushed, where it goes.
pub(crate) const fn result() -> [W<'static>; 3] {
    address(layout::SESSION_RESULT)
}

/// After that.
pub(crate) const fn give() -> [W<'static>; 2] {
    [W::I64Store(WORD), W::I64Const(0)]
}

/// Pushes where the word is that lies `at` bytes from the context, which is below the stack.
const fn address(at: u32) -> [W<'static>; 3] {
    let from_stack = at as i32 - CONTEXT_SIZE as i32;
    [W::GlobalGet(0), W::I32Const(from_stack), W::I32Add]
}

/// Refuses questions about a session in what programs call that are of none.
pub(crate) fn check(object: &Object<'_>, analysed: &Analysed) -> Result<()> {
    let programs = object.functions.iter().enumerate();
    let programs = programs.filter(|(_, f)| f.program.is_some() && !gives(f));
    for (root, program) in programs {
        for index in analysed.graph.reached(root) {
            let Some(analysis) = &analysed.functions[index] else {
                continue;
            };
            let function = &object.functions[index];
            // What is not reached is not looked at, as by the verifier.
            let blocks = analysis.blocks.list.iter();
            let mut insns = blocks.flat_map(|block| &function.insns[block.first..block.end]);
            if let Some(insn) = insns.find(|insn| Asked::of(insn, &object.externs).is_some()) {
                let callee = match insn.reference {
                    Some(Ref::Extern(index)) => object.externs[index].name.to_owned(),
                    _ => continue,
                };
                let error = ReferenceError::Session(callee);
                return Err(Error::at(insn.slot as usize, error).in_program(&program.name));
            }
        }
    }
    Ok(())
}
