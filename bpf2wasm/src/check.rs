//! The definition of a correct translation, as far as a module shows it.
//!
//! A module passes if it is valid WebAssembly of the features that every runtime has, without floats or a start
//! function, and imports nothing but what [`abi::imports`] lists, each with the contract's type: `env.stack_base` is
//! global 0, the others follow as immutable i64, and it defines none of its own.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::ToString;

use abi::imports as names;
use wasmparser::{
    FuncValidatorAllocations, Import, Parser, Payload, TypeRef, ValType, ValidPayload, Validator,
    WasmFeatures,
};

use crate::error::{Error, ModuleError, Result};

/// MVP with sign extension and what element and code encoding of any current engine includes; no floats.
fn features() -> WasmFeatures {
    WasmFeatures::SIGN_EXTENSION | WasmFeatures::MULTI_VALUE | WasmFeatures::GC_TYPES
}

/// Verifies a translated module.
pub fn check(wasm: &[u8]) -> Result<()> {
    let invalid =
        |e: wasmparser::BinaryReaderError| Error::new(ModuleError::Invalid(e.to_string()));
    let mut validator = Validator::new_with_features(features());
    let mut allocations = FuncValidatorAllocations::default();
    let mut globals = 0;
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload.map_err(invalid)?;
        if let ValidPayload::Func(function, body) = validator.payload(&payload).map_err(invalid)? {
            let mut function = function.into_validator(allocations);
            function.validate(&body).map_err(invalid)?;
            allocations = function.into_allocations();
        }
        match payload {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    import_is_known(&import.map_err(invalid)?, &mut globals)?;
                }
            }
            Payload::GlobalSection(section) if section.count() > 0 => {
                return Err(Error::new(ModuleError::Global("of its own".to_owned())));
            }
            Payload::StartSection { .. } => {
                return Err(Error::new(ModuleError::Invalid(
                    "a start function".to_owned(),
                )));
            }
            _ => {}
        }
    }
    Ok(())
}

fn import_is_known(import: &Import<'_>, globals: &mut u32) -> Result<()> {
    let unknown = || {
        Error::new(ModuleError::Import(
            import.module.to_owned(),
            import.name.to_owned(),
        ))
    };
    let known = match (import.module, import.name, import.ty) {
        (names::ENV, names::MEMORY, TypeRef::Memory(memory)) => !memory.memory64 && !memory.shared,
        (names::ENV, names::TRAP, TypeRef::Func(_)) => true,
        (names::BPF, name, TypeRef::Func(_)) => {
            [names::TAIL_CALL_WITHIN, names::TAIL_CALL_RESULT].contains(&name)
                || abi::helpers::by_name(name).is_some()
                || names::PROBE_LOADS
                    .iter()
                    .chain(names::PACKET_LOADS)
                    .any(|(n, _)| *n == name)
        }
        (names::ATOMIC, name, TypeRef::Func(_)) => names::ATOMICS.iter().any(|(n, ..)| *n == name),
        (names::KFUNC, _, TypeRef::Func(_)) => true,
        (module, name, TypeRef::Global(global)) => {
            let first = *globals == 0;
            *globals += 1;
            let stack_base = (module, name) == (names::ENV, names::STACK_BASE);
            let ty = if first { ValType::I32 } else { ValType::I64 };
            if first != stack_base || global.mutable || global.content_type != ty {
                return Err(Error::new(ModuleError::Global(format!("{module}.{name}"))));
            }
            first || names::VALUE_MODULES.contains(&module)
        }
        _ => false,
    };
    if known { Ok(()) } else { Err(unknown()) }
}
