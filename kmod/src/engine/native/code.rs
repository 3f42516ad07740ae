//! From an image to text in its place.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use abi::imports::{ENV, TRAP as TRAP_IMPORT};
use abi::native::{self, IMPORTS, Image, Invalid, NONE, RETURN, TRAP};
use checker::Refusal;
use helpers::host::Errno;
use helpers::imports::take_host_function;

use super::glue::{self, AsGlue, Glue};
use super::text::Text;
use super::{Function, wprobe_native_return};
use crate::services;
use crate::user;

/// Why native code is refused.
#[derive(Debug)]
pub(crate) enum NativeError {
    /// It is not proven, and the caller may not load kernel modules.
    Unproven(Refusal),
    /// It is no image.
    Image(Invalid),
    /// Its checksum is another.
    Checksum,
    /// It was compiled of other wasm.
    OtherWasm,
    /// It was compiled for memory of another size.
    Memory { compiled: u32, memory: u32 },
    /// It calls what is not there, or otherwise.
    Import(String),
    /// There is no place for it.
    Place(Errno),
}

impl fmt::Display for NativeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unproven(refusal) => write!(
                f,
                "native code that is not proven safe asks for CAP_SYS_MODULE and no lockdown: {refusal}"
            ),
            Self::Image(invalid) => invalid.fmt(f),
            Self::Checksum => f.write_str("native code is damaged: checksum"),
            Self::OtherWasm => f.write_str("native code is another module's"),
            Self::Memory { compiled, memory } => write!(
                f,
                "native code is for {compiled} bytes of memory, the sandbox has {memory}"
            ),
            Self::Import(what) => write!(f, "import {what}"),
            Self::Place(errno) => write!(f, "no place for native code: error {}", errno.0),
        }
    }
}

impl NativeError {
    /// What the loader gets.
    pub(crate) fn errno(&self) -> Errno {
        match self {
            Self::Unproven(_) => Errno::EPERM,
            Self::Import(_) => Errno::ENOENT,
            Self::Place(errno) => *errno,
            _ => Errno::EINVAL,
        }
    }
}

/// An export that takes a context.
pub(crate) struct Program {
    pub(crate) name: String,
    /// Address of its function.
    pub(crate) entry: u64,
    /// Words of the context that it reads at most.
    pub(crate) context: usize,
}

/// Native code in its place.
pub(crate) struct Code {
    /// What its store keeps.
    pub(crate) text: Text,
    /// Exports that take a context.
    pub(crate) programs: Vec<Program>,
    /// Functions that helpers may call.
    pub(crate) callbacks: Vec<Option<u64>>,
}

/// The image in `bytes`, which was compiled of `wasm` for `memory` bytes of memory.
pub(crate) fn image<'a>(
    bytes: &'a [u8],
    wasm: &[u8],
    memory: u32,
) -> Result<Image<'a>, NativeError> {
    let image = Image::read(bytes).map_err(NativeError::Image)?;
    if services::sha256(image.body) != image.checksum {
        return Err(NativeError::Checksum);
    }
    if services::sha256(wasm) != image.wasm {
        return Err(NativeError::OtherWasm);
    }
    if image.memory != memory {
        let compiled = image.memory;
        return Err(NativeError::Memory { compiled, memory });
    }
    Ok(image)
}

/// Functions behind the imports of `image`, and names of those that this runtime lacks.
fn imports(image: &Image<'_>) -> Result<(Vec<Option<Glue>>, Vec<String>), NativeError> {
    let (mut functions, mut missing) = (Vec::new(), Vec::new());
    for import in image.imports() {
        let name = || format!("{}.{}", import.module, import.name);
        if (import.module, import.name) == (ENV, TRAP_IMPORT) {
            // A callee of its own.
            functions.push(None);
            continue;
        }
        let found = take_host_function(import.module, import.name, AsGlue)
            .ok_or_else(|| NativeError::Import(format!("{}: unknown", name())))?;
        if found.params != import.params as usize {
            return Err(NativeError::Import(format!("{}: wrong type", name())));
        }
        if !found.provided {
            missing.push(name());
        }
        functions.push(Some(found.action));
    }
    Ok((functions, missing))
}

/// Puts the text of `image` in its place; also names of functions that trap.
pub(crate) fn place(image: &Image<'_>) -> Result<(Code, Vec<String>), NativeError> {
    let (imports, missing) = imports(image)?;
    let text = Text::new(image.text.len()).map_err(NativeError::Place)?;
    let base = text.address();
    let mut code = user::zeroes(image.text.len()).map_err(NativeError::Place)?;
    code.copy_from_slice(image.text);
    for (at, callee) in image.calls() {
        let to = match callee {
            TRAP => glue::trap as *const () as u64,
            RETURN => wprobe_native_return as *const () as u64,
            import => match imports.get((import - IMPORTS) as usize) {
                Some(Some(function)) => *function as *const () as u64,
                _ => return Err(NativeError::Import("no function".to_string())),
            },
        };
        let distance = native::displacement(base + u64::from(at), to);
        let distance = distance.ok_or(NativeError::Place(Errno::ENOSPC))?;
        let Some(place) = code.get_mut(at as usize..at as usize + distance.len()) else {
            return Err(NativeError::Image(Invalid::Damaged("calls")));
        };
        place.copy_from_slice(&distance);
    }
    text.write(&code).map_err(NativeError::Place)?;
    let programs = image.programs();
    let callbacks = image.callbacks();
    let code = Code {
        programs: programs
            .map(|program| Program {
                name: program.name.to_string(),
                entry: base + u64::from(program.entry),
                context: (program.context as usize).div_ceil(8),
            })
            .collect(),
        callbacks: callbacks
            .map(|entry| (entry != NONE).then(|| base + u64::from(entry)))
            .collect(),
        text,
    };
    Ok((code, missing))
}

impl Function {
    /// The function at `entry` of the store's module number `module`.
    pub(crate) fn new(entry: u64, module: usize) -> Self {
        Self { entry, module }
    }
}
