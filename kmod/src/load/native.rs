//! Loading native code in place of wasm.

use alloc::string::ToString;
use alloc::vec::Vec;

use abi::native::Image;
use abi::uapi::{Engine, Resource};
use checker::Rule;
use helpers::host::Errno;

use super::{Built, LoadError, MAX_IMPORTS, Meter, is_attachable, licensed, lock, program};
use crate::control;
use crate::engine::native::code::{self, Code, NativeError};
use crate::engine::slot::Callbacks;
use crate::engine::{Function, native};
use crate::limits::{Account, Charge};
use crate::program::{Entry, Program};
use crate::sandbox::{NamedPrograms, Sandbox, Shared};
use crate::services;

/// Bytes of memory that compiling and proving may take at a time: for each of wasm and native code, and besides.
const PER_BYTE: usize = compiler::MEMORY_PER_BYTE;
const BESIDES: usize = 1 << 20;

/// Compiles `wasm` and puts that into `sandbox`, if it is proven.
pub(super) fn compile(sandbox: &Sandbox, wasm: &[u8]) -> Result<Built, LoadError> {
    let is_killed = services::rest_or_killed;
    let image = alone(wasm.len(), || {
        let image = compiler::compile(wasm, sandbox.size, services::sha256, &is_killed);
        let image = image.map_err(|refused| match refused {
            compiler::Refused::Interrupted => LoadError::Interrupted,
            refused => LoadError::Compiler(refused.to_string()),
        })?;
        let read = code::image(&image, wasm, sandbox.size).map_err(LoadError::Native)?;
        prove(&read).map_err(|error| match error {
            LoadError::Native(error) => LoadError::Compiler(error.to_string()),
            error => error,
        })?;
        Ok(image)
    })?;
    // The same bytes, whose digests have been looked at.
    let image = Image::read(&image).map_err(|e| LoadError::Native(NativeError::Image(e)))?;
    place(sandbox, wasm, &image, Engine::Compiled)
}

/// Puts the native code in `bytes`, which was compiled of `wasm`, into `sandbox`, if it is proven, or if whoever gives it may load
/// kernel modules.
pub(super) fn build(sandbox: &Sandbox, wasm: &[u8], bytes: &[u8]) -> Result<Built, LoadError> {
    let image = code::image(bytes, wasm, sandbox.size).map_err(LoadError::Native)?;
    if services::may_load_code() {
        return place(sandbox, wasm, &image, Engine::Trusted);
    }
    alone(bytes.len(), || prove(&image))?;
    place(sandbox, wasm, &image, Engine::Proven)
}

/// Does what meets anybody's bytes, of which there are `size`, so that a defect in it, or too much to do, fails this load alone.
fn alone<T>(size: usize, work: impl FnOnce() -> Result<T, LoadError>) -> Result<T, LoadError> {
    let most = size.saturating_mul(PER_BYTE).saturating_add(BESIDES);
    let failed = |errno| match errno {
        Errno::ENOMEM => "no native code: making and proving it takes too much memory",
        _ => "no native code: the compiler or the checker failed, see the kernel's log",
    };
    control::attempt(most, work)
        .unwrap_or_else(|errno| Err(LoadError::Compiler(failed(errno).to_string())))
}

/// Proves the code of `image`.
fn prove(image: &Image<'_>) -> Result<(), LoadError> {
    let proven = checker::check(image, &mut services::rest_or_killed);
    proven.map(drop).map_err(|refusal| match refusal.rule {
        Rule::Interrupted => LoadError::Interrupted,
        _ => LoadError::Native(NativeError::Unproven(refusal)),
    })
}

/// Puts the code of `image` into `sandbox`.
fn place(
    sandbox: &Sandbox,
    wasm: &[u8],
    image: &Image<'_>,
    engine: Engine,
) -> Result<Built, LoadError> {
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
    let (code, missing) = code::place(image).map_err(LoadError::Native)?;
    // From here on only a damaged sandbox refuses, or kernel memory that is at its end; what it has got it keeps.
    charges.into_iter().for_each(Charge::keep);
    let mut meter = Meter::begin(&sandbox.account, wasm.len(), 0)?;
    let (programs, contexts) = add(shared, code)?;
    meter.read(0)?;
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
        engine,
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
