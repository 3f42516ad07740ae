//! Loads translated modules and drives `/dev/wprobe`.
//!
//! The file list follows a module's way: [`open`] (any input as wasm) → [`load`] (sandbox, maps, [`values`] of
//! imports: [`core_values`], [`kconfig`]; where a host has no BTF, [`answers`], or [`debug_types`]) → [`attach`] (which programs, to what; [`syscalls`] for hand-written modules) →
//! [`resident`] (found again later) → [`globals`] (data by BTF). [`device`] is the client of the device under all of it; a
//! [`session`] is an object under one of the runtimes, native eBPF too, and the [`inventory`] is all that is loaded under one.
//! [`native`] compiles modules for the AOT engine.
//!
//! **Invariant:** `unsafe` is only where calls take pointers, in [`device`], [`session`], [`wait`] and [`origin`], where files are mapped, in [`cache`] and [`answers`],
//! and in [`user`], the runtime in this process. **Invariant:** whatever this library computes, the device checks
//! again; a wrong value here can make a probe wrong, never the kernel. What [`native`] makes is the exception.

pub mod answers;
pub mod attach;
mod btf_builder;
pub mod btf_value;
pub mod cache;
pub mod constants;
pub mod core_values;
pub mod debug_types;
pub mod device;
pub mod diff;
pub mod doctor;
pub mod event_types;
mod frames;
pub mod globals;
pub mod interface;
pub mod inventory;
mod kallsyms;
pub mod kconfig;
pub mod layout;
pub mod load;
pub mod meaning;
pub mod module_btf;
pub mod open;
pub mod origin;
pub mod probe;
pub mod profile;
mod provided;
pub mod record;
pub mod resident;
pub mod runtime;
pub mod session;
pub mod settings;
pub mod show;
pub mod syscalls;
mod table;
mod target_btf;
pub mod user;
pub mod values;
mod variables;
pub mod wait;
pub mod warnings;
