//! Loading: from a module's bytes to its programs.
//!
//! The loader is not trusted: everything it says is checked again here. What cannot run safely is
//! refused with a reason that names the culprit. What a refused module left in its sandbox's stores
//! stays there, which is why a sandbox takes so many loads only.

mod error;
mod native;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::helpers::{is_gpl_compatible, is_gpl_only};
use abi::imports::CALLBACKS;
use abi::layout;
use abi::native::Vm;
use abi::uapi::{self, Engine, Kind, Resource, SYSCALL_ARGS};
use cost::MAX_LOCALS;
use helpers::host::Errno;
use wasmi::errors::ErrorKind;
use wasmi::{
    Error, ExternType, Instance, Memory, Module as Code, Nullable, Ref, Store, Val, ValType,
};

use error::LoadError;

use crate::cpu;
use crate::engine::Function;
use crate::engine::config::{Start, engine};
use crate::engine::imports::{self, Environment};
use crate::engine::slot::{Callbacks, RunState, Slot, SlotGuard};
use crate::engine::trap::{self, Stop};
use crate::limits::{Account, Charge};
use crate::module::{Module, Origin, Own};
use crate::program::{Budget, Buffer, Entry, Program};
use crate::registry::{self, Object};
use crate::sandbox::{CpuSlot, NamedPrograms, Sandbox, Shared};
use crate::services::{self, Limits};
use crate::stack;
use crate::stats::Stats;
use crate::user::{self, Call, Log, refused};

/// Imports of a module at most: each takes room in every store.
const MAX_IMPORTS: usize = 1 << 14;

/// Both flags of `MODULE_LOAD`.
const COMPILE_OR_INTERPRET: u32 = uapi::MODULE_COMPILE | uapi::MODULE_FALLBACK;

/// `MODULE_LOAD`.
pub(crate) fn load(sandbox: &Arc<Sandbox>, call: &Call) -> Result<Object, Errno> {
    let args: uapi::ModuleLoad = call.read()?;
    let name = user::text(&args.name)?;
    let (compiles, falls_back) = match args.flags {
        0 => (false, false),
        uapi::MODULE_COMPILE => (true, false),
        COMPILE_OR_INTERPRET => (true, true),
        _ => return Err(Errno::EINVAL),
    };
    if compiles && args.native_size != 0 {
        return Err(Errno::EINVAL);
    }
    let log = Log::new(args.log, args.log_size);
    let limits = services::limits();
    let limit = limits.max_module;
    for size in [args.wasm_size, args.native_size] {
        if size > limit {
            return Err(refused(log, &LoadError::TooLarge { size, limit }));
        }
    }
    let wasm = user::bytes(args.wasm, args.wasm_size as usize)?;
    let code = user::bytes(args.native, args.native_size as usize)?;
    let budget = Budget {
        fuel: fuel(args.fuel, &limits).map_err(|e| refused(log, &e))?,
        trap_limit: args.trap_limit,
    };
    // All is here: from now on nothing waits for what is the caller's.
    let loading = sandbox.loading.hold()?;
    if !sandbox.count_load() {
        return Err(refused(log, &LoadError::TooMany));
    }
    let (mut reason, interpret) = (None, || build(sandbox, &wasm, budget.fuel));
    let (built, _) = stack::larger(|| match code.len() {
        0 if compiles => match native::compile(sandbox, &wasm) {
            Err(why) if falls_back && why.is_of_native_code() => {
                reason = Some(why.to_string());
                interpret()
            }
            built => built,
        },
        0 => interpret(),
        _ => native::build(sandbox, &wasm, &code),
    })?;
    drop(loading);
    let built = built.map_err(|e| refused(log, &e))?;
    if !built.missing.is_empty() {
        log.write(&format!("calls trap: {}", built.missing.join(", ")));
    }
    registry::add(Object::Module(
        sandbox.clone(),
        Arc::new(Module {
            id: registry::new_id(Kind::Module)?,
            name,
            wasm,
            native: built.native,
            engine: built.engine,
            reason: reason.unwrap_or_default(),
            budget,
            first_program: built.first_program,
            programs: built.programs,
            own: built.own,
            origin: Origin::here(),
        }),
    ))
}

/// Charges a sandbox what the engine makes of its modules, as it grows: that is known afterwards only.
struct Meter<'a> {
    account: &'a Account,
    seen: i64,
}

impl<'a> Meter<'a> {
    /// Begins with the bytes of a module, which are kept, and asks whether there is room for as much for each instance.
    fn begin(account: &'a Account, kept: usize, instances: usize) -> Result<Self, LoadError> {
        let kept = kept as u64;
        let needed = kept.saturating_mul(1 + instances as u64);
        drop(
            account
                .charge(Resource::Host, needed)
                .map_err(LoadError::Limit)?,
        );
        account
            .owe(Resource::Host, kept)
            .map_err(LoadError::Limit)?;
        let seen = stack::allocated();
        Ok(Self { account, seen })
    }

    /// Charges what has come since, but for `own` bytes that are charged otherwise. More than there is room for is one instance at most.
    fn read(&mut self, own: usize) -> Result<(), LoadError> {
        let now = stack::allocated();
        let grown = now - self.seen - own as i64;
        self.seen = now;
        let grown = u64::try_from(grown).unwrap_or(0);
        self.account
            .owe(Resource::Host, grown)
            .map_err(LoadError::Limit)
    }
}

/// The budget asked for. It is the time that interrupts may be off, so it has a limit.
fn fuel(asked: u64, limits: &Limits) -> Result<u64, LoadError> {
    let limit = limits.max_fuel;
    match asked {
        0 => Ok(limits.default_fuel.min(limit)),
        _ if asked <= limit => Ok(asked),
        _ => Err(LoadError::Fuel { asked, limit }),
    }
}

/// What came of a module's bytes.
struct Built {
    /// The number of the first in its sandbox; 0 for an exclusive module's.
    first_program: u32,
    programs: Vec<Program>,
    own: Option<Own>,
    /// Bytes of native code.
    native: usize,
    engine: Engine,
    missing: Vec<String>,
}

fn build(sandbox: &Sandbox, wasm: &[u8], fuel: u64) -> Result<Built, LoadError> {
    // What a module imports is known once it is compiled; a module that imports no memory is compiled
    // again, in an engine of its own.
    if let Some(shared) = &sandbox.shared
        && let Some(first) = shared.cpus.first()
    {
        let code = compile(&*lock(first)?, wasm)?;
        if imports::shares_memory(&code) {
            let charges = charge(&sandbox.account, &code, shared.cpus.len())?;
            let built = build_shared(&sandbox.account, shared, wasm, code)?;
            charges.into_iter().for_each(Charge::keep);
            return Ok(built);
        }
    }
    build_exclusive(&sandbox.account, wasm, fuel)
}

/// Refuses what the kernel offers only under a GPL-compatible licence to a module that declares another, or none.
fn licensed<'i>(
    wasm: &[u8],
    mut imports: impl Iterator<Item = (&'i str, &'i str)>,
) -> Result<(), LoadError> {
    let licence = helpers::licence::of(wasm);
    if is_gpl_compatible(licence) {
        return Ok(());
    }
    match imports.find(|(module, name)| is_gpl_only(module, name)) {
        None => Ok(()),
        Some((module, name)) => Err(LoadError::Licence {
            import: format!("{module}.{name}"),
            licence: licence.to_string(),
        }),
    }
}

fn lock(cpu: &CpuSlot) -> Result<SlotGuard<'_>, LoadError> {
    cpu.slot.lock().ok_or(LoadError::Poisoned)
}

fn compile(store: &Store<RunState>, wasm: &[u8]) -> Result<Code, LoadError> {
    let code = Code::new(store.engine(), wasm).map_err(LoadError::Invalid)?;
    // It has been validated, so that its sections can be followed.
    if cost::most_locals(wasm).is_none_or(|most| most > MAX_LOCALS) {
        return Err(LoadError::Locals);
    }
    match code.imports().count() {
        ..=MAX_IMPORTS => Ok(code),
        count => Err(LoadError::Imports(count)),
    }
}

/// Charges what a module takes besides memory.
fn charge<'a>(
    account: &'a Account,
    code: &Code,
    instances: usize,
) -> Result<[Charge<'a>; 2], LoadError> {
    let charge = |resource, amount| account.charge(resource, amount as u64);
    Ok([
        charge(Resource::Programs, attachable(code).count()).map_err(LoadError::Limit)?,
        charge(Resource::Instances, instances).map_err(LoadError::Limit)?,
    ])
}

fn build_shared(
    account: &Account,
    shared: &Shared,
    wasm: &[u8],
    first: Code,
) -> Result<Built, LoadError> {
    licensed(wasm, first.imports().map(|i| (i.module(), i.name())))?;
    let missing = imports::missing(&first);
    let mut meter = Meter::begin(account, wasm.len(), shared.cpus.len())?;
    let mut first = Some(first);
    let mut funcs: Vec<NamedPrograms> = Vec::new();
    for (index, cpu) in (0..).zip(&shared.cpus) {
        let mut store = lock(cpu)?;
        let code = match first.take() {
            Some(code) => code,
            None => compile(&store, wasm)?,
        };
        let environment = Environment {
            memory: cpu.memory,
            stack_base: layout::stack_base(index),
        };
        let instance = instantiate(account, &code, &mut store, Some(environment))?;
        // The same names, in the same order, in each store.
        let mut place = 0;
        for name in attachable(&code) {
            let Ok(func) = instance.get_typed_func(&*store, name) else {
                continue;
            };
            match funcs.get_mut(place) {
                Some((_, funcs)) => funcs.push(Function::Wasmi(func)),
                None => funcs.push((name.to_string(), Vec::from([Function::Wasmi(func)]))),
            }
            place += 1;
        }
        drop(code);
        drop(store);
        meter.read(0)?;
    }
    let first_program = shared.add_programs(&funcs).ok_or(LoadError::Poisoned)?;
    Ok(Built {
        first_program,
        programs: funcs
            .into_iter()
            .map(|(name, funcs)| program(name, Entry::Context(funcs.into())))
            .collect(),
        own: None,
        native: 0,
        engine: Engine::Interpreted,
        missing,
    })
}

/// Names of the exports that have the form `PROVIDER:TARGET:POINT`.
fn attachable(code: &Code) -> impl Iterator<Item = &str> {
    code.exports()
        .filter(|export| matches!(export.ty(), ExternType::Func(_)))
        .map(|export| export.name())
        .filter(|name| is_attachable(name))
}

fn is_attachable(name: &str) -> bool {
    name.matches(':').count() >= 2
}

fn program(name: String, entry: Entry) -> Program {
    Program {
        name,
        entry,
        context: usize::MAX,
        stats: Stats::new(cpu::count()),
    }
}

fn instantiate(
    account: &Account,
    code: &Code,
    store: &mut Store<RunState>,
    environment: Option<Environment>,
) -> Result<Instance, LoadError> {
    let items = imports::resolve(code, store, environment).map_err(LoadError::Import)?;
    store.data_mut().limiter.reopen();
    let result = Instance::new(&mut *store, code, &items);
    store.data_mut().limiter.close();
    let instance = result.map_err(|error| why(account, store.data_mut(), error))?;
    let callbacks = callbacks(store, &instance);
    store.data_mut().callbacks.push(callbacks);
    Ok(instance)
}

/// What the module's table of callbacks holds.
fn callbacks(store: &Store<RunState>, instance: &Instance) -> Callbacks {
    let Some(table) = instance.get_table(store, CALLBACKS) else {
        return Callbacks::Wasmi(Vec::new());
    };
    let function = |index| match table.get(store, index)? {
        Ref::Func(Nullable::Val(function)) => function.typed(store).ok(),
        _ => None,
    };
    Callbacks::Wasmi((0..table.size(store)).map(function).collect())
}

/// Why a module was not instantiated.
fn why(account: &Account, state: &mut RunState, error: Error) -> LoadError {
    if let Some(needed) = state.limiter.denied {
        return LoadError::Limit(account.exceeded(Resource::Memory, needed as u64));
    }
    match error.kind() {
        ErrorKind::TrapCode(_) => {
            LoadError::StartTrapped(trap::reason(state, &Stop::Engine(error)).0)
        }
        _ => LoadError::Instantiate(error),
    }
}

fn build_exclusive(account: &Account, wasm: &[u8], fuel: u64) -> Result<Built, LoadError> {
    let mut meter = Meter::begin(account, wasm.len(), 1)?;
    let engine = engine(Start::Allowed);
    let limit = account.left(Resource::Memory) as usize;
    let slot = Slot::new(&engine, None, limit, Vm::default()).map_err(LoadError::Instantiate)?;
    let (programs, buffer, memory, report) = {
        let mut store = slot.lock().ok_or(LoadError::Poisoned)?;
        let code = compile(&store, wasm)?;
        store.set_fuel(fuel).map_err(LoadError::Instantiate)?;
        let charges = charge(account, &code, 1)?;
        let instance = instantiate(account, &code, &mut store, None)?;
        account
            .charge(Resource::Memory, store.data().limiter.used() as u64)
            .map_err(LoadError::Limit)?
            .keep();
        charges.into_iter().for_each(Charge::keep);
        let memory = code
            .exports()
            .find_map(|e| instance.get_memory(&*store, e.name()));
        (
            attachable(&code)
                .filter_map(|name| with_arguments(&store, &instance, name))
                .collect(),
            memory.and_then(|memory| buffer(&store, &instance, memory)),
            memory,
            instance.get_typed_func(&*store, "report").ok(),
        )
    };
    let memory_bytes = slot.lock().map_or(0, |store| store.data().limiter.used());
    meter.read(memory_bytes)?;
    Ok(Built {
        first_program: 0,
        programs,
        own: Some(Own {
            slot,
            buffer,
            memory,
            report,
        }),
        native: 0,
        engine: Engine::Interpreted,
        missing: Vec::new(),
    })
}

/// The program behind export `name`, if its type is one a hit can call.
fn with_arguments(store: &Store<RunState>, instance: &Instance, name: &str) -> Option<Program> {
    let func = instance.get_func(store, name)?;
    let ty = func.ty(store);
    let is_integer = |ty: &ValType| matches!(ty, ValType::I32 | ValType::I64);
    let callable = ty.params().len() <= SYSCALL_ARGS
        && ty.results().len() <= 1
        && ty.params().iter().chain(ty.results()).all(is_integer);
    let entry = Entry::Arguments {
        func,
        params: ty.params().into(),
        results: ty.results().len(),
    };
    callable.then(|| program(name.to_string(), entry))
}

fn buffer(store: &Store<RunState>, instance: &Instance, memory: Memory) -> Option<Buffer> {
    let address = |name: &str| match instance.get_global(store, name)?.get(store) {
        Val::I32(address) => Some(address as u32),
        _ => None,
    };
    Some(Buffer {
        memory,
        address: address("buffer")?,
        size_at: address("buffer_size"),
    })
}
