//! Maps and helper functions, once, for every runtime.
//!
//! A runtime brings a buffer as guest memory ([`guest`]) and its primitives ([`host::Host`]);
//! this crate brings everything the kernel's eBPF documentation calls a map or a helper:
//!
//! * [`space`]: one sandbox: its memory and its maps.
//! * [`maps`]: one file per map type. Values lie in guest memory; keys, chains and free lists do not.
//! * [`calls`]: one function per helper, found by the helper's id.
//! * [`atomics`]: the read-modify-write operations that plain wasm lacks.
//! * [`imports`]: all of these by import name, for engines.
//! * [`licence`]: what licence a module declares.
//! * [`work`]: what all of it costs a run.
//!
//! **Invariant:** every address and length that comes from a guest becomes bytes in one place only,
//! [`guest::GuestMemory::slice`]. **Invariant:** nothing here sleeps, and nothing allocates except the
//! creation of a map.
#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod atomics;
pub mod calls;
pub mod guest;
pub mod host;
pub mod imports;
pub mod licence;
mod lock;
pub mod maps;
pub mod space;
pub mod work;
