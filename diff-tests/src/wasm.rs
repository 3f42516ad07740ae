//! The runtime under test: an object or module on `/dev/wprobe`.

use std::path::Path;

use anyhow::{Context, Result};
use loader::attach::{Choice, Plan};
use loader::device::{Device, Link, Map, Program};
use loader::load::{Loaded, Options, load};
use loader::open::Input;

use crate::compare::Elements;

/// A module loaded into the kernel, with its attachments. Dropped, it is gone.
pub struct Wasm {
    input: Input,
    plan: Plan,
    // Before `loaded`: links go first.
    links: Vec<Link>,
    loaded: Loaded,
    cpus: u32,
}

impl Wasm {
    /// Loads a BPF object or a wasm module; `programs` are those to attach, none meaning the default.
    pub fn load(device: &Device, bytes: &[u8], name: &str, programs: &[&str]) -> Result<Self> {
        let programs = programs.iter().map(|p| (*p).to_owned()).collect();
        let choice = Choice {
            programs,
            ..Choice::default()
        };
        Wasm::choose(device, bytes, name, &choice)
    }

    /// As [`Wasm::load`], with more to say about the attachments.
    pub fn choose(device: &Device, bytes: &[u8], name: &str, choice: &Choice) -> Result<Self> {
        let input = Input::from_bytes(bytes, name, Path::new(name), None)?;
        let plan = Plan::new(&input, choice)?;
        let loaded = load(device, &input, &Options::default())?;
        let cpus = device.about()?.cpus;
        Ok(Wasm {
            input,
            plan,
            links: Vec::new(),
            loaded,
            cpus,
        })
    }

    /// Attaches its programs.
    pub fn attach(&mut self) -> Result<()> {
        self.links = self.plan.attach(&self.loaded.module, &self.loaded.maps)?;
        Ok(())
    }

    /// Detaches them; memory stays.
    pub fn detach(&mut self) {
        self.links.clear();
    }

    /// The bytes of data section `section` (`.bss`).
    pub fn section(&self, section: &str) -> Result<Vec<u8>> {
        let bytes = self.map(section)?.lookup(&0u32.to_ne_bytes(), self.cpus)?;
        bytes.with_context(|| format!("wasm section {section} is empty"))
    }

    /// Every element of map `name`, sorted by key.
    pub fn dump(&self, name: &str) -> Result<Elements> {
        let mut elements = self.map(name)?.dump(self.cpus)?;
        elements.sort();
        Ok(elements)
    }

    /// Map `name`.
    pub fn map(&self, name: &str) -> Result<&Map> {
        let map = self.loaded.maps.iter().find(|m| m.name() == name);
        map.with_context(|| format!("no map {name} in {}", self.input.name))
    }

    /// What `report` says.
    pub fn report(&self) -> Result<String> {
        Ok(self.loaded.module.report()?)
    }

    /// The device's counts, a program each.
    pub fn programs(&self) -> Result<Vec<Program>> {
        Ok(self.loaded.module.programs()?)
    }
}
