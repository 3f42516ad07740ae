//! Reading what a translated module says about itself.

use abi::manifest::{self, Lack, Lines, Manifest, Program};
use alloc::borrow::ToOwned;
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

/// A call of what a runtime lacks.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Lacking {
    /// What is called, as C has it: `bpf_get_func_ip`, or `helper 9999`.
    pub callee: String,
    /// The function.
    pub function: String,
    /// The instruction in it, counting 8-byte slots.
    pub insn: u32,
    /// File and line, where the object says.
    pub source: Option<String>,
    /// Whether it is only reached by way of a question of what there is: then it need not be there.
    pub guarded: bool,
}

impl core::fmt::Display for Lacking {
    /// `bpf_get_func_ip (main, insn 3, x.bpf.c:17)`.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} ({}, insn {}", self.callee, self.function, self.insn)?;
        if let Some(source) = &self.source {
            write!(f, ", {source}")?;
        }
        if self.guarded {
            write!(f, ", behind a question of what there is")?;
        }
        write!(f, ")")
    }
}

/// What C calls an import: `bpf_get_func_ip` for `bpf.get_func_ip`.
pub fn in_c(callee: &str) -> String {
    match callee.split_once('.') {
        Some((abi::imports::BPF, name)) => format!("bpf_{name}"),
        Some((abi::imports::KFUNC, name)) => name.to_owned(),
        _ => callee.to_owned(),
    }
}

/// What `program` of the module `wasm` calls that this version's runtimes lack.
pub fn lacking(wasm: &[u8], program: &Program) -> Vec<Lacking> {
    let is_there = |callee: &str| {
        let import = callee.split_once('.');
        import.is_some_and(|(module, name)| abi::helpers::is_provided(module, name))
    };
    let lacks = program.lacks.iter().filter(|l| !is_there(&l.callee));
    let lacking = |lack: &Lack| {
        let place = place(wasm, lack.site)?;
        let file = |(path, line, _): (String, u32, u32)| {
            let file = path.rsplit('/').next().unwrap_or_default();
            format!("{file}:{line}")
        };
        Some(Lacking {
            callee: in_c(&lack.callee),
            function: place.function,
            insn: place.insn,
            source: place.source.map(file),
            guarded: lack.guarded,
        })
    };
    lacks.filter_map(lacking).collect()
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
