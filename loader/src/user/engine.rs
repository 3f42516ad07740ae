//! What the runtime asks of a wasm engine, and the state that its host functions see.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use abi::layout::CALLBACK_DEPTH;
use abi::traps::Trap;
use helpers::calls::{self, CallbackImplementation, Nested, Run, Work};
use helpers::host::{Errno, Host};
use helpers::imports::{Action, HostFunction, host_function};
use helpers::space::Space;

use super::{Error, UserHost};

/// Which engine runs a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum EngineKind {
    /// The interpreter that also runs in the kernel module.
    Wasmi,
    /// Native code, made by the compiler that is in the kernel module, too.
    Jit,
    /// Another project's compiler.
    #[cfg(feature = "wasmtime")]
    Wasmtime,
}

/// How a run ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trapped {
    /// Why.
    pub trap: Trap,
    /// Where, as a site of the manifest; `None` if only the engine knows.
    pub site: Option<u32>,
}

impl Trapped {
    /// What `env.trap(code, site)` means.
    pub(super) fn from_guest(code: u32, site: u32) -> Self {
        Self {
            trap: Trap::from_code(code).unwrap_or(Trap::Engine),
            site: Some(site),
        }
    }

    /// A trap at a place that only the engine knows.
    pub(super) fn somewhere(trap: Trap) -> Self {
        Self { trap, site: None }
    }
}

impl fmt::Display for Trapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.trap.text())
    }
}

impl std::error::Error for Trapped {}

/// What host functions see of a sandbox.
#[derive(Debug)]
pub(super) struct State {
    pub(super) space: Space,
    host: UserHost,
    /// Number of the program that takes over, 0 if none does.
    next: AtomicU32,
    tail_calls: AtomicU32,
    depth: AtomicU32,
    nested: Mutex<Nested>,
    /// Exports by the numbers that program arrays have for them, which begin with 1.
    programs: OnceLock<Vec<String>>,
}

/// A function of the module.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target<'t> {
    /// By its number in the table.
    Callback(u64),
    /// The program that is this export.
    Program(&'t str),
}

/// Calls a function of the module.
pub(super) type Invoke<'i> = &'i mut dyn FnMut(Target<'_>, [u64; 5]) -> Result<u64, Trapped>;

impl State {
    pub(super) fn new(space: Space) -> Self {
        Self {
            space,
            host: UserHost,
            next: AtomicU32::new(0),
            tail_calls: AtomicU32::new(0),
            depth: AtomicU32::new(0),
            nested: Mutex::default(),
            programs: OnceLock::new(),
        }
    }

    /// Says once which exports program arrays have numbers for.
    pub(super) fn name_programs(&self, exports: Vec<String>) {
        // Who says it twice has loaded twice, which nobody does.
        let _ = self.programs.set(exports);
    }

    /// The export of program `number`.
    pub(super) fn program(&self, number: u32) -> Option<&str> {
        let index = (number as usize).checked_sub(1)?;
        self.programs.get()?.get(index).map(String::as_str)
    }

    fn nested(&self) -> std::sync::MutexGuard<'_, Nested> {
        self.nested.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a run.
    pub(super) fn begin(&self) {
        for part in [&self.next, &self.tail_calls, &self.depth] {
            part.store(0, Relaxed);
        }
        *self.nested() = Nested::default();
    }

    /// The program that takes over, if the last one has ended by a tail call.
    pub(super) fn next_program(&self) -> Option<u32> {
        let number = self.next.swap(0, Relaxed);
        self.tail_calls.fetch_add(1, Relaxed);
        (number != 0).then_some(number)
    }

    /// Calls an imported function, which may call functions of the module by `invoke`.
    pub(super) fn call(
        &self,
        function: &HostFunction<UserHost>,
        args: [u64; 5],
        work: &Work,
        invoke: Invoke<'_>,
    ) -> Result<u64, Trapped> {
        let run = Run {
            host: &self.host,
            space: &self.space,
            cpu: self.host.cpu(),
            context: 0,
            tail_calls: self.tail_calls.load(Relaxed),
            depth: self.depth.load(Relaxed),
            nested: *self.nested(),
            work,
        };
        match function.action {
            Action::Call(helper) => helper(&run, args).map_err(Trapped::somewhere),
            Action::TailCall => self.tail_call(&run, args).map_err(Trapped::somewhere),
            Action::TailCallWithin => self.tail_call_within(&run, args, invoke),
            Action::Callback(helper) => self.callback(&run, helper, args, invoke),
        }
    }

    fn tail_call(&self, run: &Run<'_, UserHost>, args: [u64; 5]) -> Result<u64, Trap> {
        match calls::tail_call(run, args)? {
            None => Ok(Errno::ENOENT.as_r0()),
            // It would end the helper that called back, too.
            Some(_) if run.depth > 0 => Err(Trap::NoHelper),
            Some(number) => {
                self.next.store(number, Relaxed);
                Err(Trap::Unreachable)
            }
        }
    }

    /// Runs the program that takes over from a function, and those that take over from it.
    fn tail_call_within(
        &self,
        run: &Run<'_, UserHost>,
        args: [u64; 5],
        invoke: Invoke<'_>,
    ) -> Result<u64, Trapped> {
        let within = calls::tail_call_within(run, args).map_err(Trapped::somewhere)?;
        let Some(within) = within.filter(|within| self.program(within.program).is_some()) else {
            return Ok(0);
        };
        within.begin();
        *self.nested() = within.nested;
        self.tail_calls.fetch_add(1, Relaxed);
        let mut next = Some(within.program);
        let mut result = Err(Trapped::somewhere(Trap::BadCall));
        while let Some(export) = next.and_then(|number| self.program(number)) {
            result = invoke(Target::Program(export), [args[0], 0, 0, 0, 0]);
            next = result.is_err().then(|| self.next_program()).flatten();
        }
        *self.nested() = Nested {
            result: result?,
            ..run.nested
        };
        within.end();
        Ok(1)
    }

    fn callback(
        &self,
        run: &Run<'_, UserHost>,
        helper: CallbackImplementation<UserHost>,
        args: [u64; 5],
        invoke: Invoke<'_>,
    ) -> Result<u64, Trapped> {
        if run.depth >= CALLBACK_DEPTH {
            return Err(Trapped::somewhere(Trap::StackOverflow));
        }
        *self.nested() = run.nested.enter().map_err(Trapped::somewhere)?;
        self.depth.store(run.depth + 1, Relaxed);
        // Where it ended is known to the callback's own trap.
        let mut ended = None;
        let result = helper(run, args, &mut |index, args| {
            invoke(Target::Callback(index), args).map_err(|trapped| ended.insert(trapped).trap)
        });
        self.depth.store(run.depth, Relaxed);
        *self.nested() = run.nested;
        result.map_err(|trap| ended.unwrap_or(Trapped::somewhere(trap)))
    }
}

/// The function behind an import, or why the module is refused.
pub(super) fn import(module: &str, name: &str) -> Result<HostFunction<UserHost>, Error> {
    host_function(module, name)
        .ok_or_else(|| Error::Engine(format!("it imports {module}.{name}, which nobody provides")))
}

/// One instance of a module over one memory.
pub(super) trait Instance {
    /// Compiles and instantiates.
    fn load(&mut self, wasm: &[u8], state: Arc<State>) -> Result<(), Error>;

    /// Gives the next run its budget.
    fn refuel(&mut self) -> Result<(), Trapped>;

    /// What the last run, which came to its end, has left of its budget.
    fn left(&self) -> u64;

    /// Runs an export of type `(i64) -> i64`, on what is left of the budget.
    fn call(&mut self, export: &str, argument: u64) -> Result<u64, Trapped>;
}
