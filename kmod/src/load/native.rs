//! Loading native code in place of wasm.

use alloc::string::ToString;
use alloc::vec::Vec;

use abi::uapi::Resource;

use super::{Built, LoadError, MAX_IMPORTS, is_attachable, licensed, lock, program};
use crate::control;
use crate::engine::native::code::{self, Code, NativeError};
use crate::engine::slot::Callbacks;
use crate::engine::{Function, native};
use crate::limits::{Account, Charge};
use crate::program::{Entry, Program};
use crate::sandbox::{NamedPrograms, Sandbox, Shared};
use crate::services;

/// Compiles `wasm` and puts it into `sandbox`.
pub(super) fn compile(sandbox: &Sandbox, wasm: &[u8]) -> Result<Built, LoadError> {
    // Nothing but the compiler vouches for what it makes, so only who may load code may have it made.
    if !services::may_load_code() {
        return Err(LoadError::Native(NativeError::Privilege));
    }
    let compiled = control::attempt(|| {
        let image = compiler::compile(wasm, sandbox.size, services::sha256);
        image.map_err(|refused| refused.to_string())
    });
    let failed = || "the compiler failed: see the kernel's log".to_string();
    let image = compiled.ok_or_else(failed).flatten();
    let image = image.map_err(LoadError::Compiler)?;
    build(sandbox, wasm, &image)
}

/// Puts the native code in `bytes`, which was compiled of `wasm`, into `sandbox`.
pub(super) fn build(sandbox: &Sandbox, wasm: &[u8], bytes: &[u8]) -> Result<Built, LoadError> {
    if !services::may_load_code() {
        return Err(LoadError::Native(NativeError::Privilege));
    }
    if !sandbox.count_load() {
        return Err(LoadError::TooMany);
    }
    let image = code::image(bytes, wasm, sandbox.size).map_err(LoadError::Native)?;
    let Some(shared) = &sandbox.shared else {
        let (compiled, memory) = (image.memory, 0);
        return Err(LoadError::Native(NativeError::Memory { compiled, memory }));
    };
    match image.imports().count() {
        ..=MAX_IMPORTS => {}
        count => return Err(LoadError::Imports(count)),
    }
    licensed(wasm, image.imports().map(|i| (i.module, i.name)))?;
    let attachable = image
        .programs()
        .filter(|program| is_attachable(program.name));
    let charges = charge(
        &sandbox.account,
        attachable.count(),
        shared.cpus.len(),
        image.text.len(),
    )?;
    let (code, missing) = code::place(&image).map_err(LoadError::Native)?;
    // From here on only a damaged sandbox refuses, and what it has got it keeps.
    charges.into_iter().for_each(Charge::keep);
    let (programs, contexts) = add(shared, code)?;
    let first_program = shared.add_programs(&programs).ok_or(LoadError::Poisoned)?;
    Ok(Built {
        first_program,
        programs: programs
            .into_iter()
            .zip(contexts)
            .map(|((name, functions), context)| Program {
                context,
                ..program(name, Entry::Context(functions.into()))
            })
            .collect(),
        own: None,
        native: image.text.len(),
        missing,
    })
}

fn charge(
    account: &Account,
    programs: usize,
    instances: usize,
    text: usize,
) -> Result<[Charge<'_>; 3], LoadError> {
    let charge = |resource, amount| {
        let charged = account.charge(resource, amount as u64);
        charged.map_err(LoadError::Limit)
    };
    Ok([
        charge(Resource::Programs, programs)?,
        charge(Resource::Instances, instances)?,
        charge(Resource::Native, text)?,
    ])
}

/// Gives each CPU's store the code; the programs in it, and how many words of their contexts they read.
fn add(shared: &Shared, code: Code) -> Result<(Vec<NamedPrograms>, Vec<usize>), LoadError> {
    let programs = code.programs.into_iter();
    let programs: Vec<code::Program> = programs.filter(|p| is_attachable(&p.name)).collect();
    let mut functions: Vec<NamedPrograms> = programs
        .iter()
        .map(|program| (program.name.clone(), Vec::new()))
        .collect();
    let mut text = Some(code.text);
    for cpu in &shared.cpus {
        let mut store = lock(cpu)?;
        let state = store.data_mut();
        let module = state.callbacks.len();
        state
            .callbacks
            .push(Callbacks::Native(code.callbacks.clone()));
        // The first one keeps it for all: they go together.
        state.texts.extend(text.take());
        for ((_, functions), program) in functions.iter_mut().zip(&programs) {
            let function = native::Function::new(program.entry, module);
            functions.push(Function::Native(function));
        }
    }
    let contexts = programs.iter().map(|program| program.context).collect();
    Ok((functions, contexts))
}
