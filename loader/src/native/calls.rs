//! Calls: of functions of the module, of what it imports, of the runtime.

use std::collections::HashMap;

use abi::imports::{self as names, AtomicOp};
use abi::layout;
use abi::native::{IMPORTS, RETURN, TRAP, Vm, is_reading};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{
    AbiParam, AtomicRmwOp, ExtFuncData, ExternalName, FuncRef, InstBuilder, MemFlagsData,
    Signature, TrapCode, Type, UserExternalName, Value,
};
use cranelift_codegen::isa::CallConv;

use super::Error;
use super::function::{Function, signature};

/// Namespace of names of the module's own functions, by index.
pub(super) const OWN: u32 = 0;
/// Namespace of names of an image's callees.
pub(super) const RUNTIME: u32 = 1;

/// A site that is not known.
const NO_SITE: u32 = u32::MAX;

/// Functions that this one has called already: namespace, index, result.
pub(super) type Callees = HashMap<(u32, u32, Option<Type>), FuncRef>;

/// What an import is to the compiler.
enum Special {
    /// Nothing but a call.
    None,
    /// Ends the run.
    Trap,
    /// An atomic operation, on so many bytes.
    Atomic(AtomicOp, u32),
    /// The number of the CPU.
    Cpu,
    /// A call that knows nothing of the budget: what it costs, the call itself, is paid by what it is in, as any call ([`cost::CALL`]).
    Reading,
}

fn special(module: &str, name: &str) -> Special {
    let atomic = || names::ATOMICS.iter().find(|row| row.0 == name);
    match (module, name) {
        (names::ENV, names::TRAP) => Special::Trap,
        (names::ATOMIC, _) => match atomic() {
            Some((_, op, width)) => Special::Atomic(*op, *width),
            None => Special::None,
        },
        (names::BPF, "get_smp_processor_id") => Special::Cpu,
        _ if is_reading(module, name) => Special::Reading,
        _ => Special::None,
    }
}

impl Function<'_, '_> {
    /// `call`.
    pub(super) fn call(&mut self, index: u32) -> Result<(), Error> {
        match self.module.imports.get(index as usize) {
            Some(_) => {
                self.call_import(index);
                Ok(())
            }
            None => self.call_own(index),
        }
    }

    fn call_own(&mut self, index: u32) -> Result<(), Error> {
        let ty = self.module.type_of(index);
        let (params, has_result) = (ty.params().len(), !ty.results().is_empty());
        let own = (OWN, index, None);
        let callee = match self.callees.get(&own) {
            Some(callee) => *callee,
            None => {
                let signature = signature(ty)?;
                self.import_function(own, signature)
            }
        };
        let mut args = vec![self.vm];
        args.extend(self.stack.drain(self.stack.len() - params..));
        self.store_fuel();
        let call = self.b.ins().call(callee, &args);
        self.load_fuel();
        if has_result {
            let result = self.b.inst_results(call)[0];
            self.push(result);
        }
        Ok(())
    }

    fn call_import(&mut self, index: u32) {
        let import = &self.module.imports[index as usize];
        let ty = self.module.type_of(index);
        let (module, name) = (import.module, import.name);
        let special = special(module, name);
        if let Special::Trap = special {
            let (code, site) = self.pop2();
            self.store_fuel();
            let trap = self.trap_function();
            let vm = self.vm;
            self.b.ins().call(trap, &[vm, code, site]);
            return;
        }
        let count = ty.params().len();
        let args = self.stack.split_off(self.stack.len() - count);
        let result = match special {
            Special::Atomic(op, width) if count >= 2 => self.atomic(index, op, width, &args),
            Special::Cpu => self.field(I64, std::mem::offset_of!(Vm, cpu)),
            Special::Reading => self.call_paid(index, &args),
            _ => self.call_host(index, &args),
        };
        self.push(result);
    }

    /// The function behind import `index`, if it was called.
    pub(super) fn host_function(&self, index: u32) -> Option<FuncRef> {
        let key = (RUNTIME, IMPORTS + index, Some(I64));
        self.callees.get(&key).copied()
    }

    /// Calls the runtime's function behind import `index`.
    fn call_host(&mut self, index: u32, args: &[Value]) -> Value {
        self.store_fuel();
        let result = self.call_paid(index, args);
        self.load_fuel();
        result
    }

    /// As [`Self::call_host`], where it takes nothing off the budget.
    fn call_paid(&mut self, index: u32, args: &[Value]) -> Value {
        let key = (RUNTIME, IMPORTS + index, Some(I64));
        let callee = match self.callees.get(&key) {
            Some(callee) => *callee,
            None => {
                let signature = host_signature(&vec![I64; args.len()], Some(I64));
                self.import_function(key, signature)
            }
        };
        let args: Vec<Value> = [self.vm].into_iter().chain(args.iter().copied()).collect();
        let call = self.b.ins().call(callee, &args);
        self.b.inst_results(call)[0]
    }

    /// An atomic operation in place, where the pointer is good; else the runtime's function, which says what is wrong.
    fn atomic(&mut self, index: u32, op: AtomicOp, width: u32, args: &[Value]) -> Value {
        let pointer = args[0];
        let good = self.is_good(pointer, width);
        let (here, there, after) = (
            self.b.create_block(),
            self.b.create_block(),
            self.b.create_block(),
        );
        self.b.set_cold_block(there);
        let old = self.b.append_block_param(after, I64);
        self.b.ins().brif(good, here, &[], there, &[]);
        self.b.switch_to_block(here);
        self.b.seal_block(here);
        let base = self.field(I64, std::mem::offset_of!(Vm, memory));
        let low = self.b.ins().band_imm_s(pointer, i64::from(u32::MAX));
        let at = self.b.ins().iadd(base, low);
        let value = self.atomic_at(op, width, at, args);
        self.b.ins().jump(after, &[value.into()]);
        self.b.switch_to_block(there);
        self.b.seal_block(there);
        let value = self.call_host(index, args);
        self.b.ins().jump(after, &[value.into()]);
        self.b.switch_to_block(after);
        self.b.seal_block(after);
        old
    }

    /// Whether `pointer` points to `width` aligned bytes of guest memory.
    fn is_good(&mut self, pointer: Value, width: u32) -> Value {
        // Rotated by the width's bits, a good pointer is its tag and an index below the number of such cells.
        let memory = u64::from(self.module.memory);
        let cells = memory / u64::from(width);
        let tag = self.iconst(I64, layout::guest_ptr(0));
        let offset = self.b.ins().isub(pointer, tag);
        let cell = self
            .b
            .ins()
            .rotr_imm_u(offset, i64::from(width.trailing_zeros()));
        let cells = self.iconst(I64, cells);
        self.b.ins().icmp(IntCC::UnsignedLessThan, cell, cells)
    }

    fn atomic_at(&mut self, op: AtomicOp, width: u32, at: Value, args: &[Value]) -> Value {
        let ty = if width == 4 { I32 } else { I64 };
        let narrow = |f: &mut Self, value: Value| match ty {
            I32 => f.b.ins().ireduce(I32, value),
            _ => value,
        };
        let flags = MemFlagsData::new().with_notrap().with_aligned();
        let operand = narrow(self, args[1]);
        let rmw = match op {
            AtomicOp::Add => AtomicRmwOp::Add,
            AtomicOp::Or => AtomicRmwOp::Or,
            AtomicOp::And => AtomicRmwOp::And,
            AtomicOp::Xor => AtomicRmwOp::Xor,
            AtomicOp::Xchg => AtomicRmwOp::Xchg,
            AtomicOp::Cmpxchg => {
                let new = narrow(self, args[2]);
                let old = self.b.ins().atomic_cas(flags, at, operand, new);
                return self.widen(old);
            }
        };
        let old = self.b.ins().atomic_rmw(ty, flags, rmw, at, operand);
        self.widen(old)
    }

    fn widen(&mut self, value: Value) -> Value {
        match self.b.func.dfg.value_type(value) {
            I64 => value,
            _ => self.b.ins().uextend(I64, value),
        }
    }

    /// Ends the function with `result`.
    pub(super) fn call_return(&mut self, result: Option<Value>) {
        let ty = result.map(|result| self.b.func.dfg.value_type(result));
        let value = match result {
            Some(result) => result,
            None => self.iconst(I64, 0),
        };
        let mut signature = Signature::new(CallConv::Tail);
        let param = self.b.func.dfg.value_type(value);
        signature.params.push(AbiParam::new(param));
        signature.returns.extend(ty.map(AbiParam::new));
        let callee = self.import_function((RUNTIME, RETURN, ty), signature);
        self.b.ins().return_call(callee, &[value]);
    }

    /// Ends the run with trap `code`.
    pub(super) fn call_trap(&mut self, code: u32) {
        let trap = self.trap_function();
        let code = self.iconst(I32, code.into());
        let site = self.iconst(I32, NO_SITE.into());
        let vm = self.vm;
        self.b.ins().call(trap, &[vm, code, site]);
        // It does not come back.
        self.b.ins().trap(TrapCode::unwrap_user(1));
    }

    fn trap_function(&mut self) -> FuncRef {
        let key = (RUNTIME, TRAP, None);
        match self.callees.get(&key) {
            Some(callee) => *callee,
            None => self.import_function(key, host_signature(&[I32, I32], None)),
        }
    }

    fn import_function(&mut self, key: (u32, u32, Option<Type>), signature: Signature) -> FuncRef {
        let (namespace, index, _) = key;
        let name = self
            .b
            .func
            .declare_imported_user_function(UserExternalName { namespace, index });
        let signature = self.b.import_signature(signature);
        let callee = self.b.import_function(ExtFuncData {
            name: ExternalName::user(name),
            signature,
            colocated: true,
            patchable: false,
        });
        self.callees.insert(key, callee);
        callee
    }
}

fn host_signature(params: &[Type], result: Option<Type>) -> Signature {
    let mut signature = Signature::new(CallConv::SystemV);
    let params = [I64].iter().chain(params);
    signature.params.extend(params.map(|ty| AbiParam::new(*ty)));
    signature.returns.extend(result.map(AbiParam::new));
    signature
}
