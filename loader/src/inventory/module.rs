//! What the kernel module has loaded.

use abi::uapi::AttachPoint;
use anyhow::{Result, bail};

use super::{Condition, Inventory, Kind, Link, Map, MapInfo, Place, Program, Types, type_name};
use crate::device::{self, text};
use crate::probe::{Running, Table};
use crate::profile::Profile;
use crate::resident::Resident;
use crate::session::Elements;

/// The module's device.
pub struct Device(device::Device);

impl Device {
    /// Opens it.
    pub fn open() -> Result<Self> {
        Ok(Device(device::Device::open()?))
    }
}

impl Inventory for Device {
    fn programs(&self) -> Result<Vec<Program>> {
        let mut programs = Vec::new();
        for resident in Resident::all(&self.0)? {
            let input = resident.input()?;
            for program in resident.module.programs()? {
                let export = text(&program.name);
                programs.push(Program {
                    id: None,
                    program_type: None,
                    place: Some(Place {
                        module: resident.info.id,
                        module_name: resident.name(),
                        index: program.index,
                    }),
                    name: input.program(&export).to_owned(),
                    export: Some(export.clone()),
                    tag: None,
                    runs: program.runs,
                    misses: program.misses,
                    traps: Some(program.traps),
                });
            }
        }
        Ok(programs)
    }

    fn links(&self) -> Result<Vec<Link>> {
        let mut links = Vec::new();
        for resident in Resident::all(&self.0)? {
            let input = resident.input()?;
            for (_, link) in resident.links()? {
                let mut points = AttachPoint::ALL.iter();
                let point = points.find(|point| **point as u32 == link.attach);
                links.push(Link {
                    id: link.id,
                    attach: point.map_or("unknown", |point| point.name()).to_owned(),
                    target: Some(match link.places {
                        0 | 1 => text(&link.target),
                        places => format!("{} ({places} places)", text(&link.target)),
                    }),
                    program: input.program(&text(&link.program)).to_owned(),
                    module: Some(resident.info.id),
                    module_name: Some(resident.name()),
                    pinned: Some(link.pinned != 0),
                });
            }
        }
        Ok(links)
    }

    fn pinned(&self, _: Kind, file: &str) -> Result<u32> {
        bail!(
            "{file}: only the kernel's own eBPF is pinned as files (--runtime native); here, ids and names tell"
        )
    }

    fn maps(&self) -> Result<Vec<Box<dyn Map + '_>>> {
        let mut maps: Vec<Box<dyn Map>> = Vec::new();
        for resident in Resident::all(&self.0)? {
            for map in resident.maps()? {
                let info = map.info();
                let info = MapInfo {
                    id: info.id,
                    map_type: type_name(info.map_type),
                    name: map.name(),
                    module: Some(resident.info.id),
                    module_name: Some(resident.name()),
                    key_size: info.key_size,
                    value_size: info.value_size,
                    max_entries: info.max_entries,
                };
                maps.push(Box::new(Owned {
                    device: &self.0,
                    map,
                    info,
                    module: resident.info.id,
                }));
            }
        }
        Ok(maps)
    }
}

/// A module's map.
struct Owned<'d> {
    device: &'d device::Device,
    map: device::Map,
    info: MapInfo,
    module: u32,
}

impl Owned<'_> {
    fn resident(&self) -> Result<Resident<'_>> {
        Ok(Resident::find(self.device, &self.module.to_string())?)
    }

    fn running(&self) -> Result<Running> {
        Running::resident(self.device, &self.resident()?)
    }

    fn cpus(&self) -> Result<u32> {
        Ok(self.device.about()?.cpus)
    }
}

impl Map for Owned<'_> {
    fn info(&self) -> &MapInfo {
        &self.info
    }

    fn types(&self) -> Result<Types> {
        let input = self.resident()?.input()?;
        let maps = input.manifest.as_ref().map(|manifest| &manifest.maps);
        let map = maps.and_then(|maps| maps.iter().find(|map| map.name == self.info.name));
        Ok(Types {
            btf: input.btf(),
            key: map.map_or(0, |map| map.key_type),
            value: map.map_or(0, |map| map.value_type),
        })
    }

    fn value_bytes(&self) -> Result<usize> {
        Ok(self.map.value_bytes(self.cpus()?))
    }

    fn lookup(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.map.lookup(key, self.cpus()?)?)
    }

    fn update(&self, key: &[u8], value: &[u8], condition: Condition) -> Result<()> {
        Ok(self.map.update(key, value, condition as u64)?)
    }

    fn delete(&self, key: &[u8]) -> Result<bool> {
        Ok(self.map.delete(key)?)
    }

    fn elements(&self) -> Result<Elements> {
        let mut elements = self.map.dump(self.cpus()?)?;
        elements.sort();
        Ok(elements)
    }

    fn table(&self, elements: &Elements) -> Result<Table> {
        self.running()?.table_of(&self.info.name, elements)
    }

    fn profile(&self) -> Result<Profile> {
        Ok(self.running()?.profile)
    }
}
