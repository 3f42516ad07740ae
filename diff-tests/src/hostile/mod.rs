//! Modules that nobody would write, and the place where they are fired.

pub mod calls;
pub mod mutants;
pub mod rig;
pub mod shapes;

use std::borrow::Cow;

use abi::manifest::LICENSE_SECTION;
use wasm_encoder::CustomSection;

/// What lets a module import what is for the GPL only.
const LICENCE: CustomSection<'static> = CustomSection {
    name: Cow::Borrowed(LICENSE_SECTION),
    data: Cow::Borrowed(b"GPL"),
};

/// Makes the module that a seed stands for.
pub type Maker = fn(u64) -> Vec<u8>;

/// Every kind of module that is made up.
pub const MAKERS: &[(&str, Maker)] = &[
    ("calls", calls::module),
    ("shapes", shapes::module),
    ("mutants", mutants::module),
];

/// The export that is fired.
pub const PROGRAM: &str = "kprobe:__x64_sys_getpgrp:pre";
