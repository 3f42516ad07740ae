//! Imported values as constants of the module that imports them.
//!
//! Engines compile a module's own constants into what uses them, so that CO-RE branches and addresses fold away; imported
//! globals they would read at each use. So the runtimes have no imports for values, and need not: they are the loader's to know. (A
//! global of the module's own that begins with such a value has none any more, and is refused: no translation has one.)

use std::fmt;

use abi::imports::VALUE_MODULES;
use wasm_encoder::reencode::{self, Reencode, utils};
use wasm_encoder::{
    ConstExpr, GlobalSection, GlobalType, ImportSection, Module, SectionId, ValType,
};
use wasmparser::{GlobalSectionReader, ImportSectionReader, Parser, TypeRef};

/// Why values were not put in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// It is no wasm module.
    Wasm(String),
    /// One value imported by this name is no immutable i64.
    Type(String),
    /// Not one value for each import of one.
    Count {
        /// How many are imported.
        imported: usize,
        /// How many were given.
        given: usize,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wasm(why) => write!(f, "no wasm module: {why}"),
            Self::Type(name) => write!(
                f,
                "import {name}: wrong type, it is an immutable i64 global"
            ),
            Self::Count { imported, given } => {
                write!(f, "{imported} values are imported, {given} were given")
            }
        }
    }
}

impl std::error::Error for Error {}

type Result<T> = std::result::Result<T, reencode::Error<Error>>;

/// `wasm` with `values`, in the order of their imports, as globals of its own.
///
/// # Errors
///
/// [`Error`].
pub fn put_in(wasm: &[u8], values: &[u64]) -> std::result::Result<Vec<u8>, Error> {
    let mut module = Module::new();
    let mut constants = Constants {
        values,
        indices: Vec::new(),
        imported: 0,
        written: false,
    };
    let done = constants.parse_core_module(&mut module, Parser::new(0), wasm);
    match done {
        Ok(()) if constants.imported == values.len() => Ok(module.finish()),
        Ok(()) => Err(Error::Count {
            imported: constants.imported,
            given: values.len(),
        }),
        Err(reencode::Error::UserError(error)) => Err(error),
        Err(error) => Err(Error::Wasm(error.to_string())),
    }
}

struct Constants<'v> {
    values: &'v [u64],
    /// Of imported globals, the new indices by the old ones.
    indices: Vec<u32>,
    /// How many values are imported.
    imported: usize,
    /// The section of globals is written.
    written: bool,
}

impl Constants<'_> {
    fn define(&mut self, globals: &mut GlobalSection) {
        let ty = GlobalType {
            val_type: ValType::I64,
            mutable: false,
            shared: false,
        };
        for value in self.values {
            globals.global(ty, &ConstExpr::i64_const(*value as i64));
        }
        self.written = true;
    }
}

impl Reencode for Constants<'_> {
    type Error = Error;

    fn parse_import_section(
        &mut self,
        imports: &mut ImportSection,
        section: ImportSectionReader<'_>,
    ) -> Result<()> {
        let mut is_value = Vec::new();
        for import in section.into_imports() {
            let import = import?;
            if let TypeRef::Global(ty) = import.ty {
                let value = VALUE_MODULES.contains(&import.module);
                if value && (ty.content_type != wasmparser::ValType::I64 || ty.mutable) {
                    let name = format!("{}.{}", import.module, import.name);
                    return Err(reencode::Error::UserError(Error::Type(name)));
                }
                is_value.push(value);
                if value {
                    continue;
                }
            }
            imports.import(import.module, import.name, self.entity_type(import.ty)?);
        }
        self.imported = is_value.iter().filter(|value| **value).count();
        // Imported globals come before a module's own.
        let mut kept = 0..;
        let mut own = (is_value.len() - self.imported) as u32..;
        let indices = is_value.into_iter().map(|value| match value {
            true => own.next(),
            false => kept.next(),
        });
        self.indices = indices.flatten().collect();
        Ok(())
    }

    fn global_index(&mut self, global: u32) -> Result<u32> {
        Ok(self.indices.get(global as usize).copied().unwrap_or(global))
    }

    fn parse_global_section(
        &mut self,
        globals: &mut GlobalSection,
        section: GlobalSectionReader<'_>,
    ) -> Result<()> {
        self.define(globals);
        utils::parse_global_section(self, globals, section)
    }

    fn intersperse_section_hook(
        &mut self,
        module: &mut Module,
        _after: Option<SectionId>,
        before: Option<SectionId>,
    ) -> Result<()> {
        let is_place = !matches!(
            before,
            Some(
                SectionId::Type
                    | SectionId::Import
                    | SectionId::Function
                    | SectionId::Table
                    | SectionId::Memory
                    | SectionId::Tag
                    | SectionId::Global
            )
        );
        if is_place && !self.written {
            let mut globals = GlobalSection::new();
            self.define(&mut globals);
            module.section(&globals);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(module: &str, values: &[u64]) -> std::result::Result<String, Error> {
        let wasm = wat::parse_str(format!("(module {module})")).unwrap();
        let wasm = put_in(&wasm, values)?;
        wasmparser::validate(&wasm).unwrap();
        Ok(wasmprinter::print_bytes(&wasm).unwrap())
    }

    #[test]
    fn a_value_is_a_constant_wherever_it_is_read() {
        // Values before and behind what stays; a global of its own behind all.
        let module = r#"
            (import "map" "m" (global i64))
            (import "env" "stack_base" (global i32))
            (import "env" "memory" (memory 1))
            (import "core" "x" (global i64))
            (global i32 (i32.const 5))
            (func (export "f") (result i64)
              (drop (global.get 0)) (drop (global.get 1)) (drop (global.get 3)) (global.get 2))
            (@custom "manifest" "text")"#;
        let expected = r#"
            (import "env" "stack_base" (global i32))
            (import "env" "memory" (memory 1))
            (global i64 (i64.const 7))
            (global i64 (i64.const -1))
            (global i32 (i32.const 5))
            (func (export "f") (result i64)
              (drop (global.get 1)) (drop (global.get 0)) (drop (global.get 3)) (global.get 2))
            (@custom "manifest" "text")"#;
        let put = text(module, &[7, u64::MAX]).unwrap();
        assert_eq!(put, text(expected, &[]).unwrap());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let one = r#"(import "core" "x" (global i64))"#;
        let count = |imported, given| Err(Error::Count { imported, given });
        assert_eq!(text(one, &[]), count(1, 0));
        assert_eq!(text("", &[1]), count(0, 1));
        for ty in ["i32", "(mut i64)"] {
            let other = format!(r#"(import "core" "x" (global {ty}))"#);
            assert_eq!(text(&other, &[1]), Err(Error::Type("core.x".into())));
        }
        let refusal = put_in(b"\0asm", &[]).unwrap_err();
        assert!(matches!(refusal, Error::Wasm(_)), "{refusal}");
    }
}
