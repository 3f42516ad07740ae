//! How much of its context a program reads, so that a hit need not copy the rest.
//!
//! Accesses at known places of the context are translated relative to the stack, and noted. What else is still done with
//! the pointer is found in the IR: unless it is only handed to helpers that do not look behind it, all is copied.

use std::collections::HashSet;

use abi::imports::BPF;
use cranelift_codegen::ir::{FuncRef, Function as Ir, InstructionData, Opcode, Value};

use super::function::Function;

/// Helpers that only take a context for the sake of the kernel's own.
const INDIFFERENT: &[&str] = &[
    "perf_event_output",
    "get_stackid",
    "get_stack",
    "get_attach_cookie",
    "get_func_ip",
];

impl Function<'_, '_> {
    /// Notes an access of `bytes` bytes so far from the stack's base.
    pub(super) fn reads(&mut self, at: i32, bytes: u32) {
        let end = i64::from(at) + i64::from(bytes) + i64::from(abi::layout::CONTEXT_SIZE);
        // What lies above the context is the stack.
        if at < 0 {
            self.context_read = self.context_read.max(end as u32);
        }
    }

    /// Bytes of the context that a hit must copy; `u32::MAX`: all there are.
    pub(super) fn context_used(&self, context: Value) -> u32 {
        let indifferent: HashSet<FuncRef> = self.indifferent().collect();
        match escapes(self.b.func, context, &indifferent) {
            true => u32::MAX,
            false => self.context_read,
        }
    }

    fn indifferent(&self) -> impl Iterator<Item = FuncRef> {
        let imports = (0..).zip(&self.module.imports);
        imports
            .filter(|(_, import)| import.module == BPF && INDIFFERENT.contains(&import.name))
            .filter_map(|(index, _)| self.host_function(index))
    }
}

/// Whether anything but address arithmetic, and calls of `indifferent` functions, is done with `pointer`.
fn escapes(ir: &Ir, pointer: Value, indifferent: &HashSet<FuncRef>) -> bool {
    let mut derived = HashSet::from([pointer]);
    for block in ir.layout.blocks() {
        for inst in ir.layout.block_insts(block) {
            let uses = |value: &Value| derived.contains(&ir.dfg.resolve_aliases(*value));
            let data = &ir.dfg.insts[inst];
            let in_branch = data
                .branch_destination(&ir.dfg.jump_tables, &ir.dfg.exception_tables)
                .iter()
                .flat_map(|call| call.args(&ir.dfg.value_lists))
                .filter_map(|arg| arg.as_value())
                .any(|value| uses(&value));
            if in_branch {
                return true;
            }
            if !ir.dfg.inst_args(inst).iter().any(uses) {
                continue;
            }
            match data {
                InstructionData::Call { func_ref, .. } if indifferent.contains(func_ref) => {}
                _ => match data.opcode() {
                    Opcode::Ireduce | Opcode::Iadd | Opcode::Uextend => {
                        derived.extend(ir.dfg.inst_results(inst));
                    }
                    _ => return true,
                },
            }
        }
    }
    false
}
