//! The corpus as built by `build.rs`, and Debian's own objects.

use anyhow::{Context, Result};

mod built {
    include!(concat!(env!("OUT_DIR"), "/corpus.rs"));
}

/// The object compiled from `corpus/src/NAME.bpf.c`.
pub fn object(name: &str) -> Result<&'static [u8]> {
    find(built::OBJECTS, name)
}

/// The module assembled from `corpus/modules/NAME.wat`, hostile ones included.
pub fn module(name: &str) -> Result<&'static [u8]> {
    find(built::MODULES, name)
}

fn find(list: &[(&str, &'static [u8])], name: &str) -> Result<&'static [u8]> {
    let item = list.iter().find(|(n, _)| *n == name);
    item.map(|(_, bytes)| *bytes)
        .with_context(|| format!("{name} is not in the corpus"))
}
