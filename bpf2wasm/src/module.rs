//! Reading what a translated module says about itself.

use abi::manifest::{self, Manifest};
use alloc::string::ToString;
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
