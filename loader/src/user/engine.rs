//! What the runtime asks of a wasm engine, and the state that its host functions see.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use abi::layout::CALLBACK_DEPTH;
use abi::traps::Trap;
use helpers::calls::{self, CallbackImplementation, Run, Work};
use helpers::host::{Errno, Host};
use helpers::imports::{Action, HostFunction, host_function};
use helpers::space::Space;

use super::{Error, UserHost};

/// Which engine runs a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum EngineKind {
    /// The interpreter that also runs in the kernel module.
    Wasmi,
    /// The optimising compiler.
    Wasmtime,
    /// Native code as the kernel module runs it.
    Native,
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
}

/// Calls the function with a number of the module's table.
pub(super) type Invoke<'i> = &'i mut dyn FnMut(u64, [u64; 5]) -> Result<u64, Trapped>;

impl State {
    pub(super) fn new(space: Space) -> Self {
        Self {
            space,
            host: UserHost,
            next: AtomicU32::new(0),
            tail_calls: AtomicU32::new(0),
            depth: AtomicU32::new(0),
        }
    }

    /// Begins a run.
    pub(super) fn begin(&self) {
        for part in [&self.next, &self.tail_calls, &self.depth] {
            part.store(0, Relaxed);
        }
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
        work.call().map_err(Trapped::somewhere)?;
        let run = Run {
            host: &self.host,
            space: &self.space,
            cpu: self.host.cpu(),
            context: 0,
            tail_calls: self.tail_calls.load(Relaxed),
            depth: self.depth.load(Relaxed),
            work,
        };
        match function.action {
            Action::Call(helper) => helper(&run, args).map_err(Trapped::somewhere),
            Action::TailCall => self.tail_call(&run, args).map_err(Trapped::somewhere),
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
        self.depth.store(run.depth + 1, Relaxed);
        // Where it ended is known to the callback's own trap.
        let mut ended = None;
        let result = helper(run, args, &mut |index, args| {
            invoke(index, args).map_err(|trapped| ended.insert(trapped).trap)
        });
        self.depth.store(run.depth, Relaxed);
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

    /// Runs an export of type `(i64) -> i64`, on what is left of the budget.
    fn call(&mut self, export: &str, argument: u64) -> Result<u64, Trapped>;
}
