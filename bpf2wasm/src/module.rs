//! Reading what a translated module says about itself.

use abi::manifest::{self, Lines, Manifest};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use wasmparser::{Parser, Payload};

use crate::error::{Error, ModuleError, Result};

/// The contents of the custom section `name` of `wasm`.
pub fn custom_section<'a>(wasm: &'a [u8], name: &str) -> Option<&'a [u8]> {
    Parser::new(0)
        .parse_all(wasm)
        .find_map(|payload| match payload.ok()? {
            Payload::CustomSection(section) if section.name() == name => Some(section.data()),
            _ => None,
        })
}

/// The imports of a module as `module.name`, in order.
pub fn imports(wasm: &[u8]) -> Result<Vec<String>> {
    let invalid = |e: wasmparser::BinaryReaderError| ModuleError::Invalid(e.to_string());
    let mut names = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        if let Payload::ImportSection(section) = payload.map_err(invalid)? {
            for import in section.into_imports() {
                let import = import.map_err(invalid)?;
                names.push(format!("{}.{}", import.module, import.name));
            }
        }
    }
    Ok(names)
}

/// The manifest of a translated module.
pub fn read_manifest(wasm: &[u8]) -> Result<Manifest> {
    let json = custom_section(wasm, manifest::SECTION).ok_or(ModuleError::NoManifest)?;
    let manifest: Manifest =
        serde_json::from_slice(json).map_err(|e| ModuleError::Manifest(e.to_string()))?;
    if manifest.version != manifest::VERSION {
        return Err(Error::new(ModuleError::Version(manifest.version)));
    }
    Ok(manifest)
}

/// A place in the source of a translated module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The function.
    pub function: String,
    /// The instruction in it, counting 8-byte slots.
    pub insn: u32,
    /// File, line and column, where the object said.
    pub source: Option<(String, u32, u32)>,
}

/// What a trap's `site` stands for.
pub fn place(wasm: &[u8], site: u32) -> Option<Place> {
    let manifest = read_manifest(wasm).ok()?;
    let function = manifest.functions.iter().rfind(|f| f.site <= site)?;
    let insn = site - function.site;
    let source = || {
        let lines: Lines =
            serde_json::from_slice(custom_section(wasm, manifest::LINES_SECTION)?).ok()?;
        let line = lines
            .lines
            .iter()
            .rfind(|l| l.site <= site && l.site >= function.site)?;
        Some((
            lines.files.get(line.file as usize)?.clone(),
            line.line,
            line.column,
        ))
    };
    (insn < function.slots).then(|| Place {
        function: function.name.clone(),
        insn,
        source: source(),
    })
}
