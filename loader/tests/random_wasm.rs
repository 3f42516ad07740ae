//! Random modules, of which no translator would make most: the compiler does what the interpreter does, and leaves the same
//! memory. `RANDOM_MODULES` and `RANDOM_SEED` say how many, and from where on.

use abi::imports::ATOMICS;
use abi::layout;
use abi::traps::Trap;
use loader::user::{EngineKind, Trapped, UserSandbox};
use wasm_encoder::{
    BlockType, CodeSection, EntityType, ExportKind, ExportSection, Function, FunctionSection,
    GlobalType, ImportSection, Instruction as I, MemArg, MemArgTarget, MemoryType, Module,
    TypeSection, ValType,
};

/// More than any of them spends: the engines count differently.
const FUEL: u64 = 1 << 24;
/// Functions of a module; each calls those before it only.
const FUNCTIONS: u32 = 3;
/// Locals that code may do anything with: so many i64, then so many i32. Loops have others.
const WIDE: u32 = 6;
const NARROW: u32 = 6;
/// Loops of a function at most.
const LOOPS: u32 = 6;

struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        let mut random = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..8 {
            random.word();
        }
        random
    }

    fn word(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u32) -> u32 {
        ((self.word() >> 32) % u64::from(bound)) as u32
    }

    fn number(&mut self) -> i64 {
        match self.below(6) {
            0 => self.word() as i64,
            1 => i64::from(self.word() as i32),
            2 => i64::from(self.below(64)),
            3 => -1,
            4 => i64::MIN >> self.below(40),
            _ => i64::from(self.below(0x3_0000)),
        }
    }
}

/// The type of every function of the module: its number is [`SIGNATURES`]' index.
const SIGNATURES: [&[ValType]; FUNCTIONS as usize] = [
    &[ValType::I64, ValType::I32],
    &[
        ValType::I32,
        ValType::I64,
        ValType::I64,
        ValType::I32,
        ValType::I64,
    ],
    &[ValType::I64],
];
const RESULTS: [ValType; FUNCTIONS as usize] = [ValType::I64, ValType::I32, ValType::I64];

struct Generator<'r> {
    random: &'r mut Random,
    code: Vec<I<'static>>,
    /// Which function this is.
    function: u32,
    params: u32,
    loops: u32,
    /// Results of what is open, the function first; a loop's has none.
    open: Vec<Option<ValType>>,
    turns: u32,
    size: u32,
}

/// Imported functions before the module's own.
const IMPORTED: u32 = ATOMICS.len() as u32 + 3;

impl Generator<'_> {
    fn chance(&mut self, of: u32) -> bool {
        self.random.below(of) == 0
    }

    fn local(&mut self, ty: ValType) -> u32 {
        let first = self.params;
        match ty {
            ValType::I64 => first + self.random.below(WIDE),
            _ => first + WIDE + self.random.below(NARROW),
        }
    }

    fn constant(&mut self, ty: ValType) {
        let number = self.random.number();
        self.code.push(match ty {
            ValType::I64 => I::I64Const(number),
            _ => I::I32Const(number as i32),
        });
    }

    fn parameter(&mut self, ty: ValType) {
        let params = SIGNATURES[self.function as usize];
        let index = self.random.below(self.params);
        match params[index as usize] == ty {
            true => self.code.push(I::LocalGet(index)),
            false => self.constant(ty),
        }
    }

    fn value(&mut self, ty: ValType, depth: u32) {
        self.size += 1;
        if depth == 0 || self.size > 400 {
            return match self.random.below(5) {
                0 => self.constant(ty),
                1 => self.parameter(ty),
                2 if ty == ValType::I32 => self.code.push(I::GlobalGet(0)),
                _ => {
                    let local = self.local(ty);
                    self.code.push(I::LocalGet(local));
                }
            };
        }
        match self.random.below(16) {
            0 => self.value(ty, 0),
            1..=5 => self.binary(ty, depth),
            6 => self.unary(ty, depth),
            7 => self.convert(ty, depth),
            8 | 9 => self.load(ty, depth),
            10 => self.choose(ty, depth),
            11 => self.block(ty, depth),
            12 => self.call(ty, depth),
            13 if ty == ValType::I32 => self.compare(depth),
            13 => self.atomic(depth),
            14 => {
                self.value(ty, depth - 1);
                let local = self.local(ty);
                self.code.push(I::LocalTee(local));
            }
            _ => self.divide(ty, depth),
        }
    }

    fn binary(&mut self, ty: ValType, depth: u32) {
        self.value(ty, depth - 1);
        self.value(ty, depth - 1);
        let wide = [
            I::I64Add,
            I::I64Sub,
            I::I64Mul,
            I::I64And,
            I::I64Or,
            I::I64Xor,
            I::I64Shl,
            I::I64ShrU,
            I::I64ShrS,
            I::I64Rotl,
            I::I64Rotr,
            I::I64Add,
        ];
        let narrow = [
            I::I32Add,
            I::I32Sub,
            I::I32Mul,
            I::I32And,
            I::I32Or,
            I::I32Xor,
            I::I32Shl,
            I::I32ShrU,
            I::I32ShrS,
            I::I32Rotl,
            I::I32Rotr,
            I::I32Add,
        ];
        self.one_of(ty, wide, narrow);
    }

    fn one_of<const N: usize>(
        &mut self,
        ty: ValType,
        wide: [I<'static>; N],
        narrow: [I<'static>; N],
    ) {
        let index = self.random.below(N as u32) as usize;
        self.code.push(match ty {
            ValType::I64 => wide[index].clone(),
            _ => narrow[index].clone(),
        });
    }

    fn divide(&mut self, ty: ValType, depth: u32) {
        self.value(ty, depth - 1);
        self.value(ty, depth - 1);
        // Else most runs end here.
        if !self.chance(8) {
            let bit = if ty == ValType::I64 {
                I::I64Const(1)
            } else {
                I::I32Const(1)
            };
            self.code.push(bit);
            self.code.push(if ty == ValType::I64 {
                I::I64Or
            } else {
                I::I32Or
            });
        }
        let wide = [I::I64DivS, I::I64DivU, I::I64RemS, I::I64RemU];
        let narrow = [I::I32DivS, I::I32DivU, I::I32RemS, I::I32RemU];
        self.one_of(ty, wide, narrow);
    }

    fn unary(&mut self, ty: ValType, depth: u32) {
        self.value(ty, depth - 1);
        let wide = [
            I::I64Clz,
            I::I64Ctz,
            I::I64Popcnt,
            I::I64Extend8S,
            I::I64Extend16S,
            I::I64Extend32S,
        ];
        let narrow = [
            I::I32Clz,
            I::I32Ctz,
            I::I32Popcnt,
            I::I32Extend8S,
            I::I32Extend16S,
            I::I32Extend8S,
        ];
        self.one_of(ty, wide, narrow);
    }

    fn convert(&mut self, ty: ValType, depth: u32) {
        match ty {
            ValType::I64 => {
                self.value(ValType::I32, depth - 1);
                let how = [I::I64ExtendI32U, I::I64ExtendI32S];
                self.one_of(ty, how.clone(), how);
            }
            _ => {
                self.value(ValType::I64, depth - 1);
                self.code.push(I::I32WrapI64);
            }
        }
    }

    fn compare(&mut self, depth: u32) {
        let ty = if self.chance(2) {
            ValType::I64
        } else {
            ValType::I32
        };
        self.value(ty, depth - 1);
        if self.chance(6) {
            self.one_of(ty, [I::I64Eqz], [I::I32Eqz]);
            return;
        }
        self.value(ty, depth - 1);
        let wide = [
            I::I64Eq,
            I::I64Ne,
            I::I64LtU,
            I::I64LtS,
            I::I64LeU,
            I::I64LeS,
            I::I64GtU,
            I::I64GtS,
            I::I64GeU,
            I::I64GeS,
        ];
        let narrow = [
            I::I32Eq,
            I::I32Ne,
            I::I32LtU,
            I::I32LtS,
            I::I32LeU,
            I::I32LeS,
            I::I32GtU,
            I::I32GtS,
            I::I32GeU,
            I::I32GeS,
        ];
        self.one_of(ty, wide, narrow);
        if self.chance(6) {
            self.code.push(I::I32Eqz);
        }
    }

    /// An address: often inside memory.
    fn address(&mut self, depth: u32) {
        match self.random.below(6) {
            0 => self.value(ValType::I32, depth),
            1 => self.code.push(I::GlobalGet(0)),
            2 => {
                self.code.push(I::GlobalGet(0));
                let by = self.random.below(0x4000) as i32 - 0x1800;
                self.code.push(I::I32Const(by));
                self.code.push(I::I32Add);
            }
            3 => {
                self.value(ValType::I64, depth);
                self.code.push(I::I32WrapI64);
                self.code.push(I::I32Const(0xfff8));
                self.code.push(I::I32And);
            }
            4 => {
                let local = self.local(ValType::I64);
                self.code.push(I::LocalGet(local));
                self.code.push(I::I32WrapI64);
            }
            _ => {
                let at = self.random.below(0x2_1000) as i32;
                self.code.push(I::I32Const(at));
            }
        }
    }

    fn memarg(&mut self) -> MemArg {
        let offset = match self.random.below(8) {
            0 => u64::from(self.random.word() as u32),
            1 => u64::from(self.random.below(0x2_0000)),
            _ => u64::from(self.random.below(64)),
        };
        MemArg {
            offset,
            align: 0,
            target: MemArgTarget::Memory(0),
            ordering: None,
        }
    }

    fn load(&mut self, ty: ValType, depth: u32) {
        self.address(depth - 1);
        let m = self.memarg();
        let wide = [
            I::I64Load(m),
            I::I64Load8U(m),
            I::I64Load8S(m),
            I::I64Load16U(m),
            I::I64Load16S(m),
            I::I64Load32U(m),
            I::I64Load32S(m),
        ];
        let narrow = [
            I::I32Load(m),
            I::I32Load8U(m),
            I::I32Load8S(m),
            I::I32Load16U(m),
            I::I32Load16S(m),
            I::I32Load(m),
            I::I32Load(m),
        ];
        self.one_of(ty, wide, narrow);
    }

    fn store(&mut self, depth: u32) {
        let ty = if self.chance(2) {
            ValType::I64
        } else {
            ValType::I32
        };
        self.address(depth);
        self.value(ty, depth);
        let m = self.memarg();
        let wide = [
            I::I64Store(m),
            I::I64Store8(m),
            I::I64Store16(m),
            I::I64Store32(m),
        ];
        let narrow = [
            I::I32Store(m),
            I::I32Store8(m),
            I::I32Store16(m),
            I::I32Store(m),
        ];
        self.one_of(ty, wide, narrow);
    }

    fn condition(&mut self, depth: u32) {
        match self.chance(3) {
            true => self.value(ValType::I32, depth),
            false => self.compare(depth.max(1)),
        }
    }

    fn choose(&mut self, ty: ValType, depth: u32) {
        self.value(ty, depth - 1);
        self.value(ty, depth - 1);
        self.condition(depth - 1);
        self.code.push(I::Select);
    }

    /// A block or an `if` with a result.
    fn block(&mut self, ty: ValType, depth: u32) {
        let is_if = self.chance(2);
        if is_if {
            self.condition(depth - 1);
            self.code.push(I::If(BlockType::Result(ty)));
        } else {
            self.code.push(I::Block(BlockType::Result(ty)));
        }
        self.open.push(Some(ty));
        self.statements(1, depth - 1);
        if self.chance(2) {
            self.value(ty, depth - 1);
            self.condition(depth - 1);
            self.code.push(I::BrIf(0));
            self.code.push(I::Drop);
        }
        self.value(ty, depth - 1);
        if is_if {
            self.code.push(I::Else);
            self.statements(1, depth - 1);
            self.value(ty, depth - 1);
        }
        self.code.push(I::End);
        self.open.pop();
    }

    fn call(&mut self, ty: ValType, depth: u32) {
        let callee = self.random.below(FUNCTIONS);
        if callee >= self.function || RESULTS[callee as usize] != ty || self.turns > 1 {
            return self.helper(ty, depth);
        }
        for param in SIGNATURES[callee as usize] {
            self.value(*param, depth - 1);
        }
        self.code.push(I::Call(IMPORTED + callee));
    }

    fn helper(&mut self, ty: ValType, depth: u32) {
        let imports = ATOMICS.len() as u32;
        if self.chance(2) {
            self.code.push(I::Call(imports + 1));
        } else {
            // It reads memory of nobody: gives zero.
            self.value(ValType::I64, depth - 1);
            self.code.push(I::Drop);
            self.code.push(I::I64Const(8));
            self.code.push(I::Call(imports + 2));
        }
        if ty == ValType::I32 {
            self.code.push(I::I32WrapI64);
        }
    }

    fn atomic(&mut self, depth: u32) {
        let which = self.random.below(ATOMICS.len() as u32);
        let (name, _, width) = ATOMICS[which as usize];
        match self.random.below(4) {
            0 => self.value(ValType::I64, depth - 1),
            1 => {
                let at = self.random.below(0x2_0000) & !(width - 1);
                self.code.push(I::I64Const(layout::guest_ptr(at) as i64));
            }
            _ => {
                self.value(ValType::I64, depth - 1);
                let most = i64::from(0x1_fff8u32);
                self.code.push(I::I64Const(most));
                self.code.push(I::I64And);
                self.code.push(I::I64Const(layout::guest_ptr(0) as i64));
                self.code.push(I::I64Or);
            }
        }
        self.value(ValType::I64, depth - 1);
        if name.starts_with("cmpxchg") {
            self.value(ValType::I64, depth - 1);
        }
        self.code.push(I::Call(which));
    }

    fn statements(&mut self, count: u32, depth: u32) {
        for _ in 0..count {
            self.statement(depth);
        }
    }

    fn statement(&mut self, depth: u32) {
        let ty = if self.chance(2) {
            ValType::I64
        } else {
            ValType::I32
        };
        if depth == 0 || self.size > 300 {
            self.value(ty, 0);
            let local = self.local(ty);
            self.code.push(I::LocalSet(local));
            return;
        }
        match self.random.below(14) {
            0..=4 => {
                self.value(ty, depth);
                let local = self.local(ty);
                self.code.push(I::LocalSet(local));
            }
            5 | 6 => self.store(depth - 1),
            7 => {
                self.atomic(depth);
                self.code.push(I::Drop);
            }
            8 => self.repeat(depth),
            9 => {
                self.condition(depth);
                self.code.push(I::If(BlockType::Empty));
                self.open.push(None);
                self.statements(2, depth - 1);
                if self.chance(2) {
                    self.code.push(I::Else);
                    self.statements(2, depth - 1);
                }
                self.code.push(I::End);
                self.open.pop();
            }
            10 => {
                self.code.push(I::Block(BlockType::Empty));
                self.open.push(None);
                self.statements(1, depth - 1);
                self.condition(depth - 1);
                self.code.push(I::BrIf(0));
                self.statements(1, depth - 1);
                if self.chance(3) {
                    self.code.push(I::Br(0));
                    self.statements(1, depth - 1);
                }
                self.code.push(I::End);
                self.open.pop();
            }
            11 => self.table(depth),
            12 => {
                self.condition(depth - 1);
                self.code.push(I::If(BlockType::Empty));
                self.value(RESULTS[self.function as usize], depth - 1);
                self.code.push(I::Return);
                self.code.push(I::End);
            }
            _ => {
                self.value(ty, depth);
                self.code.push(I::Drop);
            }
        }
    }

    /// A loop of a few turns.
    fn repeat(&mut self, depth: u32) {
        if self.loops == LOOPS || self.turns > 1 {
            return self.store(depth - 1);
        }
        let counter = self.params + WIDE + NARROW + self.loops;
        self.loops += 1;
        self.turns += 1;
        let turns = self.random.below(6) as i32;
        self.code.push(I::I32Const(turns));
        self.code.push(I::LocalSet(counter));
        let is_left = self.chance(2);
        if is_left {
            self.code.push(I::Block(BlockType::Empty));
            self.open.push(None);
        }
        self.code.push(I::Loop(BlockType::Empty));
        self.open.push(None);
        self.statements(2, depth - 1);
        if is_left {
            self.condition(depth - 1);
            self.code.push(I::BrIf(1));
            self.statements(1, depth - 1);
        }
        for op in [
            I::LocalGet(counter),
            I::I32Const(1),
            I::I32Sub,
            I::LocalTee(counter),
            I::I32Const(0),
            I::I32GtS,
            I::BrIf(0),
            I::End,
        ] {
            self.code.push(op);
        }
        self.open.pop();
        if is_left {
            self.code.push(I::End);
            self.open.pop();
        }
        self.turns -= 1;
    }

    fn table(&mut self, depth: u32) {
        for _ in 0..3 {
            self.code.push(I::Block(BlockType::Empty));
            self.open.push(None);
        }
        self.value(ValType::I32, depth - 1);
        if !self.chance(4) {
            self.code.push(I::I32Const(3));
            self.code.push(I::I32And);
        }
        self.code.push(I::BrTable(vec![0, 2, 1, 0].into(), 1));
        for _ in 0..3 {
            self.code.push(I::End);
            self.open.pop();
            self.statements(1, depth - 1);
        }
    }
}

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

fn module(random: &mut Random) -> Vec<u8> {
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

/// What a run gives, and the memory it leaves.
fn run(engine: EngineKind, wasm: &[u8], context: &[u8]) -> (Result<u64, Trapped>, Vec<u8>) {
    let (mut sandbox, _) = UserSandbox::new(engine, FUEL, &[]).unwrap();
    sandbox.load(wasm, &[]).unwrap();
    let result = sandbox.run("run", context);
    let mut memory = vec![0; 0x1_0000];
    sandbox.bytes(0, memory.len() as u32).read(&mut memory);
    (result, memory)
}

fn number(name: &str, default: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn the_compiler_does_what_the_interpreter_does() {
    let (count, first) = (number("RANDOM_MODULES", 2_000), number("RANDOM_SEED", 1));
    let (mut ended, mut trapped) = (0, 0);
    for seed in first..first + count {
        let mut random = Random::new(seed);
        let wasm = module(&mut random);
        let context: Vec<u8> = (0..64).map(|_| random.word() as u8).collect();
        let interpreted = run(EngineKind::Wasmi, &wasm, &context);
        if interpreted.0
            == Err(Trapped {
                trap: Trap::Budget,
                site: None,
            })
        {
            continue;
        }
        let compiled = run(EngineKind::Jit, &wasm, &context);
        let same = interpreted == compiled;
        if !same {
            let text = wasmprinter::print_bytes(&wasm).unwrap();
            let path = format!("/tmp/random-wasm-{seed}.wat");
            std::fs::write(&path, text).unwrap();
            let at = (0..compiled.1.len()).find(|at| interpreted.1[*at] != compiled.1[*at]);
            panic!(
                "seed {seed} ({path}): interpreted {:x?}, compiled {:x?}, memory differs at {at:x?}",
                interpreted.0, compiled.0
            );
        }
        match interpreted.0 {
            Ok(_) => ended += 1,
            Err(_) => trapped += 1,
        }
    }
    println!("{ended} ended, {trapped} trapped, all the same");
    assert!(ended * 10 > count, "{ended} of {count} reach their end");
}
