//! The engine: wasmi, set up so that a run allocates nothing and always ends.
//!
//! * [`config`]: limits of validation and execution.
//! * [`slot`]: a store and the right to use it; one for each CPU, or one for an exclusive module.
//! * [`warm`]: makes the engine allocate what runs need before the first one.
//! * [`imports`]: what a module may import, resolved.
//! * [`trap`]: why a run ended early.

pub(crate) mod config;
pub(crate) mod imports;
pub(crate) mod slot;
pub(crate) mod trap;
pub(crate) mod warm;
