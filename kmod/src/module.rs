//! A module: validated, compiled and instantiated; its programs; the string it reports.
//!
//! The loader is not trusted: everything it says is checked again here. What cannot run safely is
//! refused with a reason that names the culprit.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use abi::layout;
use abi::traps::Trap;
use abi::uapi::{self, Kind, SYSCALL_ARGS};
use helpers::host::Errno;
use wasmi::errors::ErrorKind;
use wasmi::{Error, ExternType, Instance, Memory, Module as Code, Store, TypedFunc, Val, ValType};

use crate::cpu;
use crate::engine::config::{Start, engine};
use crate::engine::imports::{self, Environment, ImportError};
use crate::engine::slot::{RunState, Slot, SlotGuard};
use crate::engine::trap;
use crate::link;
use crate::program::{Budget, Buffer, Entry, Program};
use crate::registry::{Object, Registry};
use crate::sandbox::{CpuSlot, MAX_LOADS, Sandbox, Shared};
use crate::services;
use crate::stats::Stats;
use crate::user::{self, Bytes, Call, Log, Refusal, refused};

/// Imported globals of a module at most.
const MAX_GLOBALS: u32 = 1 << 16;
/// Bytes of a report at most.
const MAX_REPORT: u64 = 64 << 10;

/// Why a module was not loaded.
#[derive(Debug)]
pub(crate) enum LoadError {
    /// Too many bytes of wasm.
    TooLarge { size: u64, limit: u64 },
    /// The engine does not accept it.
    Invalid(Error),
    /// It imports what is not there.
    Import(ImportError),
    /// Its memory is larger than allowed.
    Memory { needed: u64, limit: u64 },
    /// Its start function did not end well.
    StartTrapped(Trap),
    /// It could not be instantiated for another reason.
    Instantiate(Error),
    /// The sandbox has seen too many modules.
    TooMany,
    /// A store of the sandbox is beyond repair.
    Poisoned,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { size, limit } => {
                write!(f, "module has {size} bytes, limit is {limit}")
            }
            Self::Invalid(error) => write!(f, "module does not validate: {error}"),
            Self::Import(error) => error.fmt(f),
            Self::Memory { needed, limit } => {
                write!(
                    f,
                    "needs {} of memory, limit is {}",
                    Bytes(*needed),
                    Bytes(*limit)
                )
            }
            Self::StartTrapped(trap) => write!(f, "start function: {}", trap.text()),
            Self::Instantiate(error) => write!(f, "module cannot be instantiated: {error}"),
            Self::TooMany => write!(
                f,
                "more than {MAX_LOADS} modules were loaded into this sandbox"
            ),
            Self::Poisoned => write!(f, "the sandbox was damaged by an engine failure"),
        }
    }
}

impl Refusal for LoadError {
    fn errno(&self) -> Errno {
        match self {
            Self::TooLarge { .. } | Self::Memory { .. } | Self::TooMany => Errno::E2BIG,
            Self::Import(ImportError::Memory { .. }) => Errno::E2BIG,
            Self::Import(_) => Errno::ENOENT,
            Self::Poisoned => Errno(5),
            _ => Errno::EINVAL,
        }
    }
}

/// What an exclusive module has for itself.
pub(crate) struct Own {
    pub(crate) slot: Slot,
    pub(crate) buffer: Option<Buffer>,
    memory: Option<Memory>,
    report: Option<TypedFunc<(), i32>>,
}

/// A loaded module.
pub(crate) struct Module {
    pub(crate) id: u32,
    name: String,
    wasm: Vec<u8>,
    pub(crate) budget: Budget,
    pub(crate) programs: Vec<Program>,
    /// None: it runs in its sandbox's stores.
    pub(crate) own: Option<Own>,
}

/// `MODULE_LOAD`.
pub(crate) fn load(
    registry: &mut Registry,
    sandbox: &Arc<Sandbox>,
    call: &Call,
) -> Result<Object, Errno> {
    let args: uapi::ModuleLoad = call.read()?;
    let name = user::text(&args.name)?;
    if args.flags != 0 || args.globals_count > MAX_GLOBALS {
        return Err(Errno::EINVAL);
    }
    let log = Log {
        address: args.log,
        size: args.log_size,
    };
    let limits = services::limits();
    if args.wasm_size > limits.max_module {
        let (size, limit) = (args.wasm_size, limits.max_module);
        return Err(refused(log, &LoadError::TooLarge { size, limit }));
    }
    let wasm = user::bytes(args.wasm, args.wasm_size as usize)?;
    let globals = globals(&args)?;
    let budget = Budget {
        fuel: if args.fuel == 0 {
            limits.default_fuel
        } else {
            args.fuel
        },
        trap_limit: args.trap_limit,
    };
    let built = build(sandbox, &wasm, &globals, budget.fuel).map_err(|e| refused(log, &e))?;
    if !built.missing.is_empty() && log.size > 0 {
        log.write(&format!("calls trap: {}", built.missing.join(", ")));
    }
    let module = Arc::new(Module {
        id: registry.new_id(Kind::Module),
        name,
        wasm,
        budget,
        programs: built.programs,
        own: built.own,
    });
    let module = Object::Module(sandbox.clone(), module);
    registry.add(&module);
    Ok(module)
}

fn globals(args: &uapi::ModuleLoad) -> Result<Vec<u64>, Errno> {
    let bytes = user::bytes(args.globals, args.globals_count as usize * 8)?;
    let words = bytes.chunks_exact(8);
    Ok(words
        .map(|word| word.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b)))
        .collect())
}

/// What came of a module's bytes.
struct Built {
    programs: Vec<Program>,
    own: Option<Own>,
    missing: Vec<String>,
}

fn build(sandbox: &Sandbox, wasm: &[u8], globals: &[u64], fuel: u64) -> Result<Built, LoadError> {
    if !sandbox.count_load() {
        return Err(LoadError::TooMany);
    }
    // What a module imports is known once it is compiled; a module that imports no memory is compiled
    // again, in an engine of its own.
    if let Some(shared) = &sandbox.shared
        && let Some(first) = shared.cpus.first()
    {
        let code = compile(&*lock(first)?, wasm)?;
        if imports::shares_memory(&code) {
            return build_shared(shared, wasm, globals, code);
        }
    }
    build_exclusive(wasm, globals, fuel)
}

fn lock(cpu: &CpuSlot) -> Result<SlotGuard<'_>, LoadError> {
    cpu.slot.lock().ok_or(LoadError::Poisoned)
}

fn compile(store: &Store<RunState>, wasm: &[u8]) -> Result<Code, LoadError> {
    Code::new(store.engine(), wasm).map_err(LoadError::Invalid)
}

fn build_shared(
    shared: &Shared,
    wasm: &[u8],
    globals: &[u64],
    first: Code,
) -> Result<Built, LoadError> {
    let missing = imports::missing(&first);
    let mut first = Some(first);
    let mut funcs: Vec<(String, Vec<TypedFunc<i64, i64>>)> = Vec::new();
    for (index, cpu) in (0..).zip(&shared.cpus) {
        let mut store = lock(cpu)?;
        let code = match first.take() {
            Some(code) => code,
            None => compile(&store, wasm)?,
        };
        let environment = Environment {
            memory: cpu.memory,
            stack_base: layout::stack_base(index),
            globals,
        };
        let instance = instantiate(&code, &mut store, Some(environment))?;
        for name in attachable(&code) {
            let Ok(func) = instance.get_typed_func(&*store, name) else {
                continue;
            };
            match funcs.iter_mut().find(|(known, _)| known == name) {
                Some((_, funcs)) => funcs.push(func),
                None => funcs.push((name.to_string(), Vec::from([func]))),
            }
        }
    }
    Ok(Built {
        programs: funcs
            .into_iter()
            .map(|(name, funcs)| program(name, Entry::Context(funcs.into())))
            .collect(),
        own: None,
        missing,
    })
}

/// Names of the exports that have the form `PROVIDER:TARGET:POINT`.
fn attachable(code: &Code) -> impl Iterator<Item = &str> {
    code.exports()
        .filter(|export| matches!(export.ty(), ExternType::Func(_)))
        .map(|export| export.name())
        .filter(|name| name.matches(':').count() >= 2)
}

fn program(name: String, entry: Entry) -> Program {
    Program {
        name,
        entry,
        stats: Stats::new(),
    }
}

fn instantiate(
    code: &Code,
    store: &mut Store<RunState>,
    environment: Option<Environment<'_>>,
) -> Result<Instance, LoadError> {
    let items = imports::resolve(code, store, environment).map_err(LoadError::Import)?;
    store.data_mut().limiter.reopen();
    let result = Instance::new(&mut *store, code, &items);
    store.data_mut().limiter.close();
    result.map_err(|error| why(store.data_mut(), error))
}

/// Why a module was not instantiated.
fn why(state: &mut RunState, error: Error) -> LoadError {
    if let Some(needed) = state.limiter.denied {
        return LoadError::Memory {
            needed: needed as u64,
            limit: state.limiter.memory() as u64,
        };
    }
    match error.kind() {
        ErrorKind::TrapCode(_) => LoadError::StartTrapped(trap::reason(state, &error).0),
        _ => LoadError::Instantiate(error),
    }
}

fn build_exclusive(wasm: &[u8], globals: &[u64], fuel: u64) -> Result<Built, LoadError> {
    if !globals.is_empty() {
        let given = globals.len();
        return Err(LoadError::Import(ImportError::Values {
            imported: 0,
            given,
        }));
    }
    let engine = engine(Start::Allowed);
    let limit = services::limits().max_memory as usize;
    let slot = Slot::new(&engine, None, limit).map_err(LoadError::Instantiate)?;
    let (programs, buffer, memory, report) = {
        let mut store = slot.lock().ok_or(LoadError::Poisoned)?;
        let code = compile(&store, wasm)?;
        store.set_fuel(fuel).map_err(LoadError::Instantiate)?;
        let instance = instantiate(&code, &mut store, None)?;
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
    Ok(Built {
        programs,
        own: Some(Own {
            slot,
            buffer,
            memory,
            report,
        }),
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

/// Answers an ioctl of a module's descriptor.
pub(crate) fn ioctl(
    registry: &mut Registry,
    sandbox: &Arc<Sandbox>,
    module: &Arc<Module>,
    call: &Call,
) -> Result<Option<Object>, Errno> {
    if call.is(uapi::LINK_CREATE) {
        return link::create(registry, sandbox, module, call).map(Some);
    }
    if call.is(uapi::REPORT) {
        return module.report(call).map(|()| None);
    }
    if call.is(uapi::PROGRAM_INFO) {
        return module.program_info(registry, module, call).map(|()| None);
    }
    if call.is(uapi::MODULE_INFO) {
        let object = Object::Module(sandbox.clone(), module.clone());
        call.write(&uapi::ModuleInfo {
            id: module.id,
            sandbox: sandbox.id,
            name: user::field(&module.name),
            wasm_size: module.wasm.len() as u64,
            fuel: module.budget.fuel,
            trap_limit: module.budget.trap_limit,
            programs: module.programs.len() as u32,
            links: registry.links(module).count() as u32,
            pinned: registry.is_pinned(&object).into(),
            exclusive: module.own.is_some().into(),
            reports: module
                .own
                .as_ref()
                .is_some_and(|own| own.report.is_some())
                .into(),
        })?;
        return Ok(None);
    }
    Err(user::ENOTTY)
}

impl Module {
    /// `read(2)`: up to `size` bytes of the wasm, from `position` on.
    pub(crate) fn read(&self, to: u64, size: u64, position: u64) -> Result<usize, Errno> {
        let start = usize::try_from(position).unwrap_or(usize::MAX);
        let rest = self.wasm.get(start..).unwrap_or_default();
        let part = &rest[..rest.len().min(usize::try_from(size).unwrap_or(usize::MAX))];
        user::copy_out(to, part)?;
        Ok(part.len())
    }

    fn program_info(
        &self,
        registry: &Registry,
        this: &Arc<Self>,
        call: &Call,
    ) -> Result<(), Errno> {
        let args: uapi::ProgramInfo = call.read()?;
        let index = args.index as usize;
        let program = self.programs.get(index).ok_or(Errno::ENOENT)?;
        let totals = program.stats.totals();
        let missed: u64 = registry
            .links(this)
            .filter(|link| link.is_of_program(index))
            .map(|link| link.missed())
            .sum();
        let (last_trap, last_site) = program.stats.last_trap();
        call.write(&uapi::ProgramInfo {
            index: args.index,
            disabled: program.stats.is_disabled().into(),
            name: user::field(&program.name),
            runs: totals.runs,
            misses: totals.misses + missed,
            traps: totals.traps,
            last_trap,
            last_site,
            nanoseconds: totals.nanoseconds,
        })
    }

    /// `REPORT`: runs the export, copies the string it points to.
    fn report(&self, call: &Call) -> Result<(), Errno> {
        let mut args: uapi::Report = call.read()?;
        let own = self.own.as_ref().ok_or(Errno::EOPNOTSUPP)?;
        let (Some(report), Some(memory)) = (own.report, own.memory) else {
            return Err(Errno::EOPNOTSUPP);
        };
        let mut text = user::zeroes(args.size.min(MAX_REPORT) as usize)?;
        let room = text.len().checked_sub(1).ok_or(Errno::EINVAL)?;
        let length = cpu::quietly(|running| {
            let mut store = own.slot.lock().ok_or(Errno(5))?;
            running.using(&own.slot, None);
            let address = self.call_report(&mut store, report)?;
            let bytes = memory
                .data(&*store)
                .get(address as u32 as usize..)
                .ok_or(Errno::EFAULT)?;
            let length = bytes
                .iter()
                .take(room)
                .take_while(|byte| **byte != 0)
                .count();
            text[..length].copy_from_slice(&bytes[..length]);
            Ok(length)
        })?;
        user::copy_out(args.text, &text[..=length])?;
        args.size = length as u64;
        call.write(&args)
    }

    fn call_report(
        &self,
        store: &mut Store<RunState>,
        report: TypedFunc<(), i32>,
    ) -> Result<i32, Errno> {
        let result = store
            .set_fuel(self.budget.fuel)
            .and_then(|()| report.call(&mut *store, ()));
        result.map_err(|error| Errno(trap::reason(store.data_mut(), &error).0.errno()))
    }
}
