//! The contract that translator, loader and kernel module share.
//!
//! Tables and types only: no logic beyond look-ups in the tables, no dependency. Whoever changes a
//! row here changes it for every consumer at once, which is the point of the crate.
//!
//! * [`helpers`], [`map_types`], [`sections`], [`traps`]: the tables.
//! * [`imports`]: the import modules and names a translated module may use.
//! * [`layout`]: how guest memory is laid out and how a guest pointer looks.
//! * [`manifest`]: what a translated module says about itself.
//! * [`native`]: what native code of a module is, and how it calls and is called.
//! * [`uapi`]: the `/dev/wprobe` interface.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod helpers;
pub mod imports;
pub mod layout;
pub mod manifest;
pub mod map_types;
pub mod native;
pub mod sections;
pub mod traps;
pub mod uapi;
