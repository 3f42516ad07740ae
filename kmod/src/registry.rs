//! Objects: what holds them, and by which ids they are found.
//!
//! # Invariants
//!
//! A sandbox lives while a descriptor, a pin or a link holds it or one of its children; its maps and
//! modules live exactly as long. The registry itself holds no sandbox, link, ring or timing, unless pinned.
//! Nothing is dropped under its lock: what goes may have to wait.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use abi::uapi::Kind;
use helpers::host::Errno;

use crate::attach::{Holder, Link};
use crate::locks::{Locked, Only};
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
    Link(Holder),
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
            Self::Link(link) => Listed::Link(Arc::downgrade(link.link())),
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
            Self::Link(link) => Object::Link(Holder::again(link.upgrade()?)?),
            Self::Ring(ring) => Object::Ring(ring.upgrade()?),
            Self::Timing(timing) => Object::Timing(timing.upgrade()?),
        })
    }

    fn is_alive(&self) -> bool {
        match self {
            Self::Sandbox(owner) | Self::Map(owner, _) | Self::Module(owner, _) => {
                owner.strong_count() > 0
            }
            // Until it is detached: who looks at it does not keep it.
            Self::Link(link) => link.upgrade().is_some_and(|link| link.is_held()),
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
struct Registry {
    entries: Vec<Entry>,
    last_ids: [u32; Kind::Timing as usize],
}

static REGISTRY: Locked<Registry> = Locked::new(
    Only::Registry,
    Registry {
        entries: Vec::new(),
        last_ids: [0; Kind::Timing as usize],
    },
);

impl Registry {
    fn entry(&self, object: &Object) -> Option<&Entry> {
        let (kind, id) = (object.kind(), object.id());
        self.entries.iter().find(|e| e.kind == kind && e.id == id)
    }

    /// Sets an object's pin; what was there before, to be dropped without the lock.
    fn set_pin(
        &mut self,
        object: &Object,
        pin: Option<Object>,
        same: Errno,
    ) -> Result<Option<Object>, Errno> {
        let (kind, id) = (object.kind(), object.id());
        let entry = self
            .entries
            .iter_mut()
            .find(|e| e.kind == kind && e.id == id)
            .ok_or(Errno::ENOENT)?;
        if entry.pin.is_some() == pin.is_some() {
            return Err(same);
        }
        Ok(core::mem::replace(&mut entry.pin, pin))
    }
}

/// A fresh id. Ids are not used twice.
pub(crate) fn new_id(kind: Kind) -> Result<u32, Errno> {
    let mut registry = REGISTRY.lock()?;
    let last = &mut registry.last_ids[kind as usize - 1];
    *last += 1;
    Ok(*last)
}

/// Lists `object`, which it gives back.
pub(crate) fn add(object: Object) -> Result<Object, Errno> {
    let entry = Entry {
        kind: object.kind(),
        id: object.id(),
        listed: object.listed(),
        pin: None,
    };
    REGISTRY.lock()?.entries.push(entry);
    Ok(object)
}

/// The smallest id of `kind` above `id`; `ENOENT` if there is none.
pub(crate) fn next(kind: u32, id: u32) -> Result<u32, Errno> {
    let registry = REGISTRY.lock()?;
    let alive = registry.entries.iter();
    let ids = alive.filter(|e| e.kind as u32 == kind && e.id > id && e.listed.is_alive());
    ids.map(|e| e.id).min().ok_or(Errno::ENOENT)
}

/// The object of that kind and id; `ENOENT` if there is none.
pub(crate) fn open(kind: u32, id: u32) -> Result<Object, Errno> {
    let registry = REGISTRY.lock()?;
    let mut entries = registry.entries.iter();
    let entry = entries.find(|e| e.kind as u32 == kind && e.id == id);
    entry
        .and_then(|entry| entry.listed.object())
        .ok_or(Errno::ENOENT)
}

/// Whether `object` is pinned.
pub(crate) fn is_pinned(object: &Object) -> Result<bool, Errno> {
    let registry = REGISTRY.lock()?;
    Ok(registry
        .entry(object)
        .is_some_and(|entry| entry.pin.is_some()))
}

/// Keeps `object` alive without a descriptor; it then also keeps this kernel module loaded.
pub(crate) fn pin(object: &Object) -> Result<(), Errno> {
    let pin = Some(object.clone());
    REGISTRY.lock()?.set_pin(object, pin, Errno::EEXIST)?;
    services::hold_module();
    Ok(())
}

/// Takes [`pin`] back.
pub(crate) fn unpin(object: &Object) -> Result<(), Errno> {
    let pinned = REGISTRY.lock()?.set_pin(object, None, Errno::ENOENT)?;
    drop(pinned);
    services::drop_module();
    Ok(())
}

/// How many maps and modules a sandbox has.
pub(crate) fn children(sandbox: &Arc<Sandbox>) -> Result<(u32, u32), Errno> {
    let (mut maps, mut modules) = (0, 0);
    for entry in &REGISTRY.lock()?.entries {
        match &entry.listed {
            Listed::Map(owner, _) if owner.as_ptr() == Arc::as_ptr(sandbox) => maps += 1,
            Listed::Module(owner, _) if owner.as_ptr() == Arc::as_ptr(sandbox) => modules += 1,
            _ => {}
        }
    }
    Ok((maps, modules))
}

/// The links of `module`'s programs.
pub(crate) fn links(module: &Arc<Module>) -> Result<Vec<Arc<Link>>, Errno> {
    let registry = REGISTRY.lock()?;
    let links = registry.entries.iter().filter_map(|e| match &e.listed {
        Listed::Link(link) => link.upgrade(),
        _ => None,
    });
    // One that goes meanwhile is dropped by who gets it, or, being detached, frees itself here.
    Ok(links
        .filter(|link| link.is_of(module) && link.is_held())
        .collect())
}

/// Forgets objects that nothing holds any more.
pub(crate) fn purge() {
    // Without the lock, which only a panic denies, all stays.
    let Ok(mut registry) = REGISTRY.lock() else {
        return;
    };
    let entries = core::mem::take(&mut registry.entries);
    let (alive, gone): (Vec<_>, Vec<_>) = entries.into_iter().partition(|e| e.listed.is_alive());
    registry.entries = alive;
    drop(registry);
    drop(gone);
}
