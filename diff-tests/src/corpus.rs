//! The corpus as built by `build.rs`, and Debian's own objects.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

mod built {
    include!(concat!(env!("OUT_DIR"), "/corpus.rs"));
}

/// The object compiled from `corpus/src/NAME.bpf.c`.
pub fn object(name: &str) -> Result<&'static [u8]> {
    find(built::OBJECTS, name)
}

/// The same without debug information, of newer versions of tools.
pub fn stripped(name: &str) -> Result<&'static [u8]> {
    find(built::STRIPPED, name)
}

/// A module of `corpus/modules/hostile`.
#[derive(Clone, Copy, Debug)]
pub struct Hostile {
    /// The file's name.
    pub name: &'static str,
    /// Its first line: what is to become of it.
    pub fate: &'static str,
    /// The module.
    pub bytes: &'static [u8],
}

/// The module assembled from `corpus/modules/hostile/NAME.wat`.
pub fn hostile_module(name: &str) -> Result<&'static [u8]> {
    let module = hostile().find(|module| module.name == name);
    let module = module.with_context(|| format!("no hostile module {name}"))?;
    Ok(module.bytes)
}

/// Every module of `corpus/modules/hostile`.
pub fn hostile() -> impl Iterator<Item = Hostile> {
    let row = |&(name, fate, bytes): &(&'static str, &'static str, &'static [u8])| Hostile {
        name,
        fate,
        bytes,
    };
    built::HOSTILE.iter().map(row)
}

/// The module assembled from `corpus/modules/NAME.wat`.
pub fn module(name: &str) -> Result<&'static [u8]> {
    find(built::MODULES, name)
}

/// Every compiled object, by name.
pub fn objects() -> &'static [(&'static str, &'static [u8])] {
    built::OBJECTS
}

/// The objects that call helpers with all kinds of arguments.
pub fn calls() -> impl Iterator<Item = (&'static str, &'static [u8])> {
    let objects = objects().iter().copied();
    objects.filter(|(name, _)| name.starts_with("calls_"))
}

/// Where `cargo xtask setup` unpacks a Debian package whose objects are tested with.
pub fn unpacked(package: &str) -> PathBuf {
    let objects = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/vm/objects");
    objects.join(package)
}

/// Every hand-written module that means well, by name.
pub fn modules() -> &'static [(&'static str, &'static [u8])] {
    built::MODULES
}

fn find(list: &[(&str, &'static [u8])], name: &str) -> Result<&'static [u8]> {
    let item = list.iter().find(|(n, _)| *n == name);
    item.map(|(_, bytes)| *bytes)
        .with_context(|| format!("{name} is not in the corpus"))
}
