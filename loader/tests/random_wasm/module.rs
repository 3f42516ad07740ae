//! A module around functions.

use abi::imports::ATOMICS;
use wasm_encoder::{
    CodeSection, EntityType, ExportKind, ExportSection, Function, FunctionSection, GlobalType,
    ImportSection, Instruction as I, MemoryType, Module, TypeSection, ValType,
};

use super::Random;
use super::values::{FUNCTIONS, Generator, IMPORTED, LOOPS, NARROW, RESULTS, SIGNATURES, WIDE};

fn function(random: &mut Random, function: u32) -> Function {
    let params = SIGNATURES[function as usize].len() as u32;
    let mut generator = Generator {
        random,
        code: Vec::new(),
        function,
        params,
        loops: 0,
        open: Vec::new(),
        turns: 0,
        size: 0,
    };
    let count = 2 + generator.random.below(8);
    generator.statements(count, 4);
    generator.value(RESULTS[function as usize], 4);
    let locals = [(WIDE, ValType::I64), (NARROW + LOOPS, ValType::I32)];
    let mut body = Function::new(locals);
    for op in &generator.code {
        body.instruction(op);
    }
    body.instruction(&I::End);
    body
}

pub(super) fn module(random: &mut Random) -> Vec<u8> {
    let (mut types, mut imports, mut functions) = (
        TypeSection::new(),
        ImportSection::new(),
        FunctionSection::new(),
    );
    for count in 0..4 {
        types
            .ty()
            .function(vec![ValType::I64; count], [ValType::I64]);
    }
    for (params, result) in SIGNATURES.iter().zip(RESULTS) {
        types.ty().function(params.iter().copied(), [result]);
    }
    let stack = GlobalType {
        val_type: ValType::I32,
        mutable: false,
        shared: false,
    };
    imports.import("env", "stack_base", EntityType::Global(stack));
    let memory = MemoryType {
        minimum: 1,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    };
    imports.import("env", "memory", EntityType::Memory(memory));
    for (name, _, _) in ATOMICS {
        let params = if name.starts_with("cmpxchg") { 3 } else { 2 };
        imports.import("atomic", name, EntityType::Function(params));
    }
    imports.import("bpf", "ktime_get_ns", EntityType::Function(0));
    imports.import("bpf", "get_smp_processor_id", EntityType::Function(0));
    imports.import("bpf", "probe_load64", EntityType::Function(1));
    let (mut code, mut exports) = (CodeSection::new(), ExportSection::new());
    for index in 0..FUNCTIONS {
        functions.function(4 + index);
        code.function(&function(random, index));
    }
    exports.export("run", ExportKind::Func, IMPORTED + FUNCTIONS - 1);
    let mut module = Module::new();
    module.section(&types).section(&imports).section(&functions);
    module.section(&exports).section(&code);
    module.finish()
}
