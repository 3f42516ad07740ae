//! Loads and stores, and when they need no check.

use abi::layout;
use abi::native::Vm;
use abi::traps::Trap;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I8, I16, I32, I64};
use cranelift_codegen::ir::{
    InstBuilder, InstructionData, MemFlagsData, Opcode, Type, Value, ValueDef,
};
use wasmparser::{MemArg, Operator};

use super::function::Function;

/// What is in memory, and how it becomes wider.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    ty: Type,
    signed: bool,
}

impl Shape {
    const fn new(ty: Type, signed: bool) -> Self {
        Self { ty, signed }
    }

    /// What a load makes, and of what.
    pub(super) fn load(operator: &Operator<'_>) -> Option<(Type, Self, MemArg)> {
        let (ty, from, signed, arg) = match *operator {
            Operator::I32Load { memarg } => (I32, I32, false, memarg),
            Operator::I64Load { memarg } => (I64, I64, false, memarg),
            Operator::I32Load8S { memarg } => (I32, I8, true, memarg),
            Operator::I32Load8U { memarg } => (I32, I8, false, memarg),
            Operator::I32Load16S { memarg } => (I32, I16, true, memarg),
            Operator::I32Load16U { memarg } => (I32, I16, false, memarg),
            Operator::I64Load8S { memarg } => (I64, I8, true, memarg),
            Operator::I64Load8U { memarg } => (I64, I8, false, memarg),
            Operator::I64Load16S { memarg } => (I64, I16, true, memarg),
            Operator::I64Load16U { memarg } => (I64, I16, false, memarg),
            Operator::I64Load32S { memarg } => (I64, I32, true, memarg),
            Operator::I64Load32U { memarg } => (I64, I32, false, memarg),
            _ => return None,
        };
        Some((ty, Self::new(from, signed), arg))
    }

    /// What a store leaves.
    pub(super) fn store(operator: &Operator<'_>) -> Option<(Self, MemArg)> {
        let (ty, arg) = match *operator {
            Operator::I32Store { memarg } => (I32, memarg),
            Operator::I64Store { memarg } => (I64, memarg),
            Operator::I32Store8 { memarg } | Operator::I64Store8 { memarg } => (I8, memarg),
            Operator::I32Store16 { memarg } | Operator::I64Store16 { memarg } => (I16, memarg),
            Operator::I64Store32 { memarg } => (I32, memarg),
            _ => return None,
        };
        Some((Self::new(ty, false), arg))
    }
}

/// How many instructions back a bound of an address is looked for.
const DEPTH: u32 = 6;
/// Offsets that an instruction has room for.
const MAX_OFFSET: u64 = i32::MAX as u64;

impl Function<'_, '_> {
    pub(super) fn load(&mut self, ty: Type, shape: Shape, address: Value, offset: u64) -> Value {
        let (base, offset) = self.place(address, offset, shape.ty.bytes());
        let flags = MemFlagsData::new().with_notrap();
        let value = self.b.ins().load(shape.ty, flags, base, offset);
        match (shape.ty == ty, shape.signed) {
            (true, _) => value,
            (false, true) => self.b.ins().sextend(ty, value),
            (false, false) => self.b.ins().uextend(ty, value),
        }
    }

    pub(super) fn store(&mut self, shape: Shape, address: Value, offset: u64, value: Value) {
        let (base, offset) = self.place(address, offset, shape.ty.bytes());
        let flags = MemFlagsData::new().with_notrap();
        let value = match self.b.func.dfg.value_type(value) == shape.ty {
            true => value,
            false => self.b.ins().ireduce(shape.ty, value),
        };
        self.b.ins().store(flags, value, base, offset);
    }

    /// The native address of `bytes` bytes at `address + offset`, checked: a base and what to add.
    fn place(&mut self, address: Value, offset: u64, bytes: u32) -> (Value, i32) {
        if let Some(at) = self.in_area(address, offset, bytes) {
            self.reads(at, bytes);
            let stack = self.field(I64, std::mem::offset_of!(Vm, stack));
            return (stack, at);
        }
        let memory = u64::from(self.module.memory);
        let end = offset + u64::from(bytes);
        if let Some(known) = self.constant(address)
            && known + end <= memory
            && known + offset <= MAX_OFFSET
        {
            let base = self.field(I64, std::mem::offset_of!(Vm, memory));
            return (base, (known + offset) as i32);
        }
        self.check(address, end);
        let base = self.field(I64, std::mem::offset_of!(Vm, memory));
        let address = self.b.ins().uextend(I64, address);
        let at = self.b.ins().iadd(base, address);
        match i32::try_from(offset) {
            Ok(offset) => (at, offset),
            // Behind a check that holds for no such offset in memory of 2 GiB or less.
            Err(_) => (self.b.ins().iadd_imm_s(at, offset as i64), 0),
        }
    }

    /// How far from the stack's base `bytes` bytes at `address + offset` lie, if they lie in the CPU's own area.
    fn in_area(&self, address: Value, offset: u64, bytes: u32) -> Option<i32> {
        let placed = *self.placed.get(&address)? as u32 as i32;
        let first = -i64::from(layout::CONTEXT_SIZE);
        let end = i64::from(layout::STACK_SIZE + layout::KEYS_SIZE);
        let at = i64::from(placed) + i64::try_from(offset).ok()?;
        // The address itself too, so that its sum did not wrap.
        let inside = (first..end).contains(&placed.into());
        (inside && at + i64::from(bytes) <= end).then_some(at as i32)
    }

    /// Traps unless `end` bytes from `address` on are in memory.
    fn check(&mut self, address: Value, end: u64) {
        let key = self.origin(address);
        if self
            .checked
            .get(&key)
            .is_some_and(|checked| *checked >= end)
        {
            return;
        }
        let memory = u64::from(self.module.memory);
        if self.most(address, DEPTH) + end <= memory {
            return;
        }
        let Some(last) = memory.checked_sub(end) else {
            let always = self.b.ins().icmp(IntCC::Equal, address, address);
            self.trap_if(always, Trap::OutOfBounds);
            return;
        };
        let last = self.iconst(I32, last);
        let outside = self.b.ins().icmp(IntCC::UnsignedGreaterThan, address, last);
        self.trap_if(outside, Trap::OutOfBounds);
        self.checked.insert(key, end);
    }

    /// A number that `value` is never above, as far as `depth` instructions tell: indices are often masked.
    fn most(&self, value: Value, depth: u32) -> u64 {
        let dfg = &self.b.func.dfg;
        let value = dfg.resolve_aliases(value);
        let top = u64::MAX >> (64 - dfg.value_type(value).bits().min(64));
        let (Some(depth), ValueDef::Result(inst, _)) = (depth.checked_sub(1), dfg.value_def(value))
        else {
            return top;
        };
        let most = |value| self.most(value, depth);
        let most = match dfg.insts[inst] {
            InstructionData::UnaryImm {
                opcode: Opcode::Iconst,
                ..
            } => self.constant(value),
            InstructionData::Unary {
                opcode: Opcode::Uextend | Opcode::Ireduce,
                arg,
            } => Some(most(arg)),
            InstructionData::Binary {
                opcode,
                args: [a, b],
            } => match opcode {
                Opcode::Band => Some(most(a).min(most(b))),
                Opcode::Iadd => most(a).checked_add(most(b)),
                Opcode::Imul => most(a).checked_mul(most(b)),
                Opcode::Ushr => self
                    .constant(b)
                    .filter(|by| *by < u64::from(dfg.value_type(value).bits()))
                    .map(|by| most(a) >> by),
                Opcode::Ishl => {
                    let by = self.constant(b).filter(|by| *by < 32);
                    by.and_then(|by| most(a).checked_mul(1 << by))
                }
                _ => None,
            },
            _ => None,
        };
        // What does not fit the type has wrapped.
        most.filter(|most| *most <= top).unwrap_or(top)
    }

    /// The value that `address` is the lower half of, or itself.
    fn origin(&self, address: Value) -> Value {
        let dfg = &self.b.func.dfg;
        let address = dfg.resolve_aliases(address);
        if let ValueDef::Result(inst, _) = dfg.value_def(address)
            && let InstructionData::Unary {
                opcode: Opcode::Ireduce,
                arg,
            } = dfg.insts[inst]
        {
            return dfg.resolve_aliases(arg);
        }
        address
    }
}
