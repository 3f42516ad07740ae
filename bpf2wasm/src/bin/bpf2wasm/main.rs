//! The `bpf2wasm` command.
fn main() {}
