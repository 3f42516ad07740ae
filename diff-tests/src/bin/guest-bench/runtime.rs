//! An object on one of the three runtimes.

use anyhow::Result;
use diff_tests::guest;
use diff_tests::oracle::native::Native;
use diff_tests::wasm::Wasm;
use loader::attach::Choice;
use loader::load::{Engine, Options};
use loader::open::Input;
use loader::session::Session;

/// What runs an object.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Runtime {
    Native,
    Wasm(Engine),
}

/// Every one, native eBPF first.
pub(crate) const RUNTIMES: [Runtime; 3] = [
    Runtime::Native,
    Runtime::Wasm(Engine::Wasmi),
    Runtime::Wasm(Engine::Jit),
];

impl Runtime {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Runtime::Native => "native",
            Runtime::Wasm(Engine::Wasmi) => "wasmi",
            Runtime::Wasm(Engine::Jit) => "jit",
            Runtime::Wasm(Engine::Auto) => "auto",
        }
    }
}

/// An object that is loaded.
pub(crate) enum Loaded {
    Native(Native, Choice),
    Wasm(Wasm),
}

impl Loaded {
    /// Loads `programs`, which `choice` leads to; of `input`, natively, only the object it was made from is used.
    pub(crate) fn load(
        runtime: Runtime,
        input: Input,
        programs: &[&str],
        choice: &Choice,
        options: &Options,
    ) -> Result<Self> {
        let Runtime::Wasm(engine) = runtime else {
            let native = Native::choose(&input, programs, choice, &options.settings)?;
            return Ok(Loaded::Native(native, choice.clone()));
        };
        let options = Options {
            engine: Some(engine),
            ..options.clone()
        };
        let wasm = Wasm::open(&guest::device()?, input, choice, &options)?;
        Ok(Loaded::Wasm(wasm))
    }

    pub(crate) fn session(&mut self) -> &mut dyn Session {
        match self {
            Loaded::Native(native, _) => native,
            Loaded::Wasm(wasm) => wasm,
        }
    }

    pub(crate) fn attach(&mut self) -> Result<()> {
        match self {
            Loaded::Native(native, choice) => native.attach_chosen(choice),
            Loaded::Wasm(wasm) => wasm.attach(),
        }
    }
}
