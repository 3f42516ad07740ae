//! Modules of any shape that wasm has, by `wasm-smith`: some within what the runtime takes, some with everything.

use std::sync::LazyLock;

use arbitrary::Unstructured;
use wasm_encoder::Section;
use wasm_smith::{Config, Module};

use super::rig;
use crate::random::Random;

/// What a module may import: few things, so that most modules have the memory.
static IMPORTS: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let text = r#"(module
        (import "env" "memory" (memory 1))
        (import "env" "stack_base" (global i32))
        (import "map" "hash" (global i64))
        (import "bpf" "map_lookup_elem" (func (param i64 i64) (result i64)))
        (import "bpf" "map_update_elem" (func (param i64 i64 i64 i64) (result i64)))
        (import "bpf" "probe_read_kernel" (func (param i64 i64 i64) (result i64)))
        (import "bpf" "loop" (func (param i64 i64 i64 i64) (result i64)))
        (import "atomic" "add64" (func (param i64 i64) (result i64))))"#;
    wat::parse_str(text).expect("a module")
});

/// Tries to make a module with the memory that was thought of.
const TRIES: usize = 8;

/// What it exports: a program on the sandbox's memory, or one with a memory of its own.
static EXPORTS: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
    ["(param i64) (result i64) local.get 0", ""].map(|function| {
        let program = super::PROGRAM;
        let text = format!(r#"(module (func (export "{program}") {function}))"#);
        wat::parse_str(text).expect("a module")
    })
});

/// The module of `seed`.
pub fn module(seed: u64) -> Vec<u8> {
    let mut random = Random(seed);
    let (everything, shared) = (random.below(4) == 0, random.below(2) == 0);
    let config = match everything {
        true => Config::default(),
        false => tame(shared),
    };
    let mut made = Vec::new();
    for _ in 0..TRIES {
        let bytes = random.bytes(4096);
        // It refuses bytes that it cannot make the export from.
        if let Ok(module) = Module::new(config.clone(), &mut Unstructured::new(&bytes)) {
            made = module.to_bytes();
            if everything || rig::is_shared(&made) == shared {
                break;
            }
        }
    }
    super::LICENCE.append_to(&mut made);
    made
}

/// Nothing that the runtime is known to refuse, on the sandbox's memory or its own.
fn tame(shared: bool) -> Config {
    Config {
        available_imports: shared.then(|| IMPORTS.clone()),
        exports: Some(EXPORTS[usize::from(!shared)].clone()),
        min_imports: if shared { 6 } else { 0 },
        max_imports: if shared { 12 } else { 0 },
        max_memories: 1,
        min_memories: 1,
        max_memory32_bytes: 1 << 20,
        memory64_enabled: false,
        multi_value_enabled: false,
        allow_floats: false,
        simd_enabled: false,
        relaxed_simd_enabled: false,
        threads_enabled: false,
        shared_everything_threads_enabled: false,
        exceptions_enabled: false,
        gc_enabled: false,
        tail_call_enabled: false,
        custom_page_sizes_enabled: false,
        compact_imports_enabled: false,
        wide_arithmetic_enabled: false,
        custom_descriptors_enabled: false,
        acquire_release_atomics_enabled: false,
        multibyte_array_access_enabled: false,
        allow_start_export: false,
        max_table_elements: 64,
        ..Config::default()
    }
}
