//! One function: locals, the budget, and what the other parts of the translation share.

use std::collections::{BTreeMap, HashMap};

use abi::layout;
use abi::native::Vm;
use abi::traps::Trap;
use cost::UNPAID;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I64};
use cranelift_codegen::ir::{
    AbiParam, Block, InstBuilder, InstructionData, MemFlagsData, Opcode, Signature, Type, Value,
    ValueDef,
};
use cranelift_codegen::isa::CallConv;
use cranelift_frontend::{FunctionBuilder, Variable};
use wasmparser::{FuncType, FunctionBody, Operator, ValType};

use super::Error;
use super::calls::Callees;
use super::control::Frame;
use super::module::{Global, Module};

/// What a local is.
#[derive(Clone, Copy)]
enum Local {
    Variable(Variable),
    /// Never set, or set once where all that follows comes by: this value from here on.
    Value(Value),
}

/// One function under translation.
pub(super) struct Function<'m, 'f> {
    pub(super) module: &'m Module<'m>,
    pub(super) b: FunctionBuilder<'f>,
    pub(super) vm: Value,
    pub(super) stack: Vec<Value>,
    pub(super) callees: Callees,
    pub(super) frames: Vec<Frame>,
    locals: Vec<Local>,
    /// Whether each local has one value, or one before and one after a place that nothing goes around.
    steady: Vec<bool>,
    /// Depth of code that is never reached.
    pub(super) dead: Option<u32>,
    /// Values that are `env.stack_base` plus so much, in their width.
    pub(super) placed: HashMap<Value, u64>,
    /// How far memory was checked from an address on.
    pub(super) checked: HashMap<Value, u64>,
    traps: BTreeMap<u32, Block>,
    /// Bytes of the context that are read at known places.
    pub(super) context_read: u32,
    /// The pointer to the context, in a program that only the runtime calls.
    context: Option<Value>,
    /// What is left of the budget, in functions that loop or are called.
    pub(super) fuel: Option<Variable>,
    /// Units that loops pay at each turn, in their order ([`cost`]).
    pub(super) costs: std::vec::IntoIter<u64>,
}

/// The IR's type of a wasm type.
pub(super) fn ir_type(ty: ValType) -> Result<Type, Error> {
    match ty {
        ValType::I32 => Ok(I32),
        ValType::I64 => Ok(I64),
        other => Err(Error::Unsupported(format!("values of type {other}"))),
    }
}

/// How functions of a module are called.
pub(super) fn signature(ty: &FuncType) -> Result<Signature, Error> {
    if ty.results().len() > 1 || ty.params().len() > 5 {
        let count = "functions of more than five parameters or one result";
        return Err(Error::Unsupported(count.into()));
    }
    let mut signature = Signature::new(CallConv::Tail);
    signature.params.push(AbiParam::new(I64));
    for param in ty.params() {
        signature.params.push(AbiParam::new(ir_type(*param)?));
    }
    for result in ty.results() {
        signature.returns.push(AbiParam::new(ir_type(*result)?));
    }
    Ok(signature)
}

/// Translates function `index` of `module` into what `b` builds; how many bytes of its context it reads, if it is a program.
pub(super) fn translate(
    module: &Module<'_>,
    index: u32,
    body: &FunctionBody<'_>,
    b: FunctionBuilder<'_>,
) -> Result<u32, Error> {
    let mut function = Function::begin(module, index, body, b)?;
    let mut operators = body.get_operators_reader()?;
    while !operators.eof() {
        function.operator(&operators.read()?)?;
    }
    debug_assert!(
        function.costs.as_slice().is_empty(),
        "a loop was not paid for"
    );
    let context = function.context;
    let used = context.map_or(u32::MAX, |context| function.context_used(context));
    function.finish();
    Ok(used)
}

/// Which locals are set once at most, and that outside of all blocks.
fn steady(body: &FunctionBody<'_>, locals: usize) -> Result<Vec<bool>, Error> {
    let mut sets = vec![0; locals];
    let mut open = 1;
    for operator in body.get_operators_reader()? {
        match operator? {
            Operator::Block { .. } | Operator::If { .. } | Operator::Loop { .. } => open += 1,
            Operator::End => open -= 1,
            Operator::LocalSet { local_index } | Operator::LocalTee { local_index } => {
                sets[local_index as usize] += if open == 1 { 1 } else { 2 };
            }
            _ => {}
        }
    }
    Ok(sets.iter().map(|sets| *sets < 2).collect())
}

impl<'m, 'f> Function<'m, 'f> {
    fn begin(
        module: &'m Module<'m>,
        index: u32,
        body: &FunctionBody<'_>,
        mut b: FunctionBuilder<'f>,
    ) -> Result<Self, Error> {
        let ty = module.type_of(index);
        let mut types: Vec<Type> = ty
            .params()
            .iter()
            .map(|p| ir_type(*p))
            .collect::<Result<_, _>>()?;
        for local in body.get_locals_reader()? {
            let (count, ty) = local?;
            types.extend(std::iter::repeat_n(ir_type(ty)?, count as usize));
        }
        let costs = cost::function(body.as_bytes());
        let costs = costs.ok_or_else(|| Error::Unsupported("such a function".into()))?;
        let steady = steady(body, types.len())?;
        let is_called = module.called.contains(&index);
        let entry = b.create_block();
        b.append_block_params_for_function_params(entry);
        b.switch_to_block(entry);
        b.seal_block(entry);
        let params = b.block_params(entry).to_vec();
        let end = b.create_block();
        let result = ty.results().first().map(|r| ir_type(*r)).transpose()?;
        if let Some(ty) = result {
            b.append_block_param(end, ty);
        }
        let mut function = Function {
            module,
            b,
            vm: params[0],
            stack: Vec::new(),
            callees: Callees::default(),
            frames: vec![Frame::block(end, result, 0)],
            locals: Vec::new(),
            steady,
            dead: None,
            placed: HashMap::new(),
            checked: HashMap::new(),
            traps: BTreeMap::new(),
            context_read: 0,
            context: None,
            fuel: None,
            costs: costs.loops.into_iter(),
        };
        function.declare(&types, &params[1..]);
        if !is_called && let Some(context) = params.get(1) {
            // Only the runtime calls it, with a pointer to the context copy.
            let context_at = layout::guest_ptr(0).wrapping_sub(layout::CONTEXT_SIZE.into());
            function.placed.insert(*context, context_at);
            function.context = Some(*context);
        }
        function.pay_entry(costs.entry, is_called);
        Ok(function)
    }

    fn declare(&mut self, types: &[Type], params: &[Value]) {
        for (index, ty) in types.iter().enumerate() {
            let value = match params.get(index) {
                Some(param) => *param,
                None => self.b.ins().iconst(*ty, 0),
            };
            let local = if self.steady[index] {
                Local::Value(value)
            } else {
                let variable = self.b.declare_var(*ty);
                self.b.def_var(variable, value);
                Local::Variable(variable)
            };
            self.locals.push(local);
        }
    }

    /// A called function may recurse; it pays, and looks how much stack there is. One that only the runtime calls pays
    /// for its loops, and for much that is in none.
    fn pay_entry(&mut self, cost: u64, is_called: bool) {
        let pays = is_called || cost > UNPAID;
        if !pays && self.costs.as_slice().is_empty() {
            return;
        }
        let fuel = self.b.declare_var(I64);
        self.fuel = Some(fuel);
        self.load_fuel();
        if pays {
            self.pay(cost);
        }
        if is_called {
            let sp = self.b.ins().get_stack_pointer(I64);
            let limit = self.field(I64, std::mem::offset_of!(Vm, stack_limit));
            let deep = self.b.ins().icmp(IntCC::UnsignedLessThan, sp, limit);
            self.trap_if(deep, Trap::StackOverflow);
        }
    }

    /// A field of the [`Vm`] that does not change during a run.
    pub(super) fn field(&mut self, ty: Type, offset: usize) -> Value {
        let flags = MemFlagsData::trusted().with_readonly().with_can_move();
        let vm = self.vm;
        self.b.ins().load(ty, flags, vm, offset as i32)
    }

    /// Reads what is left of the budget.
    pub(super) fn load_fuel(&mut self) {
        if let Some(fuel) = self.fuel {
            let offset = std::mem::offset_of!(Vm, fuel) as i32;
            let (vm, flags) = (self.vm, MemFlagsData::trusted());
            let value = self.b.ins().load(I64, flags, vm, offset);
            self.b.def_var(fuel, value);
        }
    }

    /// Writes what is left of the budget to where a callee and the runtime find it.
    pub(super) fn store_fuel(&mut self) {
        if let Some(fuel) = self.fuel {
            let offset = std::mem::offset_of!(Vm, fuel) as i32;
            let (vm, flags) = (self.vm, MemFlagsData::trusted());
            let value = self.b.use_var(fuel);
            self.b.ins().store(flags, value, vm, offset);
        }
    }

    pub(super) fn pay(&mut self, cost: u64) {
        if let Some(fuel) = self.fuel.filter(|_| cost > 0) {
            let left = self.b.use_var(fuel);
            let cost = self.b.ins().iconst(I64, cost as i64);
            let spent = self.b.ins().icmp(IntCC::UnsignedLessThan, left, cost);
            self.trap_if(spent, Trap::Budget);
            let left = self.b.ins().isub(left, cost);
            self.b.def_var(fuel, left);
        }
    }

    /// What a turn of the loop costs that begins.
    pub(super) fn turn(&mut self) -> Result<u64, Error> {
        let unknown = || Error::Compiler("a loop without a price".into());
        self.costs.next().ok_or_else(unknown)
    }

    /// Ends the run if `condition` holds.
    pub(super) fn trap_if(&mut self, condition: Value, trap: Trap) {
        let to = self.trap_block(trap);
        let on = self.b.create_block();
        self.b.ins().brif(condition, to, &[], on, &[]);
        self.b.switch_to_block(on);
        self.b.seal_block(on);
    }

    /// Where the run ends with `trap`.
    pub(super) fn trap_block(&mut self, trap: Trap) -> Block {
        let b = &mut self.b;
        *self.traps.entry(trap as u32).or_insert_with(|| {
            let block = b.create_block();
            b.set_cold_block(block);
            block
        })
    }

    pub(super) fn push(&mut self, value: Value) {
        self.stack.push(value);
    }

    /// The top of the operand stack; a validated function has one.
    pub(super) fn pop(&mut self) -> Value {
        self.stack.pop().expect("the function is valid")
    }

    /// The two topmost, the lower first.
    pub(super) fn pop2(&mut self) -> (Value, Value) {
        let b = self.pop();
        (self.pop(), b)
    }

    /// `value`, if it is known now.
    pub(super) fn constant(&self, value: Value) -> Option<u64> {
        let dfg = &self.b.func.dfg;
        let ValueDef::Result(inst, _) = dfg.value_def(dfg.resolve_aliases(value)) else {
            return None;
        };
        match dfg.insts[inst] {
            InstructionData::UnaryImm {
                opcode: Opcode::Iconst,
                imm,
            } => Some(match dfg.value_type(value) {
                I32 => u64::from(imm.bits() as u32),
                _ => imm.bits() as u64,
            }),
            _ => None,
        }
    }

    pub(super) fn iconst(&mut self, ty: Type, value: u64) -> Value {
        let value = match ty {
            I32 => i64::from(value as u32),
            _ => value as i64,
        };
        self.b.ins().iconst(ty, value)
    }

    /// Translates an operator, unless it is never reached.
    fn operator(&mut self, operator: &Operator<'_>) -> Result<(), Error> {
        if let Some(depth) = self.dead {
            if let Operator::Loop { .. } = operator {
                // Its price is nobody else's.
                self.turn()?;
            }
            self.dead = match operator {
                Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => {
                    Some(depth + 1)
                }
                Operator::End if depth > 0 => Some(depth - 1),
                Operator::End | Operator::Else if depth == 0 => None,
                _ => Some(depth),
            };
            if self.dead.is_some() {
                return Ok(());
            }
            match operator {
                Operator::Else => self.otherwise(false),
                _ => self.end(false),
            }
            return Ok(());
        }
        match operator {
            Operator::Block { .. }
            | Operator::Loop { .. }
            | Operator::If { .. }
            | Operator::Else
            | Operator::End
            | Operator::Br { .. }
            | Operator::BrIf { .. }
            | Operator::BrTable { .. }
            | Operator::Return
            | Operator::Unreachable => self.control(operator),
            Operator::LocalGet { local_index } => {
                let value = self.local(*local_index);
                self.push(value);
                Ok(())
            }
            Operator::LocalSet { local_index } => {
                let value = self.pop();
                self.set_local(*local_index, value);
                Ok(())
            }
            Operator::LocalTee { local_index } => {
                let value = self.pop();
                self.set_local(*local_index, value);
                self.push(value);
                Ok(())
            }
            Operator::GlobalGet { global_index } => {
                self.global(*global_index);
                Ok(())
            }
            Operator::Call { function_index } => self.call(*function_index),
            other => self.simple(other),
        }
    }

    fn local(&mut self, index: u32) -> Value {
        match self.locals[index as usize] {
            Local::Value(value) => value,
            Local::Variable(variable) => self.b.use_var(variable),
        }
    }

    fn set_local(&mut self, index: u32, value: Value) {
        let local = &mut self.locals[index as usize];
        match *local {
            Local::Variable(variable) => self.b.def_var(variable, value),
            Local::Value(_) => *local = Local::Value(value),
        }
    }

    fn global(&mut self, index: u32) {
        let value = match self.module.globals[index as usize] {
            Global::Constant(ty, value) => self.iconst(ty, value),
            Global::StackBase => {
                let base = self.field(I32, std::mem::offset_of!(Vm, stack_base));
                self.placed.insert(base, 0);
                base
            }
        };
        self.push(value);
    }

    fn finish(mut self) {
        for (code, block) in std::mem::take(&mut self.traps) {
            self.b.switch_to_block(block);
            self.b.seal_block(block);
            self.call_trap(code);
        }
        self.b
            .finalize(cranelift_codegen::isa::TargetFrontendConfig {
                default_call_conv: CallConv::SystemV,
                pointer_width: target_lexicon::PointerWidth::U64,
                page_size_align_log2: 12,
            });
    }
}
