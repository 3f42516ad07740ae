//! What a module may import (`abi::imports`), resolved to definitions in one store.
//!
//! Names are looked up here, once; a run follows function pointers. A helper that the kernel has but
//! this runtime does not resolves to a function that traps, for unused alternatives must load.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use abi::imports as names;
use abi::layout::WASM_PAGE;
use abi::traps::Trap;
use helpers::calls::{Implementation, Run};
use helpers::imports::host_function;
use wasmi::{
    Caller, Error, Extern, ExternType, Func, FuncType, Global, GlobalType, ImportType, Memory,
    Module, Mutability, Store, TrapCode, Val,
};

use super::slot::RunState;
use super::trap::NO_SITE;
use crate::host::Kernel;
use crate::user::Bytes;

/// What a module on the sandbox's memory is linked with.
#[derive(Clone, Copy)]
pub(crate) struct Environment<'a> {
    /// The memory, in this store.
    pub(crate) memory: Memory,
    /// `env.stack_base`.
    pub(crate) stack_base: u32,
    /// Values of the imported i64 globals, by position.
    pub(crate) globals: &'a [u64],
}

/// Why an import was refused.
#[derive(Debug)]
pub(crate) enum ImportError {
    /// No such import.
    Unknown {
        module: String,
        name: String,
        what: &'static str,
    },
    /// An import by that name exists, but of another type.
    WrongType {
        module: String,
        name: String,
        expected: String,
    },
    /// A memory larger than the sandbox's.
    Memory { needed: u64, limit: u64 },
    /// Not as many values as imported globals.
    Values { imported: usize, given: usize },
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { module, name, what } => write!(f, "import {module}.{name}: {what}"),
            Self::WrongType {
                module,
                name,
                expected,
            } => write!(f, "import {module}.{name}: wrong type, it is {expected}"),
            Self::Memory { needed, limit } => {
                let (needed, limit) = (Bytes(*needed), Bytes(*limit));
                write!(f, "needs {needed} of memory, the sandbox has {limit}")
            }
            Self::Values { imported, given } => {
                write!(f, "{imported} values are imported, {given} were given")
            }
        }
    }
}

/// Whether `module` runs on the sandbox's memory.
pub(crate) fn shares_memory(module: &Module) -> bool {
    module
        .imports()
        .any(|i| i.module() == names::ENV && i.name() == names::MEMORY)
}

/// Names of the functions that `module` imports and this runtime lacks; calling one traps.
pub(crate) fn missing(module: &Module) -> Vec<String> {
    module
        .imports()
        .filter(|i| host_function::<Kernel>(i.module(), i.name()).is_some_and(|f| !f.provided))
        .map(|i| format!("{}.{}", i.module(), i.name()))
        .collect()
}

/// The definitions that `module` imports, in order. Without an environment, which is a module with its
/// own memory, only `env.trap` is there.
pub(crate) fn resolve(
    module: &Module,
    store: &mut Store<RunState>,
    environment: Option<Environment<'_>>,
) -> Result<Vec<Extern>, ImportError> {
    let values = environment.map_or(&[][..], |e| e.globals);
    let mut given = values.iter();
    let mut imported = 0;
    let mut externs = Vec::new();
    for import in module.imports() {
        let item = if names::VALUE_MODULES.contains(&import.module()) {
            imported += 1;
            let value = given.next().copied().unwrap_or_default();
            value_global(store, &import, environment.is_some(), value)?
        } else {
            definition(store, &import, environment)?
        };
        externs.push(item);
    }
    if imported != values.len() {
        return Err(ImportError::Values {
            imported,
            given: values.len(),
        });
    }
    Ok(externs)
}

fn unknown(import: &ImportType<'_>, what: &'static str) -> ImportError {
    ImportError::Unknown {
        module: import.module().to_string(),
        name: import.name().to_string(),
        what,
    }
}

/// `item`, if the import asks for its type.
fn typed(
    import: &ImportType<'_>,
    item: impl Into<Extern>,
    ty: ExternType,
) -> Result<Extern, ImportError> {
    let fits = match (import.ty(), &ty) {
        (ExternType::Func(asked), ExternType::Func(has)) => asked == has,
        (ExternType::Global(asked), ExternType::Global(has)) => asked == has,
        _ => false,
    };
    if fits {
        return Ok(item.into());
    }
    Err(ImportError::WrongType {
        module: import.module().to_string(),
        name: import.name().to_string(),
        expected: describe(&ty),
    })
}

fn describe(ty: &ExternType) -> String {
    match ty {
        ExternType::Func(func) => format!(
            "a function of {} i64, with {} result",
            func.params().len(),
            func.results().len()
        ),
        ExternType::Global(global) => format!("an immutable {:?} global", global.content()),
        other => format!("{other:?}"),
    }
}

fn global(
    store: &mut Store<RunState>,
    import: &ImportType<'_>,
    value: Val,
) -> Result<Extern, ImportError> {
    let ty = GlobalType::new(value.ty(), Mutability::Const);
    let item = Global::new(store, value, Mutability::Const);
    typed(import, item, ExternType::Global(ty))
}

fn value_global(
    store: &mut Store<RunState>,
    import: &ImportType<'_>,
    shared: bool,
    value: u64,
) -> Result<Extern, ImportError> {
    if !shared {
        return Err(unknown(import, OWN_MEMORY));
    }
    global(store, import, Val::I64(value as i64))
}

fn definition(
    store: &mut Store<RunState>,
    import: &ImportType<'_>,
    environment: Option<Environment<'_>>,
) -> Result<Extern, ImportError> {
    if import.module() == names::ENV && import.name() == names::TRAP {
        let trap = Func::wrap(&mut *store, trap);
        return function(store, import, trap);
    }
    if let Some(found) = host_function::<Kernel>(import.module(), import.name()) {
        if environment.is_none() {
            return Err(unknown(import, OWN_MEMORY));
        }
        let item = wrap(store, found.params, found.run);
        return function(store, import, item);
    }
    match (import.module(), import.name(), environment) {
        (names::ENV, names::MEMORY, Some(environment)) => {
            let memory = environment.memory;
            fits(import, memory.data_size(&*store) as u64)?;
            // That its maximum fits too is checked when the module is instantiated.
            Ok(memory.into())
        }
        (names::ENV, names::STACK_BASE, Some(environment)) => {
            global(store, import, Val::I32(environment.stack_base as i32))
        }
        (names::ENV, names::MEMORY | names::STACK_BASE, None) => Err(unknown(import, OWN_MEMORY)),
        _ => Err(unknown(import, what_is_missing(import.module()))),
    }
}

const OWN_MEMORY: &str = "only for a module that uses its sandbox's memory";

/// Whether the memory asked for is at most the one there is.
fn fits(import: &ImportType<'_>, limit: u64) -> Result<(), ImportError> {
    let ExternType::Memory(asked) = import.ty() else {
        return Err(unknown(import, "wrong type, it is a memory"));
    };
    let needed = asked.minimum().saturating_mul(WASM_PAGE.into());
    if needed > limit {
        return Err(ImportError::Memory { needed, limit });
    }
    Ok(())
}

fn what_is_missing(module: &str) -> &'static str {
    match module {
        names::BPF => "unknown helper",
        names::ATOMIC => "unknown atomic operation",
        _ => "unknown",
    }
}

fn function(
    store: &Store<RunState>,
    import: &ImportType<'_>,
    item: Func,
) -> Result<Extern, ImportError> {
    let ty: FuncType = item.ty(store);
    typed(import, item, ExternType::Func(ty))
}

/// `env.trap`.
fn trap(mut caller: Caller<'_, RunState>, code: i32, site: i32) -> Result<(), Error> {
    let trap = Trap::from_code(code as u32).unwrap_or(Trap::Engine);
    Err(end_run(&mut caller, trap, site as u32))
}

/// Notes why the run ends; the engine's own trap then ends it.
fn end_run(caller: &mut Caller<'_, RunState>, trap: Trap, site: u32) -> Error {
    caller.data_mut().trap = Some((trap, site));
    TrapCode::UnreachableCodeReached.into()
}

type Hit<'a> = Caller<'a, RunState>;

/// A function of `arity` i64 parameters and an i64 result that runs `call`.
fn wrap(store: &mut Store<RunState>, arity: usize, call: Implementation<Kernel>) -> Func {
    let run = move |mut caller: Hit<'_>, args: [i64; 5]| {
        let state = caller.data();
        let result = match &state.space {
            Some(space) => {
                let run = Run {
                    host: &Kernel,
                    space,
                    context: state.context,
                    cookie: state.cookie,
                };
                call(&run, args.map(|arg| arg as u64))
            }
            None => Err(Trap::NoHelper),
        };
        result
            .map(|value| value as i64)
            .map_err(|trap| end_run(&mut caller, trap, NO_SITE))
    };
    // Typed wrappers: the untyped one allocates at every call.
    macro_rules! typed {
        ($($arg:ident)*, $($rest:literal)*) => {
            Func::wrap(store, move |c: Hit<'_>, $($arg: i64),*| run(c, [$($arg,)* $($rest),*]))
        };
    }
    match arity {
        0 => typed!(, 0 0 0 0 0),
        1 => typed!(a, 0 0 0 0),
        2 => typed!(a b, 0 0 0),
        3 => typed!(a b d, 0 0),
        4 => typed!(a b d e, 0),
        _ => typed!(a b d e f,),
    }
}
