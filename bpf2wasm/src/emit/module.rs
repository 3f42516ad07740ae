//! The wasm module: sections around the bodies.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use abi::imports as names;
use abi::manifest::{
    BTF_SECTION, DATA_SECTION, EVENTS_SECTION, LICENSE_SECTION, LINES_SECTION, SECTION,
};
use wasm_encoder::{
    CodeSection, ConstExpr, CustomSection, ElementSection, Elements, Encode, EntityType,
    ExportKind, ExportSection, FunctionSection, GlobalType, ImportSection, MemoryType, Module,
    NameMap, NameSection, RefType, TableSection, TableType, TypeSection, ValType,
};

use super::body::Code;
use super::imports::{Functions, Globals};

/// A function of the module.
pub(crate) struct Defined<'a> {
    pub(crate) name: &'a str,
    pub(crate) params: u32,
    pub(crate) export: Option<&'a str>,
    /// Its index in the callback table.
    pub(crate) callback: Option<u32>,
    pub(crate) code: Code,
}

/// Everything the module is made of.
pub(crate) struct Parts<'a> {
    pub(crate) name: &'a str,
    pub(crate) globals: &'a Globals,
    pub(crate) functions: &'a Functions,
    pub(crate) defined: &'a [Defined<'a>],
    pub(crate) manifest: &'a [u8],
    pub(crate) license: &'a [u8],
    pub(crate) btf: &'a [u8],
    pub(crate) data: &'a [u8],
    pub(crate) lines: &'a [u8],
    pub(crate) events: &'a [u8],
}

/// The encoded module.
pub(crate) struct Encoded {
    pub(crate) wasm: Vec<u8>,
    /// By defined function, where its body begins.
    pub(crate) bodies: Vec<usize>,
    /// Bytes of the code section's contents.
    pub(crate) code_bytes: usize,
    /// Imports as `module.name`.
    pub(crate) imports: Vec<String>,
}

/// Function types: `i64 × n → i64` has index n, `env.trap`'s is last.
const ARITIES: u32 = 6;

/// Encodes a module.
pub(crate) fn encode(parts: &Parts<'_>) -> Encoded {
    let mut module = Module::new();
    let (imports, import_names) = imports(parts);
    let mut functions = FunctionSection::new();
    let mut exports = ExportSection::new();
    let mut code = CodeSection::new();
    let first = parts.functions.imports.len() as u32;
    for (defined, index) in parts.defined.iter().zip(first..) {
        functions.function(defined.params);
        code.raw(&defined.code.bytes);
        if let Some(export) = defined.export {
            exports.export(export, ExportKind::Func, index);
        }
    }
    let callbacks = callbacks(parts.defined, first);
    module
        .section(&types())
        .section(&imports)
        .section(&functions);
    if let Some((tables, _)) = &callbacks {
        module.section(tables);
        exports.export(names::CALLBACKS, ExportKind::Table, 0);
    }
    module.section(&exports);
    if let Some((_, elements)) = &callbacks {
        module.section(elements);
    }
    module.section(&code);
    let bodies = bodies(parts.defined, module.len());
    module.section(&function_names(parts));
    for (name, data) in [
        (SECTION, parts.manifest),
        (LICENSE_SECTION, parts.license),
        (BTF_SECTION, parts.btf),
        (DATA_SECTION, parts.data),
        (LINES_SECTION, parts.lines),
        (EVENTS_SECTION, parts.events),
    ] {
        if !data.is_empty() {
            module.section(&CustomSection {
                name: Cow::Borrowed(name),
                data: Cow::Borrowed(data),
            });
        }
    }
    let code_bytes = parts.defined.iter().map(|d| d.code.bytes.len()).sum();
    Encoded {
        wasm: module.finish(),
        bodies,
        code_bytes,
        imports: import_names,
    }
}

/// Where the bodies begin that end at `end`, each behind its length.
fn bodies(defined: &[Defined<'_>], mut end: usize) -> Vec<usize> {
    let mut starts: Vec<usize> = defined
        .iter()
        .rev()
        .map(|d| {
            let mut length = Vec::new();
            d.code.bytes.len().encode(&mut length);
            let start = end - d.code.bytes.len();
            end = start - length.len();
            start
        })
        .collect();
    starts.reverse();
    starts
}

fn types() -> TypeSection {
    let mut types = TypeSection::new();
    for arity in 0..ARITIES {
        types
            .ty()
            .function((0..arity).map(|_| ValType::I64), [ValType::I64]);
    }
    types.ty().function([ValType::I32, ValType::I32], []);
    types
}

fn imports(parts: &Parts<'_>) -> (ImportSection, Vec<String>) {
    let mut section = ImportSection::new();
    let mut all = Vec::new();
    let mut add = |module: &str, name: &str, ty: EntityType| {
        section.import(module, name, ty);
        all.push(alloc::format!("{module}.{name}"));
    };
    let memory = MemoryType {
        minimum: 1,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    };
    add(names::ENV, names::MEMORY, memory.into());
    let global = |val_type| GlobalType {
        val_type,
        mutable: false,
        shared: false,
    };
    add(names::ENV, names::STACK_BASE, global(ValType::I32).into());
    for (module, name) in &parts.globals.imports {
        add(module, name, global(ValType::I64).into());
    }
    for (module, name, arity) in &parts.functions.imports {
        let ty = if *name == names::TRAP && *module == names::ENV {
            ARITIES
        } else {
            *arity
        };
        add(module, name, EntityType::Function(ty));
    }
    (section, all)
}

/// The table of callbacks, element 0 null.
fn callbacks(defined: &[Defined<'_>], first: u32) -> Option<(TableSection, ElementSection)> {
    let mut entries: Vec<_> = defined
        .iter()
        .zip(first..)
        .filter_map(|(d, index)| Some((d.callback?, index)))
        .collect();
    entries.sort_unstable();
    if entries.is_empty() {
        return None;
    }
    let indices: Vec<u32> = entries.iter().map(|(_, index)| *index).collect();
    let size = indices.len() as u64 + 1;
    let element_type = RefType::FUNCREF;
    let mut tables = TableSection::new();
    tables.table(TableType {
        element_type,
        minimum: size,
        maximum: Some(size),
        table64: false,
        shared: false,
    });
    let mut elements = ElementSection::new();
    elements.active(
        None,
        &ConstExpr::i32_const(1),
        Elements::Functions(indices.into()),
    );
    Some((tables, elements))
}

fn function_names(parts: &Parts<'_>) -> NameSection {
    let mut names = NameSection::new();
    names.module(parts.name);
    let mut map = NameMap::new();
    let imported = parts
        .functions
        .imports
        .iter()
        .map(|(_, name, _)| name.as_str());
    for (index, name) in imported
        .chain(parts.defined.iter().map(|d| d.name))
        .enumerate()
    {
        map.append(index as u32, name);
    }
    names.functions(&map);
    names
}
