//! What the runtime asks of a wasm engine, and the state that its host functions see.

use std::fmt;
use std::sync::Arc;

use abi::traps::Trap;
use helpers::calls::Run;
use helpers::imports::{HostFunction, host_function};
use helpers::space::Space;

use super::{Error, UserHost};

/// Which engine runs a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum EngineKind {
    /// The interpreter that also runs in the kernel module.
    Wasmi,
    /// The optimising compiler.
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
}

impl State {
    pub(super) fn new(space: Space) -> Self {
        let host = UserHost;
        Self { space, host }
    }

    /// Calls an imported function.
    pub(super) fn call(
        &self,
        function: &HostFunction<UserHost>,
        args: [u64; 5],
    ) -> Result<u64, Trapped> {
        let run = Run {
            host: &self.host,
            space: &self.space,
            context: 0,
            cookie: 0,
        };
        (function.run)(&run, args).map_err(Trapped::somewhere)
    }
}

/// The function behind an import, or why the module is refused.
pub(super) fn import(module: &str, name: &str) -> Result<HostFunction<UserHost>, Error> {
    host_function(module, name)
        .ok_or_else(|| Error::Engine(format!("it imports {module}.{name}, which nobody provides")))
}

/// One instance of a module over one memory.
pub(super) trait Instance {
    /// Compiles and instantiates; `globals` are the values of the imported i64 globals in import order.
    fn load(&mut self, wasm: &[u8], globals: &[u64], state: Arc<State>) -> Result<(), Error>;

    /// Runs an export of type `(i64) -> i64`.
    fn call(&mut self, export: &str, argument: u64) -> Result<u64, Trapped>;
}
