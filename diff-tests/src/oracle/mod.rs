//! What the wasm runtime is compared with. Only tools that exist for other reasons count as truth.

pub mod bpftool;
pub mod relocations;

pub use loader::session::native;
