//! What the tests share: two ways to run a program, and how to describe one.

pub(crate) mod elf;
pub(crate) mod engine;
pub(crate) mod kernel;

use abi::manifest::Map;
pub(crate) use kernel::Outcome;

/// An array map called `name`.
pub(crate) fn array(name: &str, value_size: u32, max_entries: u32) -> Map {
    Map {
        name: name.to_owned(),
        map_type: abi::map_types::MapType::Array as u32,
        key_size: 4,
        value_size,
        max_entries,
        flags: 0,
        key_type: 0,
        value_type: 0,
        data: None,
        inner: None,
        values: Vec::new(),
        pinned: false,
    }
}
