//! Lifts eBPF ELF objects, instruction by instruction, to WebAssembly.
#![no_std]
#![forbid(unsafe_code)]
