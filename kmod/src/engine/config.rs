//! How the engine is set up.

use abi::layout::NESTED_DEPTH;
use wasmi::{CompilationMode, Config, CustomFuelCosts, Engine, OperatorCost};

/// Wasm calls may nest this deep. eBPF's limit is 8.
pub(crate) const MAX_DEPTH: usize = 256;
/// Bytes of the engine's own value stack; allocated once, up front.
const VALUE_STACK: usize = 64 << 10;
/// Elements of all tables of a store.
pub(crate) const MAX_TABLE: usize = 1 << 16;

/// Who starts a module.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// A start function runs, within the module's budget.
    Allowed,
    /// A module with a start function does not load: on a shared memory it would run once for each CPU,
    /// outside a probe, with helpers that expect one.
    Refused,
}

/// A new engine. Each store has its own: two share locks and a pool of stacks.
pub(crate) fn engine(start: Start) -> Engine {
    let mut config = Config::default();
    config
        .consume_fuel(true)
        .operator_cost(cost::operator_costs!(OperatorCost::default()))
        .fuel_cost(CustomFuelCosts {
            bytes_copied_per_fuel: cost::BYTES as u32,
            // Of modules that are compiled as they run, which none is.
            fuel_per_bytes_translated: 0,
            fuel_per_bytes_validated: 0,
        })
        // A branch would move as many values as its block has, for a unit.
        .wasm_multi_value(false)
        .compilation_mode(CompilationMode::Eager)
        .ignore_custom_sections(true)
        .allow_start_fn(start == Start::Allowed)
        .set_max_recursion_depth(MAX_DEPTH)
        .set_max_stack_height(VALUE_STACK)
        .set_min_stack_height(VALUE_STACK)
        // One for the program, one for each callback and each function's tail call under way.
        .set_max_cached_stacks(NESTED_DEPTH as usize + 1)
        // Kernel code must not touch the vector registers.
        .floats(false)
        .wasm_multi_memory(false)
        .wasm_tail_call(false);
    Engine::new(&config)
}
