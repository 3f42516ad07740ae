//! A module as the compiler needs it.

use std::collections::BTreeSet;

use abi::imports::{self as names, CALLBACKS};
use cranelift_codegen::ir::Type;
use wasmparser::{
    CompositeInnerType, ConstExpr, ElementItems, ElementKind, ExternalKind, FuncType, FunctionBody,
    GlobalType, Import, Operator, Parser, Payload, TypeRef, ValType, ValidPayload, Validator,
    WasmFeatures,
};

use super::Error;
use super::function::ir_type;

/// What modules may have: as the other engines take it, without floats.
fn features() -> WasmFeatures {
    WasmFeatures::SIGN_EXTENSION
        | WasmFeatures::MUTABLE_GLOBAL
        | WasmFeatures::BULK_MEMORY
        | WasmFeatures::GC_TYPES
}

/// An imported function.
#[derive(Debug)]
pub(super) struct HostFunction<'a> {
    pub(super) module: &'a str,
    pub(super) name: &'a str,
    pub(super) ty: u32,
}

/// What a global is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Global {
    /// `env.stack_base`.
    StackBase,
    /// A value known now.
    Constant(Type, u64),
}

/// A module, validated, of the kind that this compiler takes.
#[derive(Debug)]
pub(super) struct Module<'a> {
    pub(super) types: Vec<FuncType>,
    /// Imported functions, which come first.
    pub(super) imports: Vec<HostFunction<'a>>,
    /// Types of its own functions.
    pub(super) functions: Vec<u32>,
    pub(super) bodies: Vec<FunctionBody<'a>>,
    pub(super) globals: Vec<Global>,
    /// Exported functions: name, index.
    pub(super) programs: Vec<(&'a str, u32)>,
    /// The table of callbacks.
    pub(super) callbacks: Vec<Option<u32>>,
    /// Functions that functions of the module, or helpers, call.
    pub(super) called: BTreeSet<u32>,
    /// Bytes of memory.
    pub(super) memory: u32,
}

impl<'a> Module<'a> {
    /// Reads and validates `wasm`.
    pub(super) fn read(wasm: &'a [u8], memory: u32) -> Result<Self, Error> {
        let mut validator = Validator::new_with_features(features());
        let mut module = Module {
            types: Vec::new(),
            imports: Vec::new(),
            functions: Vec::new(),
            bodies: Vec::new(),
            globals: Vec::new(),
            programs: Vec::new(),
            callbacks: Vec::new(),
            called: BTreeSet::new(),
            memory,
        };
        for payload in Parser::new(0).parse_all(wasm) {
            let payload = payload?;
            if let ValidPayload::Func(function, body) = validator.payload(&payload)? {
                function
                    .into_validator(Default::default())
                    .validate(&body)?;
            }
            module.section(payload)?;
        }
        module.find_called()?;
        Ok(module)
    }

    fn section(&mut self, payload: Payload<'a>) -> Result<(), Error> {
        match payload {
            Payload::TypeSection(types) => {
                for group in types {
                    for ty in group?.into_types() {
                        match ty.composite_type.inner {
                            CompositeInnerType::Func(ty) => self.types.push(ty),
                            _ => return Err(unsupported("types that are no functions'")),
                        }
                    }
                }
            }
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    self.import(&import?)?;
                }
            }
            Payload::FunctionSection(functions) => {
                self.functions = functions.into_iter().collect::<Result<_, _>>()?;
            }
            Payload::TableSection(tables) => {
                for table in tables {
                    let size = table?.ty.initial;
                    if self.callbacks.is_empty() && size <= MAX_TABLE {
                        self.callbacks = vec![None; size as usize];
                    } else {
                        return Err(unsupported("such tables"));
                    }
                }
            }
            Payload::MemorySection(memories) if memories.count() > 0 => {
                return Err(unsupported("a memory of its own"));
            }
            Payload::GlobalSection(globals) => {
                for global in globals {
                    let global = global?;
                    if global.ty.mutable {
                        return Err(unsupported("variables of its own"));
                    }
                    let value = constant(&global.init_expr)?;
                    let ty = ir_type(global.ty.content_type)?;
                    self.globals.push(Global::Constant(ty, value));
                }
            }
            Payload::ExportSection(exports) => {
                let mut has_callbacks = false;
                for export in exports {
                    let export = export?;
                    match export.kind {
                        ExternalKind::Func => self.programs.push((export.name, export.index)),
                        ExternalKind::Table => has_callbacks |= export.name == CALLBACKS,
                        _ => {}
                    }
                }
                if !has_callbacks {
                    self.callbacks.clear();
                }
            }
            Payload::StartSection { .. } => return Err(unsupported("a start function")),
            Payload::ElementSection(elements) => {
                for element in elements {
                    self.element(element?)?;
                }
            }
            Payload::DataSection(data) if data.count() > 0 => {
                return Err(unsupported("data segments"));
            }
            Payload::CodeSectionEntry(body) => self.bodies.push(body),
            _ => {}
        }
        Ok(())
    }

    fn import(&mut self, import: &Import<'a>) -> Result<(), Error> {
        let (module, name) = (import.module, import.name);
        match import.ty {
            TypeRef::Func(ty) => {
                if !self.is_host_type(module, name, ty) {
                    return Err(Error::Wasm(format!("import {module}.{name}: wrong type")));
                }
                self.imports.push(HostFunction { module, name, ty });
            }
            TypeRef::Global(ty)
                if (module, name) == (names::ENV, names::STACK_BASE) && is(ty, ValType::I32) =>
            {
                self.globals.push(Global::StackBase);
            }
            TypeRef::Memory(memory) => {
                let needed = memory.initial.saturating_mul(abi::layout::WASM_PAGE.into());
                if needed > self.memory.into() {
                    return Err(Error::TooLarge(format!(
                        "it needs {needed} bytes of memory, the sandbox has {}",
                        self.memory
                    )));
                }
                let most = memory.maximum.unwrap_or(u64::MAX);
                let most = most.saturating_mul(abi::layout::WASM_PAGE.into());
                if most < self.memory.into() {
                    return Err(Error::TooLarge(format!(
                        "its memory has {most} bytes at most, the sandbox's has {}",
                        self.memory
                    )));
                }
            }
            _ => return Err(unsupported(&format!("import {module}.{name}"))),
        }
        Ok(())
    }

    /// Whether `env.trap` takes two i32, and any other up to five i64, for an i64.
    fn is_host_type(&self, module: &str, name: &str, ty: u32) -> bool {
        let ty = &self.types[ty as usize];
        match (module, name) {
            (names::ENV, names::TRAP) => {
                ty.params() == [ValType::I32; 2] && ty.results().is_empty()
            }
            _ => {
                ty.params().len() <= 5
                    && ty.params().iter().all(|param| *param == ValType::I64)
                    && ty.results() == [ValType::I64]
            }
        }
    }

    fn element(&mut self, element: wasmparser::Element<'a>) -> Result<(), Error> {
        let ElementKind::Active { offset_expr, .. } = element.kind else {
            return Ok(());
        };
        let ElementItems::Functions(functions) = element.items else {
            return Err(unsupported("such elements of a table"));
        };
        let begin = constant(&offset_expr)? as usize;
        for (index, function) in (begin..).zip(functions) {
            if self.callbacks.is_empty() {
                return Ok(());
            }
            let outside = || Error::Wasm("elements outside the table".into());
            *self.callbacks.get_mut(index).ok_or_else(outside)? = Some(function?);
        }
        Ok(())
    }

    fn find_called(&mut self) -> Result<(), Error> {
        self.called.extend(self.callbacks.iter().flatten());
        for body in &self.bodies {
            for operator in body.get_operators_reader()? {
                if let Operator::Call { function_index } = operator? {
                    self.called.insert(function_index);
                }
            }
        }
        Ok(())
    }

    /// The type of function `index`, imported or own.
    pub(super) fn type_of(&self, index: u32) -> &FuncType {
        let index = index as usize;
        let ty = match self.imports.get(index) {
            Some(import) => import.ty,
            None => self.functions[index - self.imports.len()],
        };
        &self.types[ty as usize]
    }
}

fn is(global: GlobalType, ty: ValType) -> bool {
    global.content_type == ty && !global.mutable
}

/// Elements of a table at most.
const MAX_TABLE: u64 = 1 << 16;

fn unsupported(what: &str) -> Error {
    Error::Unsupported(what.to_owned())
}

fn constant(expression: &ConstExpr<'_>) -> Result<u64, Error> {
    let mut reader = expression.get_operators_reader();
    match reader.read()? {
        Operator::I32Const { value } => Ok(u64::from(value as u32)),
        Operator::I64Const { value } => Ok(value as u64),
        _ => Err(unsupported("such an initial value")),
    }
}
