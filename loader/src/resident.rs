//! Modules that live in the device: found by id or name, read back, with their maps and links.

use std::fmt;

use abi::traps::Trap;
use abi::uapi::{Kind, LinkInfo, ModuleInfo};

use crate::device::{self, Device, Link, Map, Module, Object, text};
use crate::open::Input;

/// Why a module cannot be looked at.
#[derive(Debug)]
pub enum Error {
    /// There is none of this id or name.
    NotFound(String),
    /// Several modules have this name.
    Ambiguous(String, Vec<u32>),
    /// Its bytes do not read back as a module.
    Bytes(String),
    /// The device refused.
    Device(device::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NotFound(id) => write!(f, "no module {id} (`wprobe list` shows all)"),
            Error::Ambiguous(name, ids) => {
                write!(f, "several modules are named {name}: give an id of {ids:?}")
            }
            Error::Bytes(why) => write!(f, "the module does not read back: {why}"),
            Error::Device(e) => e.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

impl From<device::Error> for Error {
    fn from(error: device::Error) -> Self {
        Error::Device(error)
    }
}

/// A module in the device.
#[derive(Debug)]
pub struct Resident<'d> {
    device: &'d Device,
    /// Its descriptor.
    pub module: Module,
    /// What the device says about it.
    pub info: ModuleInfo,
}

impl<'d> Resident<'d> {
    /// Every module, by increasing id.
    pub fn all(device: &'d Device) -> Result<Vec<Self>, Error> {
        let modules = every(device, Kind::Module, Device::module)?;
        modules
            .into_iter()
            .map(|module| Resident::new(device, module))
            .collect()
    }

    /// The module with this id, or else this name.
    pub fn find(device: &'d Device, id: &str) -> Result<Self, Error> {
        let mut all = Resident::all(device)?;
        let number = id.parse::<u32>().ok();
        if let Some(at) = all.iter().position(|m| Some(m.info.id) == number) {
            return Ok(all.swap_remove(at));
        }
        all.retain(|m| m.name() == id);
        match all.len() {
            0 => Err(Error::NotFound(id.to_owned())),
            1 => Ok(all.swap_remove(0)),
            _ => Err(Error::Ambiguous(
                id.to_owned(),
                all.iter().map(|m| m.info.id).collect(),
            )),
        }
    }

    /// As read back through its descriptor.
    pub fn new(device: &'d Device, module: Module) -> Result<Self, Error> {
        let info = module.info()?;
        Ok(Resident {
            device,
            module,
            info,
        })
    }

    /// Its name.
    pub fn name(&self) -> String {
        text(&self.info.name)
    }

    /// Its bytes, manifest and interface.
    pub fn input(&self) -> Result<Input, Error> {
        Input::from_wasm(self.module.wasm()?, &self.name()).map_err(Error::Bytes)
    }

    /// The maps of its sandbox.
    pub fn maps(&self) -> Result<Vec<Map>, Error> {
        let mut maps = every(self.device, Kind::Map, Device::map)?;
        maps.retain(|map| map.info().sandbox == self.info.sandbox);
        Ok(maps)
    }

    /// Its links.
    pub fn links(&self) -> Result<Vec<(Link, LinkInfo)>, Error> {
        let mut links = Vec::new();
        for link in every(self.device, Kind::Link, Device::link)? {
            let info = link.info()?;
            if info.module == self.info.id {
                links.push((link, info));
            }
        }
        Ok(links)
    }

    /// Detaches its programs; how many there were.
    pub fn deactivate(&self) -> Result<usize, Error> {
        let links = self.links()?;
        for (link, info) in &links {
            if info.pinned != 0 {
                link.unpin()?;
            }
        }
        Ok(links.len())
    }

    /// Takes every pin back: once nobody else holds a descriptor, it is gone with its sandbox.
    pub fn unload(&self) -> Result<(), Error> {
        self.deactivate()?;
        if self.info.pinned != 0 {
            self.module.unpin()?;
        }
        let sandbox = self.device.sandbox(self.info.sandbox)?;
        let info = sandbox.info()?;
        if info.pinned != 0 && info.modules <= 1 {
            sandbox.unpin()?;
        }
        Ok(())
    }
}

/// Every object of `kind`, but those that go away meanwhile.
fn every<T>(
    device: &Device,
    kind: Kind,
    open: impl Fn(&Device, u32) -> device::Result<T>,
) -> Result<Vec<T>, Error> {
    let mut all = Vec::new();
    for id in device.ids(kind)? {
        match open(device, id) {
            Err(e) if e.errno() == Some(libc::ENOENT) => {}
            object => all.push(object?),
        }
    }
    Ok(all)
}

/// A trap in words: why, and where in the program and its source.
pub fn trap(input: Option<&Input>, code: u32, site: u32) -> String {
    let mut text = match Trap::from_code(code) {
        Some(trap) => trap.text().to_owned(),
        None => format!("trap {code}"),
    };
    let manifest = input.and_then(|i| i.manifest.as_ref());
    let programs = manifest.map_or(&[][..], |m| &m.programs).iter();
    let mut lacks = programs.flat_map(|program| &program.lacks);
    if let Some(lack) = lacks.find(|lack| lack.site == site && code == Trap::NoHelper as u32) {
        text += &format!(": {}", bpf2wasm::in_c(&lack.callee));
    }
    let functions = manifest.map_or(&[][..], |m| &m.functions);
    if let Some(f) = functions
        .iter()
        .find(|f| (f.site..f.site + f.slots).contains(&site))
    {
        text += &format!(" at {} insn {}", f.name, site - f.site);
        if let Some(line) = input.and_then(|i| i.source_line(site)) {
            text += &format!(" ({line})");
        }
    }
    text
}
