//! Modules that nobody would write, and the place where they are fired.

pub mod calls;
pub mod mutants;
pub mod rig;
pub mod shapes;

/// Makes the module that a seed stands for.
pub type Maker = fn(u64) -> Vec<u8>;

/// Every kind of module that is made up.
pub const MAKERS: &[(&str, Maker)] = &[
    ("calls", calls::module),
    ("shapes", shapes::module),
    ("mutants", mutants::module),
];

/// The export that is fired.
const PROGRAM: &str = "kprobe:__x64_sys_getpgrp:pre";
