//! A map's descriptor. The map itself is the space's, so it lives as long as its sandbox.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::map_types::MapType;
use abi::uapi::{self, Kind, Resource};
use helpers::guest::GuestSlice;
use helpers::host::Errno;
use helpers::maps::{self, Inner, Key, Map as SpaceMap, MapSpec, References, Value};
use helpers::space::Space;

use crate::cpu::{self, Running};
use crate::limits::{Account, Charge, Exceeded};
use crate::registry::{self, Object};
use crate::ring::{self, Ring};
use crate::sandbox::{Sandbox, Shared};
use crate::services::{self, Window};
use crate::tasks::Cgroup;
use crate::user::{self, Call, Log, refused};

/// A map's name and place.
pub(crate) struct Map {
    pub(crate) id: u32,
    name: String,
    index: u32,
    /// What user space maps and polls, if it is a ring buffer.
    pub(crate) window: Option<Window>,
}

impl Map {
    /// `MAP_CREATE`.
    pub(crate) fn create(sandbox: &Arc<Sandbox>, call: &Call) -> Result<Object, Errno> {
        let mut args: uapi::MapCreate = call.read()?;
        let space = space(sandbox)?;
        let name = user::text(&args.name)?;
        let spec = spec(&args)?;
        let host = maps::host_bytes(&spec, space.cpus())?;
        let charges = charge(&sandbox.account, &spec, host)
            .map_err(|exceeded| refused(Log::new(args.log, args.log_size), &exceeded))?;
        let created = space.create_map(&spec)?;
        charges.into_iter().for_each(Charge::keep);
        args.handle = created.handle;
        args.values = created.values;
        call.write(&args)?;
        let mut map = Self {
            id: registry::new_id(Kind::Map)?,
            name,
            index: created.index,
            window: None,
        };
        if let Some(ring) = map.of(space)?.as_ringbuf() {
            map.window = Some(ring::window(space, ring)?);
        }
        registry::add(Object::Map(sandbox.clone(), Arc::new(map)))
    }

    /// The map itself.
    pub(crate) fn of<'a>(&self, space: &'a Space) -> Result<&'a SpaceMap, Errno> {
        space.map(self.index).ok_or(Errno::ENOENT)
    }
}

/// Charges what a map takes besides memory, which is its sandbox's.
fn charge<'a>(
    account: &'a Account,
    spec: &MapSpec,
    host: u64,
) -> Result<[Charge<'a>; 3], Exceeded> {
    Ok([
        account.charge(Resource::Maps, 1)?,
        account.charge(Resource::Entries, spec.entries().into())?,
        account.charge(Resource::Host, host)?,
    ])
}

fn spec(args: &uapi::MapCreate) -> Result<MapSpec, Errno> {
    let map_type = |number| MapType::from_id(number).ok_or(Errno::EINVAL);
    let inner = match args.inner_type {
        0 => None,
        number => Some(Inner {
            map_type: map_type(number)?,
            key_size: args.inner_key_size,
            value_size: args.inner_value_size,
            max_entries: args.inner_max_entries,
            flags: args.inner_flags,
        }),
    };
    Ok(MapSpec {
        map_type: map_type(args.map_type)?,
        key_size: args.key_size,
        value_size: args.value_size,
        max_entries: args.max_entries,
        flags: args.map_flags,
        inner,
    })
}

/// The control groups of a map of them.
fn cgroups(map: &SpaceMap) -> Option<&References> {
    let groups = map.as_references()?;
    (map.spec().map_type == MapType::CgroupArray).then_some(groups)
}

/// Puts a control group at `index`, or none; whether there was one. That one is let go of when no run can see it.
fn set_cgroup(groups: &References, index: u32, group: Option<Cgroup>) -> Result<bool, Errno> {
    if index >= groups.len() {
        return Err(Errno::E2BIG);
    }
    let had = groups.set(index, group.map_or(0, Cgroup::into_raw))?;
    if had != 0 {
        services::wait_for_runs();
        // SAFETY: only groups come into such a map, here; it was taken out, and runs that saw it have ended.
        drop(unsafe { Cgroup::from_raw(had) });
    }
    Ok(had != 0)
}

/// Lets go of all control groups in maps of `space`, whose runs have all ended.
pub(crate) fn release_cgroups(space: &Space) {
    let maps = (0..space.map_count()).filter_map(|index| space.map(index));
    for groups in maps.filter_map(cgroups) {
        for index in 0..groups.len() {
            if let Ok(group @ 1..) = groups.set(index, 0) {
                // SAFETY: as in `set_cgroup`; no run is left.
                drop(unsafe { Cgroup::from_raw(group) });
            }
        }
    }
}

/// The space that a sandbox's maps are in.
pub(crate) fn space(sandbox: &Sandbox) -> Result<&Space, Errno> {
    shared(sandbox).map(|shared| &*shared.space)
}

fn shared(sandbox: &Sandbox) -> Result<&Shared, Errno> {
    sandbox.shared.as_ref().ok_or(Errno::EINVAL)
}

/// Answers an ioctl of a map's descriptor.
pub(crate) fn ioctl(
    sandbox: &Arc<Sandbox>,
    map: &Arc<Map>,
    call: &Call,
) -> Result<Option<Object>, Errno> {
    if call.is(uapi::RING_OPEN) {
        return Ring::open(sandbox, map, call).map(Some);
    }
    let shared = shared(sandbox)?;
    let space = &shared.space;
    let of_space = map.of(space)?;
    let access = Access {
        shared,
        space,
        map: of_space,
    };
    if call.is(uapi::MAP_INFO) {
        info(sandbox, map, of_space.spec(), call)?;
    } else if call.is(uapi::MAP_LOOKUP) {
        access.lookup(&call.read()?)?;
    } else if call.is(uapi::MAP_UPDATE) {
        access.update(&call.read()?)?;
    } else if call.is(uapi::MAP_DELETE) {
        access.delete(&call.read()?)?;
    } else if call.is(uapi::MAP_NEXT_KEY) {
        access.next_key(&call.read()?)?;
    } else {
        return Err(user::ENOTTY);
    }
    Ok(None)
}

fn info(sandbox: &Arc<Sandbox>, map: &Arc<Map>, spec: &MapSpec, call: &Call) -> Result<(), Errno> {
    let object = Object::Map(sandbox.clone(), map.clone());
    call.write(&uapi::MapInfo {
        id: map.id,
        sandbox: sandbox.id,
        name: user::field(&map.name),
        map_type: spec.map_type as u32,
        key_size: spec.key_size,
        value_size: spec.value_size,
        max_entries: spec.max_entries,
        map_flags: spec.flags,
        pinned: registry::is_pinned(&object)?.into(),
        number: map.index + 1,
    })
}

/// Bytes that are copied at a time.
const PART: usize = 64 << 10;

/// The control path's view of a map. User memory is copied before and after, never during the
/// operation itself, which runs like a probe does (see [`cpu::quietly`]) where it takes a lock that runs take, or changes what they
/// look at. What an array has stays in its place; it is copied as programs write it, part after part, with interrupts on, for it may
/// be large.
struct Access<'a> {
    shared: &'a Shared,
    space: &'a Space,
    map: &'a SpaceMap,
}

impl Access<'_> {
    fn key(&self, address: u64) -> Result<Key, Errno> {
        let bytes = user::bytes(address, self.map.spec().key_size as usize)?;
        Key::from_host(&bytes)
    }

    fn value(&self) -> Result<Vec<u8>, Errno> {
        user::zeroes(self.map.spec().control_value_size(self.space.cpus()))
    }

    fn lookup(&self, args: &uapi::MapElement) -> Result<(), Errno> {
        if args.flags != 0 {
            return Err(Errno::EINVAL);
        }
        let key = self.key(args.key)?;
        let mut value = self.value()?;
        match self.map.stays(&key) {
            Some(offset) => self.each_part(offset, value.len(), |guest, at| {
                guest.read(&mut value[at..at + guest.len() as usize]);
            })?,
            None => cpu::quietly(|_| self.map.read(self.space.memory(), &key, &mut value))?,
        }
        user::copy_out(args.value, &value)
    }

    /// Hands the parts of an array's value to `each`, with how much lies before them.
    fn each_part(
        &self,
        offset: u32,
        len: usize,
        mut each: impl FnMut(GuestSlice<'_>, usize),
    ) -> Result<(), Errno> {
        for at in (0..len).step_by(PART) {
            let size = (len - at).min(PART);
            let part = self.space.memory().at(offset + at as u32, size as u64);
            each(part.ok_or(Errno::EFAULT)?, at);
            services::rest();
        }
        Ok(())
    }

    fn update(&self, args: &uapi::MapElement) -> Result<(), Errno> {
        let key = self.key(args.key)?;
        let value = user::bytes(args.value, self.value()?.len())?;
        if self.map.spec().is_of_programs() {
            self.check_program(&value)?;
        }
        if let Some(groups) = cgroups(self.map) {
            groups.check(key.index(), args.flags)?;
            let fd = value.first_chunk().map_or(0, |fd| u32::from_ne_bytes(*fd));
            let group = Cgroup::from_fd(fd).map_err(Errno)?;
            return set_cgroup(groups, key.index(), Some(group)).map(drop);
        }
        if let Some(offset) = self.map.stays(&key) {
            // Nothing of a value: it is asked whether it may be one.
            self.map
                .update(self.space.memory(), 0, &key, Value::Host(&[]), args.flags)?;
            return self.each_part(offset, value.len(), |guest, at| {
                guest.write(&value[at..at + guest.len() as usize]);
            });
        }
        cpu::quietly(|running: &Running| {
            self.space
                .update(self.map, running.index(), &key, &value, args.flags)
        })
    }

    /// Whether `value` is a program's number.
    fn check_program(&self, value: &[u8]) -> Result<(), Errno> {
        let number = value.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes));
        let known = number.is_some_and(|number| self.shared.has_program(number));
        known.then_some(()).ok_or(Errno::EBADF)
    }

    fn delete(&self, args: &uapi::MapElement) -> Result<(), Errno> {
        if args.flags != 0 {
            return Err(Errno::EINVAL);
        }
        let key = self.key(args.key)?;
        if let Some(groups) = cgroups(self.map) {
            let had = set_cgroup(groups, key.index(), None)?;
            return had.then_some(()).ok_or(Errno::ENOENT);
        }
        cpu::quietly(|running| self.map.delete(running.index(), &key))
    }

    fn next_key(&self, args: &uapi::MapElement) -> Result<(), Errno> {
        if args.flags != 0 {
            return Err(Errno::EINVAL);
        }
        let key = match args.key {
            0 => None,
            address => Some(self.key(address)?),
        };
        let mut next = user::zeroes(self.map.spec().key_size as usize)?;
        match self.map.is_walked_unlocked() {
            true => self.map.next_key(key.as_ref(), &mut next)?,
            false => cpu::quietly(|_| self.map.next_key(key.as_ref(), &mut next))?,
        }
        user::copy_out(args.value, &next)
    }
}
