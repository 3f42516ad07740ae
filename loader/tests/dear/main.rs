//! Dear modules: how many instructions a unit buys in wasm itself, on both engines, counted by single steps.
//!
//! No operator, and no module that [`search`] finds, may buy more than four times what a plain loop does on the same engine.

mod operators;
mod search;
#[path = "../../../helpers/tests/prices/step.rs"]
mod step;

use abi::traps::Trap;
use loader::user::{EngineKind, UserSandbox};

/// How much more than a plain loop.
const MOST: f64 = 4.0;

/// The engines that the kernel has.
const ENGINES: [EngineKind; 2] = [EngineKind::Wasmi, EngineKind::Jit];

/// A module whose export `run` does `body` for ever, over `functions`.
fn endless(functions: &str, body: &str) -> String {
    format!(
        r#"(module
          (import "env" "memory" (memory 1))
          {functions}
          (func (export "run") (param $c i64) (result i64)
            (local $a i64) (local $b i64) (local $i i32) (local $j i32)
            (loop $forever {body} (br $forever)) (unreachable)))"#
    )
}

/// How many instructions each of `fuel` units buys in the endless module `text`, without what a run takes that has none; `None` if it does
/// not run until they are gone.
fn instructions(engine: EngineKind, text: &str, fuel: u64) -> Option<f64> {
    let [nothing, all] = [0, fuel].map(|fuel| counted(engine, text, fuel));
    Some(all?.saturating_sub(nothing?) as f64 / fuel as f64)
}

fn counted(engine: EngineKind, text: &str, fuel: u64) -> Option<u64> {
    let wasm = wat::parse_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let (mut sandbox, _) = UserSandbox::new(engine, fuel, &[]).unwrap();
    sandbox.load(&wasm, &[]).ok()?;
    let (ended, instructions) = step::count(|| sandbox.run("run", &[]));
    matches!(ended, Err(ended) if ended.trap == Trap::Budget).then_some(instructions)
}

/// What a unit of the plainest loop buys.
fn plain(engine: EngineKind, fuel: u64) -> f64 {
    instructions(engine, &endless("", ""), fuel).unwrap()
}
