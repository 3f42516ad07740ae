//! What a wasm module imports and exports, as far as loading needs it.

use wasmparser::{ExternalKind, Parser, Payload, TypeRef, ValType};

/// The interface of a module.
#[derive(Clone, Debug, Default)]
pub struct Interface {
    /// Imported i64 globals, (module, name), in import order: what `MODULE_LOAD` wants values for.
    pub values: Vec<(String, String)>,
    /// Exported functions.
    pub functions: Vec<String>,
}

impl Interface {
    /// Reads it. Whether the module is valid is for the runtime to say.
    pub fn read(wasm: &[u8]) -> Result<Self, wasmparser::BinaryReaderError> {
        let mut interface = Interface::default();
        for payload in Parser::new(0).parse_all(wasm) {
            match payload? {
                Payload::ImportSection(imports) => {
                    for import in imports.into_imports() {
                        let import = import?;
                        let global = matches!(import.ty, TypeRef::Global(g) if g.content_type == ValType::I64);
                        if global {
                            let name = (import.module.to_owned(), import.name.to_owned());
                            interface.values.push(name);
                        }
                    }
                }
                Payload::ExportSection(exports) => {
                    for export in exports {
                        let export = export?;
                        if export.kind == ExternalKind::Func {
                            interface.functions.push(export.name.to_owned());
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(interface)
    }
}
