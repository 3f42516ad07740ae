//! Objects: what holds them, and by which ids they are found.
//!
//! # Invariants
//!
//! A sandbox lives while a descriptor, a pin or a link holds it or one of its children; its maps and
//! modules live exactly as long. The registry itself holds no sandbox, link, ring or timing, unless pinned.
//! Everything here runs in the control path, one request at a time.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use abi::uapi::Kind;
use helpers::host::Errno;

use crate::attach::Link;
use crate::map::Map;
use crate::module::Module;
use crate::ring::Ring;
use crate::sandbox::Sandbox;
use crate::services;
use crate::stats::Timing;

/// An object and what it needs to stay alive: what a descriptor or a pin holds.
#[derive(Clone)]
pub(crate) enum Object {
    Sandbox(Arc<Sandbox>),
    Map(Arc<Sandbox>, Arc<Map>),
    Module(Arc<Sandbox>, Arc<Module>),
    Link(Arc<Link>),
    Ring(Arc<Ring>),
    Timing(Arc<Timing>),
}

impl Object {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Sandbox(_) => Kind::Sandbox,
            Self::Map(..) => Kind::Map,
            Self::Module(..) => Kind::Module,
            Self::Link(_) => Kind::Link,
            Self::Ring(_) => Kind::Ring,
            Self::Timing(_) => Kind::Timing,
        }
    }

    pub(crate) fn id(&self) -> u32 {
        match self {
            Self::Sandbox(sandbox) => sandbox.id,
            Self::Map(_, map) => map.id,
            Self::Module(_, module) => module.id,
            Self::Link(link) => link.id,
            Self::Ring(ring) => ring.id,
            Self::Timing(timing) => timing.id,
        }
    }

    fn listed(&self) -> Listed {
        match self {
            Self::Sandbox(sandbox) => Listed::Sandbox(Arc::downgrade(sandbox)),
            Self::Map(sandbox, map) => Listed::Map(Arc::downgrade(sandbox), map.clone()),
            Self::Module(sandbox, module) => {
                Listed::Module(Arc::downgrade(sandbox), module.clone())
            }
            Self::Link(link) => Listed::Link(Arc::downgrade(link)),
            Self::Ring(ring) => Listed::Ring(Arc::downgrade(ring)),
            Self::Timing(timing) => Listed::Timing(Arc::downgrade(timing)),
        }
    }
}

/// An object as the registry knows it: a child is kept, but not its sandbox.
enum Listed {
    Sandbox(Weak<Sandbox>),
    Map(Weak<Sandbox>, Arc<Map>),
    Module(Weak<Sandbox>, Arc<Module>),
    Link(Weak<Link>),
    Ring(Weak<Ring>),
    Timing(Weak<Timing>),
}

impl Listed {
    fn object(&self) -> Option<Object> {
        Some(match self {
            Self::Sandbox(sandbox) => Object::Sandbox(sandbox.upgrade()?),
            Self::Map(sandbox, map) => Object::Map(sandbox.upgrade()?, map.clone()),
            Self::Module(sandbox, module) => Object::Module(sandbox.upgrade()?, module.clone()),
            Self::Link(link) => Object::Link(link.upgrade()?),
            Self::Ring(ring) => Object::Ring(ring.upgrade()?),
            Self::Timing(timing) => Object::Timing(timing.upgrade()?),
        })
    }

    fn is_alive(&self) -> bool {
        match self {
            Self::Sandbox(owner) | Self::Map(owner, _) | Self::Module(owner, _) => {
                owner.strong_count() > 0
            }
            Self::Link(link) => link.strong_count() > 0,
            Self::Ring(ring) => ring.strong_count() > 0,
            Self::Timing(timing) => timing.strong_count() > 0,
        }
    }
}

struct Entry {
    kind: Kind,
    id: u32,
    listed: Listed,
    pin: Option<Object>,
}

/// Every object, and the ids given so far.
pub(crate) struct Registry {
    entries: Vec<Entry>,
    last_ids: [u32; Kind::Timing as usize],
}

impl Registry {
    pub(crate) const fn new() -> Self {
        Self {
            entries: Vec::new(),
            last_ids: [0; Kind::Timing as usize],
        }
    }

    /// A fresh id. Ids are not used twice.
    pub(crate) fn new_id(&mut self, kind: Kind) -> u32 {
        let last = &mut self.last_ids[kind as usize - 1];
        *last += 1;
        *last
    }

    pub(crate) fn add(&mut self, object: &Object) {
        self.entries.push(Entry {
            kind: object.kind(),
            id: object.id(),
            listed: object.listed(),
            pin: None,
        });
    }

    /// The smallest id of `kind` above `id`.
    pub(crate) fn next(&self, kind: u32, id: u32) -> Option<u32> {
        self.entries
            .iter()
            .filter(|e| e.kind as u32 == kind && e.id > id && e.listed.is_alive())
            .map(|e| e.id)
            .min()
    }

    pub(crate) fn open(&self, kind: u32, id: u32) -> Option<Object> {
        self.entries
            .iter()
            .find(|e| e.kind as u32 == kind && e.id == id)?
            .listed
            .object()
    }

    fn entry(&self, object: &Object) -> Option<&Entry> {
        let (kind, id) = (object.kind(), object.id());
        self.entries.iter().find(|e| e.kind == kind && e.id == id)
    }

    pub(crate) fn is_pinned(&self, object: &Object) -> bool {
        self.entry(object).is_some_and(|entry| entry.pin.is_some())
    }

    /// Keeps `object` alive without a descriptor; it then also keeps this kernel module loaded.
    pub(crate) fn pin(&mut self, object: &Object) -> Result<(), Errno> {
        self.set_pin(object, Some(object.clone()), Errno::EEXIST)?;
        services::hold_module();
        Ok(())
    }

    /// Takes [`Registry::pin`] back.
    pub(crate) fn unpin(&mut self, object: &Object) -> Result<(), Errno> {
        self.set_pin(object, None, Errno::ENOENT)?;
        services::drop_module();
        Ok(())
    }

    fn set_pin(&mut self, object: &Object, pin: Option<Object>, same: Errno) -> Result<(), Errno> {
        let (kind, id) = (object.kind(), object.id());
        let entry = self
            .entries
            .iter_mut()
            .find(|e| e.kind == kind && e.id == id)
            .ok_or(Errno::ENOENT)?;
        if entry.pin.is_some() == pin.is_some() {
            return Err(same);
        }
        entry.pin = pin;
        Ok(())
    }

    /// How many maps and modules a sandbox has.
    pub(crate) fn children(&self, sandbox: &Arc<Sandbox>) -> (u32, u32) {
        let (mut maps, mut modules) = (0, 0);
        for entry in &self.entries {
            match &entry.listed {
                Listed::Map(owner, _) if owner.as_ptr() == Arc::as_ptr(sandbox) => maps += 1,
                Listed::Module(owner, _) if owner.as_ptr() == Arc::as_ptr(sandbox) => modules += 1,
                _ => {}
            }
        }
        (maps, modules)
    }

    /// The links of `module`'s programs.
    pub(crate) fn links(&self, module: &Arc<Module>) -> impl Iterator<Item = Arc<Link>> {
        self.entries.iter().filter_map(move |e| match &e.listed {
            Listed::Link(link) => link.upgrade().filter(|l| l.is_of(module)),
            _ => None,
        })
    }

    /// Whether `map` has a ring at `index`.
    pub(crate) fn has_ring(&self, map: &Arc<Map>, index: u32) -> bool {
        self.entries.iter().any(|e| match &e.listed {
            Listed::Ring(ring) => ring.upgrade().is_some_and(|ring| ring.is_at(map, index)),
            _ => false,
        })
    }

    /// Forgets objects that nothing holds any more.
    pub(crate) fn purge(&mut self) {
        self.entries.retain(|entry| entry.listed.is_alive());
        if self.entries.is_empty() {
            self.entries = Vec::new();
        }
    }
}
