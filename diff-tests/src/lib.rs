//! Native eBPF against wasm, on the same kernel, at the same time.
//!
//! Both runtimes attach the same object to the same events ([`oracle::native`], [`wasm`]); a [`workload`] makes the
//! events; [`compare`] holds one against the other. [`hostile`] makes modules to do harm. [`cases`] are the tests, one file an area; the binaries run them inside a
//! guest ([`guest`]). Truth is what libbpf, the kernel and bpftool say, never this project's own code.

pub mod beside;
pub mod cases;
pub mod compare;
pub mod corpus;
pub mod guest;
pub mod hostile;
pub mod oracle;
pub mod random;
pub mod run;
pub mod settings;
pub mod tool;
pub mod workload;

pub use loader::session::wasm;
