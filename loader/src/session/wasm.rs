//! An object or module on `/dev/wprobe`.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use abi::map_types::MapType;
use anyhow::{Context, Result, bail};

use super::{Cost, Count, Elements, PERF_PAGES, Sent, Session};
use crate::attach::{Choice, Decision, Plan};
use crate::device::{Device, Link, LinkSpec, Map, PerfBuffer, Program, Record, RingBuffer, text};
use crate::load::{Loaded, Options, load};
use crate::open::Input;
use crate::origin::Origin;
use crate::resident::{Resident, trap};

/// A module loaded into the kernel, with its attachments. Dropped, it is gone.
pub struct Wasm {
    input: Input,
    plan: Plan,
    // Before `loaded`: links go first.
    links: Vec<Link>,
    loaded: Loaded,
    rings: HashMap<String, Rings>,
    cpus: u32,
}

enum Rings {
    Perf(PerfBuffer),
    Ring(RingBuffer),
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
        Wasm::open(device, input, choice, &Options::default())
    }

    /// Loads `input`.
    pub fn open(device: &Device, input: Input, choice: &Choice, options: &Options) -> Result<Self> {
        let plan = Plan::with(&input, choice, &options.source(&input)?)?;
        let loaded = load(device, &input, options)?;
        let cpus = device.about()?.cpus;
        Ok(Wasm {
            input,
            plan,
            links: Vec::new(),
            loaded,
            rings: HashMap::new(),
            cpus,
        })
    }

    /// A module that is in the device already, with what its programs see from now on. Dropped, it stays. `input` is what
    /// [`Resident::input`] gave: the device lets a descriptor's bytes be read once.
    pub fn resident(device: &Device, resident: &Resident<'_>, input: Input) -> Result<Self> {
        let loaded = Loaded {
            sandbox: device.sandbox(resident.info.sandbox)?,
            maps: resident.maps()?,
            module: device.module(resident.info.id)?,
            notes: Vec::new(),
        };
        Ok(Wasm {
            input,
            plan: Plan::default(),
            links: Vec::new(),
            loaded,
            rings: HashMap::new(),
            cpus: device.about()?.cpus,
        })
    }

    /// Attaches its programs.
    pub fn attach(&mut self) -> Result<()> {
        self.links = self.plan.attach(&self.loaded.module, &self.loaded.maps)?;
        Ok(())
    }

    /// Attaches as `spec` says, whatever the plan is; the reason if the device refuses.
    pub fn attach_as(&self, spec: &LinkSpec) -> Result<Link> {
        Ok(self.loaded.module.attach(spec)?)
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

    /// Which programs are attached, and why the others are not.
    pub fn decisions(&self) -> &[Decision] {
        &self.plan.decisions
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

impl Session for Wasm {
    fn elements(&self, name: &str) -> Result<Elements> {
        self.dump(name)
    }

    fn update(&self, name: &str, key: &[u8], value: &[u8]) -> Result<()> {
        Ok(self.map(name)?.update(key, value, 0)?)
    }

    fn delete(&self, name: &str, key: &[u8]) -> Result<()> {
        self.map(name)?.delete(key)?;
        Ok(())
    }

    fn listen(&mut self, name: &str) -> Result<()> {
        let map = self.map(name)?;
        let rings = match MapType::from_id(map.info().map_type) {
            Some(MapType::PerfEventArray) => {
                PerfBuffer::open(map, self.cpus, PERF_PAGES).map(Rings::Perf)
            }
            Some(MapType::Ringbuf) => RingBuffer::open(map).map(Rings::Ring),
            _ => bail!("{name}: a map of this type sends no events"),
        };
        let rings = match rings {
            Err(e) if e.errno() == Some(libc::EBUSY) => bail!(
                "{}: map {name}: somebody reads its events already, and a ring has one reader at a time",
                self.input.name
            ),
            rings => rings?,
        };
        self.rings.insert(name.to_owned(), rings);
        Ok(())
    }

    fn sent(&mut self, name: &str) -> Result<Sent> {
        let mut sent = Sent::default();
        let rings = self.rings.get_mut(name);
        match rings.with_context(|| format!("nobody listens to {name}"))? {
            Rings::Perf(perf) => perf.read(|cpu, record| match record {
                Record::Event(event) => sent.events.push((cpu, event.to_vec())),
                Record::Lost(lost) => sent.lost += lost,
            }),
            Rings::Ring(ring) => ring.read(|event| sent.events.push((0, event.to_vec()))),
        };
        Ok(sent)
    }

    fn sources(&self) -> Vec<BorrowedFd<'_>> {
        fn source(rings: &Rings) -> BorrowedFd<'_> {
            match rings {
                Rings::Perf(perf) => perf.as_fd(),
                Rings::Ring(ring) => ring.as_fd(),
            }
        }
        self.rings.values().map(source).collect()
    }

    fn cost(&self) -> Result<Cost> {
        let programs = self.programs()?;
        let costs = programs.iter().map(|p| Cost {
            misses: p.misses,
            timed: p.timed,
            nanoseconds: p.nanoseconds,
        });
        Ok(costs.sum())
    }

    fn attach(&mut self) -> Result<()> {
        Wasm::attach(self)
    }

    fn detach(&mut self) {
        Wasm::detach(self);
    }

    fn decisions(&self) -> &[Decision] {
        &self.plan.decisions
    }

    fn counts(&self) -> Result<Vec<Count>> {
        let programs = self.programs()?;
        let counted = programs.iter().filter(|p| p.runs + p.misses > 0);
        let count = |p: &Program| Count {
            name: self.input.program(&text(&p.name)).to_owned(),
            runs: p.runs,
            misses: p.misses,
            traps: p.traps,
            last_trap: (p.traps > 0).then(|| trap(Some(&self.input), p.last_trap, p.last_site)),
        };
        Ok(counted.map(count).collect())
    }

    fn report(&self) -> Result<Option<String>> {
        match self.loaded.module.info()?.reports {
            0 => Ok(None),
            _ => Ok(Some(Wasm::report(self)?)),
        }
    }

    fn about(&self) -> Result<String> {
        Ok(Origin::lines(&self.loaded.module.info()?))
    }

    fn notes(&self) -> &[String] {
        &self.loaded.notes
    }
}
