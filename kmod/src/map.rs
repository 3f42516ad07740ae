//! A map's descriptor. The map itself is the space's, so it lives as long as its sandbox.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use abi::map_types::MapType;
use abi::uapi::{self, Kind};
use helpers::host::Errno;
use helpers::maps::{Key, Map as SpaceMap, MapSpec, Value};
use helpers::space::Space;

use crate::cpu::{self, Running};
use crate::registry::{Object, Registry};
use crate::sandbox::Sandbox;
use crate::user::{self, Call};

/// A map's name and place.
pub(crate) struct Map {
    pub(crate) id: u32,
    name: String,
    index: u32,
}

impl Map {
    /// `MAP_CREATE`.
    pub(crate) fn create(
        registry: &mut Registry,
        sandbox: &Arc<Sandbox>,
        call: &Call,
    ) -> Result<Object, Errno> {
        let mut args: uapi::MapCreate = call.read()?;
        let space = space(sandbox)?;
        if args.reserved != 0 {
            return Err(Errno::EINVAL);
        }
        let name = user::text(&args.name)?;
        let created = space.create_map(&MapSpec {
            map_type: MapType::from_id(args.map_type).ok_or(Errno::EINVAL)?,
            key_size: args.key_size,
            value_size: args.value_size,
            max_entries: args.max_entries,
            flags: args.map_flags,
        })?;
        args.handle = created.handle;
        args.values = created.values;
        call.write(&args)?;
        let map = Arc::new(Self {
            id: registry.new_id(Kind::Map),
            name,
            index: created.index,
        });
        let map = Object::Map(sandbox.clone(), map);
        registry.add(&map);
        Ok(map)
    }
}

fn space(sandbox: &Sandbox) -> Result<&Space, Errno> {
    let shared = sandbox.shared.as_ref().ok_or(Errno::EINVAL)?;
    Ok(&shared.space)
}

/// Answers an ioctl of a map's descriptor.
pub(crate) fn ioctl(
    registry: &Registry,
    sandbox: &Arc<Sandbox>,
    map: &Arc<Map>,
    call: &Call,
) -> Result<(), Errno> {
    let space = space(sandbox)?;
    let of_space = space.map(map.index).ok_or(Errno::ENOENT)?;
    if call.is(uapi::MAP_INFO) {
        let spec = of_space.spec();
        let object = Object::Map(sandbox.clone(), map.clone());
        return call.write(&uapi::MapInfo {
            id: map.id,
            sandbox: sandbox.id,
            name: user::field(&map.name),
            map_type: spec.map_type as u32,
            key_size: spec.key_size,
            value_size: spec.value_size,
            max_entries: spec.max_entries,
            map_flags: spec.flags,
            pinned: registry.is_pinned(&object).into(),
        });
    }
    let access = Access {
        space,
        map: of_space,
    };
    if call.is(uapi::MAP_LOOKUP) {
        access.lookup(&call.read()?)
    } else if call.is(uapi::MAP_UPDATE) {
        access.update(&call.read()?)
    } else if call.is(uapi::MAP_DELETE) {
        access.delete(&call.read()?)
    } else if call.is(uapi::MAP_NEXT_KEY) {
        access.next_key(&call.read()?)
    } else {
        Err(user::ENOTTY)
    }
}

/// The control path's view of a map. User memory is copied before and after, never during the
/// operation itself, which runs like a probe does (see [`cpu::quietly`]).
struct Access<'a> {
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
        cpu::quietly(|_| self.map.read(self.space.memory(), &key, &mut value))?;
        user::copy_out(args.value, &value)
    }

    fn update(&self, args: &uapi::MapElement) -> Result<(), Errno> {
        let key = self.key(args.key)?;
        let value = user::bytes(args.value, self.value()?.len())?;
        cpu::quietly(|running: &Running| {
            self.map.update(
                self.space.memory(),
                running.index(),
                &key,
                Value::Host(&value),
                args.flags,
            )
        })
    }

    fn delete(&self, args: &uapi::MapElement) -> Result<(), Errno> {
        if args.flags != 0 {
            return Err(Errno::EINVAL);
        }
        let key = self.key(args.key)?;
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
        cpu::quietly(|_| self.map.next_key(key.as_ref(), &mut next))?;
        user::copy_out(args.value, &next)
    }
}
