//! Calls: helpers, functions of the object, kernel functions.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;

use abi::helpers;
use abi::layout::{CPU_AREA, stack_base};
use abi::traps::Trap;
use wasm_encoder::{BlockType, Instruction as W};

use super::{Lower, Width};
use crate::emit::body::Callee;
use crate::emit::imports::Array;
use crate::error::ReferenceError;
use crate::isa::insn::{Insn, Ref};
use crate::isa::table::Shape;
use crate::session::Asked;
use crate::types::{Base, arity};

/// What a tail call leaves in r0 that is not taken.
const ENOENT: i64 = 2;

impl Lower<'_> {
    pub(super) fn call(&mut self, insn: &Insn) -> Result<(), ReferenceError> {
        if let Some(asked) = Asked::of(insn, self.shared.externs) {
            asked.answer(|op| self.body.op(op));
            self.write(0, Width::Wide);
            return Ok(());
        }
        let callee = match (insn.reference, &insn.row.shape) {
            (Some(Ref::Function(function)), _) => Callee::Local(function),
            (Some(Ref::Extern(index)), _) => Callee::Kfunc(index),
            (_, Shape::Helper) => match u32::try_from(insn.imm).ok().and_then(helpers::by_id) {
                Some(row) if row.id == helpers::TAIL_CALL && self.function.program.is_none() => {
                    self.tail_call_within();
                    return Ok(());
                }
                Some(row) => {
                    if let Some((array, key)) = self.array() {
                        self.element(array, key);
                        return Ok(());
                    }
                    Callee::Helper(row.id)
                }
                // No kernel has it, or libbpf poisoned it: what is never reached is no reason to refuse a program.
                None => {
                    self.lack(format!("helper {}", insn.imm));
                    self.trap(Trap::NoHelper);
                    return Ok(());
                }
            },
            _ => return Err(ReferenceError::Callee(insn.imm)),
        };
        if let Some(provided) = self.shared.globals.provided(callee) {
            let (global, name) = (provided.0, provided.1.to_owned());
            self.lack(name);
            self.body.ops(&[W::GlobalGet(global), W::I64Eqz]);
            self.body.op(&W::If(BlockType::Empty));
            self.trap(Trap::NoHelper);
            self.body.op(&W::End);
        }
        let passed = arity(insn, self.shared.params) as u8;
        for register in 1..=passed {
            self.take(register, Width::Wide);
        }
        // A callback takes five arguments however few it reads.
        if let Callee::Local(function) = callee
            && self.shared.callbacks[function].is_some()
        {
            (passed..5).for_each(|_| self.body.op(&W::I64Const(0)));
        }
        self.body.call(callee);
        self.write(0, Width::Wide);
        Ok(())
    }

    /// Notes that this instruction calls what this version's runtimes lack.
    fn lack(&mut self, callee: String) {
        self.lacks.push((self.insn().slot, callee));
    }

    /// A tail call that returns to this function's caller, with what the other program gives. What lies below this function's
    /// frame is of those who wait.
    fn tail_call_within(&mut self) {
        for register in 1..=3 {
            self.take(register, Width::Wide);
        }
        self.body.op(&W::I64Const(self.input.frame_at.into()));
        self.body.call(Callee::TailCallWithin);
        self.body
            .ops(&[W::I64Const(0), W::I64Ne, W::If(BlockType::Empty)]);
        self.body.call(Callee::TailCallResult);
        self.body.ops(&[W::Return, W::End, W::I64Const(-ENOENT)]);
        self.write(0, Width::Wide);
    }

    /// Pushes the number of the CPU, whose stack is the frame's.
    fn cpu(&mut self) {
        self.body.ops(&[
            W::GlobalGet(0),
            W::I32Const(stack_base(0) as i32),
            W::I32Sub,
            W::I32Const(CPU_AREA as i32),
            W::I32DivU,
            W::I64ExtendI32U,
        ]);
    }

    /// The array in which this instruction looks up what, if it does.
    fn array(&self) -> Option<(Array, Base)> {
        let lookup = self.input.facts.lookups.get(&self.index)?;
        Some((self.shared.globals.array(lookup.map)?, lookup.key))
    }

    /// Computes where an array's element is; null behind the last.
    fn element(&mut self, array: Array, key: Base) {
        let index = match self.input.constants.key(self.index) {
            Some(key) => {
                let key = W::I64Const(key.into());
                self.body.op(&key);
                key
            }
            None => {
                let at = self.key_address(key);
                let index = self.temporary();
                self.body.ops(&[W::I64Load32U(at), W::LocalTee(index)]);
                W::LocalGet(index)
            }
        };
        self.body.ops(&[
            W::I64Const(i64::from(array.stride)),
            W::I64Mul,
            W::GlobalGet(array.values),
            W::I64Add,
        ]);
        if let Some(apart) = array.apart {
            self.cpu();
            self.body.ops(&[W::GlobalGet(apart), W::I64Mul, W::I64Add]);
        }
        self.body.ops(&[
            W::I64Const(0),
            index,
            W::GlobalGet(array.entries),
            W::I64LtU,
            W::Select,
        ]);
        self.write(0, Width::Wide);
    }
}
