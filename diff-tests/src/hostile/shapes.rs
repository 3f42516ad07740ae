//! Modules of any shape that wasm has, by `wasm-smith`: some within what the runtime takes, some with everything.

use std::sync::LazyLock;

use arbitrary::Unstructured;
use wasm_smith::{Config, Module};

use super::rig;
use crate::random::Random;

/// What a module has imports of, if it has any.
static IMPORTS: LazyLock<Vec<u8>> = LazyLock::new(|| super::calls::module(0));

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
    loop {
        let bytes = random.bytes(4096);
        // It refuses bytes that it cannot make the export from.
        let Ok(module) = Module::new(config.clone(), &mut Unstructured::new(&bytes)) else {
            continue;
        };
        let module = module.to_bytes();
        if everything || rig::is_shared(&module) == shared {
            return module;
        }
    }
}

/// Nothing that the runtime is known to refuse, on the sandbox's memory or its own.
fn tame(shared: bool) -> Config {
    Config {
        available_imports: shared.then(|| IMPORTS.clone()),
        exports: Some(EXPORTS[usize::from(!shared)].clone()),
        min_imports: if shared { 8 } else { 0 },
        max_memories: 1,
        min_memories: 1,
        max_memory32_bytes: 1 << 20,
        memory64_enabled: false,
        multi_value_enabled: true,
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
