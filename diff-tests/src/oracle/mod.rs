//! What the wasm runtime is compared with. Only tools that exist for other reasons count as truth.

pub mod bpftool;
pub mod native;
pub mod perf;
pub mod relocations;
