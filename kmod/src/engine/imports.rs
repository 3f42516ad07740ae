//! What a module may import (`abi::imports`), resolved to definitions in one store.
//!
//! Names are looked up here, once; a run follows function pointers. A helper that the kernel has but
//! this runtime does not resolves to a function that traps, for unused alternatives must load.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use abi::imports as names;
use abi::layout::{CALLBACK_DEPTH, WASM_PAGE};
use abi::traps::Trap;
use helpers::calls::{self, CallbackImplementation, Nested, Run, Work};
use helpers::host::Errno;
use helpers::imports::{Action, host_function};
use helpers::space::Space;
use wasmi::{
    Caller, Error, Extern, ExternType, Func, FuncType, Global, GlobalType, ImportType, Memory,
    Module, Mutability, Store, TrapCode, Val,
};

use super::Function;
use super::slot::{Callbacks, RunState};
use super::trap::{self, NO_SITE, Stop};
use crate::host::Kernel;
use crate::user::Bytes;

/// What a module on the sandbox's memory is linked with.
#[derive(Clone, Copy)]
pub(crate) struct Environment {
    /// The memory, in this store.
    pub(crate) memory: Memory,
    /// `env.stack_base`.
    pub(crate) stack_base: u32,
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
    environment: Option<Environment>,
) -> Result<Vec<Extern>, ImportError> {
    module
        .imports()
        .map(|import| definition(store, &import, environment))
        .collect()
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

fn definition(
    store: &mut Store<RunState>,
    import: &ImportType<'_>,
    environment: Option<Environment>,
) -> Result<Extern, ImportError> {
    if import.module() == names::ENV && import.name() == names::TRAP {
        let trap = Func::wrap(&mut *store, env_trap);
        return function(store, import, trap);
    }
    if let Some(found) = host_function::<Kernel>(import.module(), import.name()) {
        if environment.is_none() {
            return Err(unknown(import, OWN_MEMORY));
        }
        let module = store.data().callbacks.len();
        let item = wrap(store, found.params, found.action, module);
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
        module if names::VALUE_MODULES.contains(&module) => {
            "a value that the loader did not put in"
        }
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
fn env_trap(mut caller: Caller<'_, RunState>, code: i32, site: i32) -> Result<(), Error> {
    let trap = Trap::from_code(code as u32).unwrap_or(Trap::Engine);
    Err(end_run(&mut caller, trap, site as u32))
}

/// Notes why the run ends; the engine's own trap then ends it.
fn end_run(caller: &mut Caller<'_, RunState>, trap: Trap, site: u32) -> Error {
    // What ended a callback is the reason also for the helper that called it.
    caller.data_mut().trap.get_or_insert((trap, site));
    TrapCode::UnreachableCodeReached.into()
}

type Hit<'a> = Caller<'a, RunState>;

/// What the import sees of the run.
fn run<'a>(state: &RunState, space: &'a Space, work: &'a Work) -> Run<'a, Kernel> {
    Run {
        host: &Kernel,
        space,
        cpu: state.vm.cpu as u32,
        context: state.context(),
        tail_calls: state.flow.tail_calls,
        depth: state.flow.depth,
        nested: state.flow.nested,
        work,
    }
}

/// A function of `arity` i64 parameters and an i64 result that does `action` for the store's module number `module`.
fn wrap(store: &mut Store<RunState>, arity: usize, action: Action<Kernel>, module: usize) -> Func {
    match action {
        Action::Call(helper) => host_func(store, arity, move |caller, args, work| {
            let state = caller.data();
            let space = state.space.ok_or(Trap::NoHelper)?;
            helper(&run(state, space, work), args)
        }),
        Action::TailCall => host_func(store, arity, tail_call),
        Action::TailCallWithin => host_func(store, arity, tail_call_within),
        Action::Callback(helper) => host_func(store, arity, move |caller, args, work| {
            callback(caller, helper, module, args, work)
        }),
    }
}

/// Notes the program that takes over and ends this one; goes on if there is none.
fn tail_call(caller: &mut Hit<'_>, args: [u64; 5], work: &Work) -> Result<u64, Trap> {
    let state = caller.data_mut();
    let space = state.space.ok_or(Trap::NoHelper)?;
    let next = calls::tail_call(&run(state, space, work), args)?;
    match next.filter(|number| state.program(*number).is_some()) {
        None => Ok(Errno::ENOENT.as_r0()),
        // It would end the helper that called back, too.
        Some(_) if state.flow.depth > 0 => Err(Trap::NoHelper),
        Some(number) => {
            state.flow.next = Some(number);
            Err(Trap::Unreachable)
        }
    }
}

/// Runs the program that takes over from a function, and those that take over from it.
fn tail_call_within(caller: &mut Hit<'_>, args: [u64; 5], work: &Work) -> Result<u64, Trap> {
    let state = caller.data_mut();
    let space = state.space.ok_or(Trap::NoHelper)?;
    let within = calls::tail_call_within(&run(state, space, work), args)?;
    let Some((within, first)) = within.and_then(|w| Some((w, state.program(w.program)?))) else {
        return Ok(0);
    };
    let (waiting, argument) = (state.flow.nested, state.argument as i64);
    within.begin();
    state.begin_within(within.nested);
    let mut next = Some(first);
    let mut result = Err(Trap::Engine);
    while let Some(program) = next {
        // A module's engine is one for all of its programs, and so is its caller's for what they call.
        let Function::Wasmi(program) = program else {
            return Err(Trap::NoHelper);
        };
        let ended = lend(caller, work, |caller| program.call(caller, argument))?;
        let state = caller.data_mut();
        next = state.next_program();
        result = ended.map(|r0| r0 as u64).map_err(|error| {
            let why = trap::reason(state, &Stop::Engine(error));
            state.trap = next.is_none().then_some(why);
            why.0
        });
    }
    let result = result?;
    caller.data_mut().flow.nested = Nested { result, ..waiting };
    within.end();
    Ok(1)
}

fn callback(
    caller: &mut Hit<'_>,
    helper: CallbackImplementation<Kernel>,
    module: usize,
    args: [u64; 5],
    work: &Work,
) -> Result<u64, Trap> {
    let state = caller.data_mut();
    let space = state.space.ok_or(Trap::NoHelper)?;
    if state.flow.depth >= CALLBACK_DEPTH {
        return Err(Trap::StackOverflow);
    }
    let run = run(state, space, work);
    let waiting = state.flow.nested;
    state.flow.nested = waiting.enter()?;
    state.flow.depth += 1;
    let result = helper(&run, args, &mut |index, args| {
        invoke(caller, work, module, index, args)
    });
    let flow = &mut caller.data_mut().flow;
    flow.depth -= 1;
    flow.nested = waiting;
    result
}

/// Calls the function with number `index` of the module.
fn invoke(
    caller: &mut Hit<'_>,
    work: &Work,
    module: usize,
    index: u64,
    args: [u64; 5],
) -> Result<u64, Trap> {
    let index = usize::try_from(index).map_err(|_| Trap::BadCall)?;
    let function = match caller.data().callbacks.get(module) {
        Some(Callbacks::Wasmi(functions)) => functions.get(index).copied().flatten(),
        _ => None,
    };
    let [a, b, c, d, e] = args.map(|arg| arg as i64);
    let function = function.ok_or(Trap::BadCall)?;
    let result = lend(caller, work, |caller| {
        function.call(caller, (a, b, c, d, e))
    })?;
    result.map(|r0| r0 as u64).map_err(|error| {
        let state = caller.data_mut();
        let why = trap::reason(state, &Stop::Engine(error));
        state.trap = Some(why);
        why.0
    })
}

/// Has functions of the module run on what is left of the budget, and goes on with what they leave.
fn lend<T>(
    caller: &mut Hit<'_>,
    work: &Work,
    run: impl FnOnce(&mut Hit<'_>) -> Result<T, Error>,
) -> Result<Result<T, Error>, Trap> {
    caller.set_fuel(work.left()).map_err(|_| Trap::Engine)?;
    let result = run(caller);
    work.resume(caller.get_fuel().map_err(|_| Trap::Engine)?);
    Ok(result)
}

/// Does `action`, which pays from the run's budget.
fn paid(
    caller: &mut Hit<'_>,
    action: impl FnOnce(&mut Hit<'_>, &Work) -> Result<u64, Trap>,
) -> Result<u64, Trap> {
    let work = Work::new(caller.get_fuel().map_err(|_| Trap::Engine)?);
    let result = action(caller, &work);
    caller.set_fuel(work.left()).map_err(|_| Trap::Engine)?;
    result
}

/// A function of `arity` i64 parameters and an i64 result.
fn host_func<F>(store: &mut Store<RunState>, arity: usize, action: F) -> Func
where
    F: Fn(&mut Hit<'_>, [u64; 5], &Work) -> Result<u64, Trap> + Copy + Send + Sync + 'static,
{
    let run = move |mut caller: Hit<'_>, args: [i64; 5]| {
        paid(&mut caller, |caller, work| {
            action(caller, args.map(|arg| arg as u64), work)
        })
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
