//! A module as the compiler needs it.

use abi::imports::{self as names, AtomicOp, CALLBACKS};
use abi::native::{NONE, is_reading};
use wasmparser::{
    BinaryReader, CompositeInnerType, ConstExpr, Element, ElementItems, ElementKind, Export,
    ExternalKind, FuncToValidate, FuncType, FuncValidatorAllocations, FunctionBody, GlobalType,
    Import as WasmImport, MemoryType, Operator, Parser, Payload, TypeRef, ValType, ValidPayload,
    Validator, ValidatorResources, WasmFeatures,
};

use crate::arena::{Arena, List};
use crate::operator::{Wide, width};
use crate::{Made, Refused};

/// What a valid module may have. More than is compiled, so that the rest is refused by its name.
const FEATURES: WasmFeatures = WasmFeatures::WASM2;
/// Parameters of a function at most.
pub(crate) const MAX_PARAMS: usize = 5;

/// The type of a function.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signature {
    /// How many parameters; above [`MAX_PARAMS`] if it is none that is compiled.
    params: u8,
    /// Which of them are wide, a bit each.
    wide: u8,
    pub(crate) result: Option<Wide>,
}

impl Signature {
    const UNSUPPORTED: Self = Self {
        params: u8::MAX,
        wide: 0,
        result: None,
    };

    fn new(ty: &FuncType) -> Self {
        let (params, results) = (ty.params(), ty.results());
        if params.len() > MAX_PARAMS || results.len() > 1 {
            return Self::UNSUPPORTED;
        }
        let mut signature = Self {
            params: params.len() as u8,
            wide: 0,
            result: None,
        };
        for (index, param) in params.iter().enumerate() {
            match width(*param) {
                Ok(wide) => signature.wide |= u8::from(wide) << index,
                Err(_) => return Self::UNSUPPORTED,
            }
        }
        match results.first().map(|ty| width(*ty)) {
            None => {}
            Some(Ok(wide)) => signature.result = Some(wide),
            Some(Err(_)) => return Self::UNSUPPORTED,
        }
        signature
    }

    pub(crate) fn params(self) -> usize {
        self.params.into()
    }

    pub(crate) fn is_wide(self, param: usize) -> Wide {
        self.wide >> (param & 7) & 1 != 0
    }

    /// Whether it takes so many i64 and gives one.
    fn is_plain(self, params: usize) -> bool {
        self.params() == params
            && self.result == Some(true)
            && (0..params).all(|param| self.is_wide(param))
    }

    /// Whether a hit can call such a function: a pointer to its context in, `r0` out.
    pub(crate) fn is_program(self) -> bool {
        self.is_plain(1)
    }

    /// Whether helpers can.
    pub(crate) fn is_callback(self) -> bool {
        self.is_plain(MAX_PARAMS)
    }

    fn supported(self) -> Made<Self> {
        match self.params() {
            ..=MAX_PARAMS => Ok(self),
            _ => Err(Refused::Unsupported(
                "functions of more than five parameters or one result, or of other numbers than integers",
            )),
        }
    }
}

/// What an import is to the compiler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A call that takes its own part of the budget.
    Host,
    /// A call that knows nothing of the budget: what it costs is paid by what it is in.
    Reading,
    /// Ends the run.
    Trap,
    /// An atomic operation, on so many bytes.
    Atomic(AtomicOp, u8),
    /// The number of the CPU.
    Cpu,
}

/// An imported function.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Import<'a> {
    pub(crate) module: &'a str,
    pub(crate) name: &'a str,
    pub(crate) signature: Signature,
    pub(crate) kind: Kind,
    /// Whether it takes a context only for the sake of the kernel's own, and does not look behind it.
    pub(crate) is_indifferent: bool,
}

/// Helpers that do not look behind a context.
const INDIFFERENT: &[&str] = &[
    "perf_event_output",
    "get_stackid",
    "get_stack",
    "get_attach_cookie",
    "get_func_ip",
];

fn kind(module: &str, name: &str, signature: Signature) -> Kind {
    let params = signature.params();
    let atomic = || names::ATOMICS.iter().find(|row| row.0 == name);
    match (module, name) {
        (names::ENV, names::TRAP) => Kind::Trap,
        (names::ATOMIC, _) => match atomic() {
            Some((_, AtomicOp::Cmpxchg, _)) if params != 3 => Kind::Host,
            Some((_, op, _)) if params != 2 && *op != AtomicOp::Cmpxchg => Kind::Host,
            Some((_, op, bytes)) => Kind::Atomic(*op, *bytes as u8),
            None => Kind::Host,
        },
        (names::BPF, "get_smp_processor_id") if params == 0 => Kind::Cpu,
        _ if is_reading(module, name) => Kind::Reading,
        _ => Kind::Host,
    }
}

/// What a global is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Global {
    /// `env.stack_base`.
    StackBase,
    /// A value known now.
    Constant(Wide, u64),
}

/// Where the body of a function is, and how many operators it has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Code {
    from: u32,
    to: u32,
    pub(crate) operators: u32,
}

/// A module, validated, of the kind that is compiled.
pub(crate) struct Module<'a, 'm> {
    pub(crate) arena: &'m Arena<'m>,
    wasm: &'a [u8],
    types: List<'m, Signature>,
    /// Imported functions, which come first.
    pub(crate) imports: List<'m, Import<'a>>,
    /// Types of its own functions.
    functions: List<'m, u32>,
    pub(crate) bodies: List<'m, Code>,
    pub(crate) globals: List<'m, Global>,
    /// Exported functions: name, index.
    pub(crate) exports: List<'m, (&'a str, u32)>,
    /// How many elements its table has.
    table: Option<u32>,
    /// The table of callbacks, with [`NONE`] where there is none.
    pub(crate) callbacks: List<'m, u32>,
    /// Of each of its own functions, whether functions of the module, or helpers, call it.
    called: List<'m, bool>,
    /// Bytes of memory.
    pub(crate) memory: u32,
}

impl<'a, 'm> Module<'a, 'm> {
    /// Reads and validates `wasm`.
    pub(crate) fn read(
        wasm: &'a [u8],
        memory: u32,
        arena: &'m Arena<'m>,
    ) -> Result<Self, Refused<'a>> {
        let mut module = Self {
            arena,
            wasm,
            types: List::new(arena),
            imports: List::new(arena),
            functions: List::new(arena),
            bodies: List::new(arena),
            globals: List::new(arena),
            exports: List::new(arena),
            table: None,
            callbacks: List::new(arena),
            called: List::new(arena),
            memory,
        };
        let mut validator = Validator::new_with_features(FEATURES);
        let mut scratch = FuncValidatorAllocations::default();
        for payload in Parser::new(0).parse_all(wasm) {
            let payload = payload?;
            match validator.payload(&payload)? {
                ValidPayload::Func(function, body) => {
                    scratch = module.body(function, &body, scratch)?;
                }
                _ => module.section(payload)?,
            }
            arena.check()?;
        }
        if module.bodies.len() != module.functions.len() {
            return Err(Refused::Invalid("functions without bodies"));
        }
        for index in 0..module.callbacks.len() {
            if let Some(function) = module.callbacks.get(index) {
                module.mark_called(*function);
            }
        }
        Ok(module)
    }

    /// Validates a body, and looks whom it calls.
    fn body(
        &mut self,
        function: FuncToValidate<ValidatorResources>,
        body: &FunctionBody<'a>,
        scratch: FuncValidatorAllocations,
    ) -> Made<FuncValidatorAllocations> {
        let mut validator = function.into_validator(scratch);
        let mut reader = body.get_binary_reader();
        validator.read_locals(&mut reader)?;
        reader.set_features(FEATURES);
        let mut operators = 0;
        while !reader.eof() {
            let at = reader.original_position();
            let operator = reader.read_operator()?;
            validator.op(at, &operator)?;
            if let Operator::Call { function_index } = operator {
                self.mark_called(function_index);
            }
            operators += 1;
        }
        validator.finish(reader.original_position())?;
        let range = body.range();
        self.bodies.push(Code {
            from: range.start as u32,
            to: range.end as u32,
            operators,
        });
        Ok(validator.into_allocations())
    }

    fn mark_called(&mut self, function: u32) {
        let own = (function as usize).checked_sub(self.imports.len());
        if let Some(called) = own.and_then(|own| self.called.get_mut(own)) {
            *called = true;
        }
    }

    fn section(&mut self, payload: Payload<'a>) -> Result<(), Refused<'a>> {
        match payload {
            Payload::TypeSection(types) => {
                for group in types {
                    for ty in group?.types() {
                        self.types.push(match &ty.composite_type.inner {
                            CompositeInnerType::Func(ty) => Signature::new(ty),
                            _ => Signature::UNSUPPORTED,
                        });
                    }
                }
            }
            Payload::ImportSection(imports) => {
                for import in imports {
                    self.import(&import?)?;
                }
            }
            Payload::FunctionSection(functions) => {
                for function in functions {
                    let ty = function?;
                    self.ty(ty)?.supported()?;
                    self.functions.push(ty);
                }
                self.called = List::filled(self.arena, self.functions.len(), false);
            }
            Payload::TableSection(tables) => {
                for table in tables {
                    let size = u32::try_from(table?.ty.initial).ok();
                    match (self.table, size) {
                        (None, Some(size)) => self.table = Some(size),
                        _ => return Err(Refused::Unsupported("several tables, or a huge one")),
                    }
                }
            }
            Payload::MemorySection(memories) if memories.count() > 0 => {
                return Err(Refused::Unsupported("a memory of its own"));
            }
            Payload::GlobalSection(globals) => {
                for global in globals {
                    let global = global?;
                    if global.ty.mutable {
                        return Err(Refused::Unsupported("variables of its own"));
                    }
                    let wide = width(global.ty.content_type)?;
                    let value = constant(&global.init_expr)?;
                    self.globals.push(Global::Constant(wide, value));
                }
            }
            Payload::ExportSection(exports) => {
                for export in exports {
                    self.export(&export?);
                }
            }
            Payload::StartSection { .. } => {
                return Err(Refused::Unsupported("a start function"));
            }
            Payload::ElementSection(elements) => {
                for element in elements {
                    self.element(element?)?;
                }
            }
            Payload::DataSection(data) if data.count() > 0 => {
                return Err(Refused::Unsupported("data segments"));
            }
            _ => {}
        }
        Ok(())
    }

    fn export(&mut self, export: &Export<'a>) {
        match export.kind {
            ExternalKind::Func => self.exports.push((export.name, export.index)),
            ExternalKind::Table if export.name == CALLBACKS => {
                let size = self.table.unwrap_or(0) as usize;
                self.callbacks = List::filled(self.arena, size, NONE);
            }
            _ => {}
        }
    }

    fn import(&mut self, import: &WasmImport<'a>) -> Result<(), Refused<'a>> {
        let (module, name) = (import.module, import.name);
        match import.ty {
            TypeRef::Func(ty) => {
                let signature = self.ty(ty)?;
                if !is_host_type(module, name, signature) {
                    return Err(Refused::ImportType(module, name));
                }
                self.imports.push(Import {
                    module,
                    name,
                    signature,
                    kind: kind(module, name, signature),
                    is_indifferent: module == names::BPF && INDIFFERENT.contains(&name),
                });
                Ok(())
            }
            TypeRef::Global(ty) if is_stack_base(module, name, ty) => {
                self.globals.push(Global::StackBase);
                Ok(())
            }
            TypeRef::Memory(memory) => self.import_memory(memory),
            _ => Err(Refused::Import(module, name)),
        }
    }

    fn import_memory(&self, memory: MemoryType) -> Result<(), Refused<'a>> {
        let bytes = |pages: u64| pages.saturating_mul(abi::layout::WASM_PAGE.into());
        let (needed, most) = (
            bytes(memory.initial),
            bytes(memory.maximum.unwrap_or(u64::MAX)),
        );
        if needed > self.memory.into() {
            return Err(Refused::MemoryNeeded(needed, self.memory));
        }
        if most < self.memory.into() {
            return Err(Refused::MemoryMost(most, self.memory));
        }
        Ok(())
    }

    fn element(&mut self, element: Element<'a>) -> Made<()> {
        let ElementKind::Active { offset_expr, .. } = element.kind else {
            return Ok(());
        };
        if self.callbacks.is_empty() {
            return Ok(());
        }
        let ElementItems::Functions(functions) = element.items else {
            return Err(Refused::Unsupported("such elements of a table"));
        };
        let begin = constant(&offset_expr)? as usize;
        for (index, function) in (begin..).zip(functions) {
            let outside = Refused::Invalid("elements outside the table");
            *self.callbacks.get_mut(index).ok_or(outside)? = function?;
        }
        Ok(())
    }

    fn ty(&self, index: u32) -> Made<Signature> {
        let ty = self.types.get(index as usize);
        ty.copied().ok_or(Refused::Compiler("types"))
    }

    /// The type that a block has by its number.
    pub(crate) fn block_result(&self, ty: u32) -> Made<Option<Wide>> {
        match self.ty(ty)? {
            signature if signature.params() == 0 => Ok(signature.result),
            _ => Err(Refused::Unsupported(
                "blocks with parameters or several results",
            )),
        }
    }

    /// The type of function `index`, imported or own.
    pub(crate) fn signature(&self, index: u32) -> Made<Signature> {
        let index = index as usize;
        if let Some(import) = self.imports.get(index) {
            return Ok(import.signature);
        }
        let own = index.checked_sub(self.imports.len());
        let ty = own.and_then(|own| self.functions.get(own));
        self.ty(*ty.ok_or(Refused::Compiler("functions"))?)
    }

    pub(crate) fn import_of(&self, index: u32) -> Option<&Import<'a>> {
        self.imports.get(index as usize)
    }

    /// Whether functions of the module, or helpers, call own function `index`.
    pub(crate) fn is_called(&self, index: u32) -> bool {
        self.called.get(index as usize).copied().unwrap_or(true)
    }

    /// The body of own function `index`.
    pub(crate) fn code(&self, index: u32) -> Made<(Code, FunctionBody<'a>)> {
        let code = *self
            .bodies
            .get(index as usize)
            .ok_or(Refused::Compiler("bodies"))?;
        let bytes = self.wasm.get(code.from as usize..code.to as usize);
        let bytes = bytes.ok_or(Refused::Compiler("bodies"))?;
        let reader = BinaryReader::new_features(bytes, code.from as usize, FEATURES);
        Ok((code, FunctionBody::new(reader)))
    }
}

/// Whether `env.trap` takes two i32, and any other up to five i64, for an i64.
fn is_host_type(module: &str, name: &str, signature: Signature) -> bool {
    match (module, name) {
        (names::ENV, names::TRAP) => {
            signature.params == 2 && signature.wide == 0 && signature.result.is_none()
        }
        _ => signature.params() <= MAX_PARAMS && signature.is_plain(signature.params()),
    }
}

fn is_stack_base(module: &str, name: &str, ty: GlobalType) -> bool {
    (module, name) == (names::ENV, names::STACK_BASE)
        && ty.content_type == ValType::I32
        && !ty.mutable
}

fn constant(expression: &ConstExpr<'_>) -> Made<u64> {
    let mut reader = expression.get_operators_reader();
    match reader.read()? {
        Operator::I32Const { value } => Ok(u64::from(value as u32)),
        Operator::I64Const { value } => Ok(value as u64),
        _ => Err(Refused::Unsupported("such an initial value")),
    }
}
