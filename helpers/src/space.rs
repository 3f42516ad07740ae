//! A sandbox as helpers see it: guest memory and the maps in it.
//!
//! # Invariants
//!
//! Maps are only ever added; a map's index, once handed out, stays valid as long as the space. So a
//! run looks a map up without a lock. Areas of maps do not overlap.

use alloc::boxed::Box;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use abi::layout;
use abi::traps::Trap;

use crate::guest::GuestMemory;
use crate::host::Errno;
use crate::maps::{self, Key, Map, MapSpec, Value};

/// Maps a space has room for.
pub const MAX_MAPS: usize = 256;

/// Guest memory and the maps in it.
#[derive(Debug)]
pub struct Space {
    memory: GuestMemory,
    cpus: u32,
    /// First byte not yet given to a map.
    free: AtomicU32,
    /// Slots handed out; the last ones may still be null while their map is being made.
    count: AtomicU32,
    maps: [AtomicPtr<Map>; MAX_MAPS],
}

/// What [`Space::create_map`] made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CreatedMap {
    /// Its index in the space.
    pub index: u32,
    /// Its handle: the value of the import `map.NAME`.
    pub handle: u64,
    /// Guest pointer of element 0 of an array, else 0.
    pub values: u64,
}

impl Space {
    /// An empty space on `memory`, for `cpus` CPUs.
    pub fn new(memory: GuestMemory, cpus: u32) -> Self {
        Self {
            memory,
            cpus,
            free: AtomicU32::new(layout::values_base(cpus)),
            count: AtomicU32::new(0),
            maps: [const { AtomicPtr::new(ptr::null_mut()) }; MAX_MAPS],
        }
    }

    /// The guest memory.
    pub fn memory(&self) -> &GuestMemory {
        &self.memory
    }

    /// Possible CPUs: how many values an element of a per-CPU map has.
    pub fn cpus(&self) -> u32 {
        self.cpus
    }

    /// Bytes of guest memory in use.
    pub fn used(&self) -> u32 {
        self.free.load(Ordering::Relaxed)
    }

    /// How many maps there are.
    pub fn map_count(&self) -> u32 {
        self.count.load(Ordering::Acquire)
    }

    /// Creates a map. Allocates; not for use inside a probe.
    ///
    /// # Errors
    ///
    /// `EINVAL`, `E2BIG`: as the kernel refuses such a map; `EOPNOTSUPP`: a type not supported yet;
    /// `ENOMEM`: guest memory or host memory is too small; `ENOENT` never.
    pub fn create_map(&self, spec: &MapSpec) -> Result<CreatedMap, Errno> {
        let bytes = maps::area_bytes(spec, self.cpus)?;
        let bytes = u32::try_from(bytes).map_err(|_| Errno::E2BIG)?;
        let area = self.reserve(bytes)?;
        let map = Box::new(Map::new(*spec, area, self.cpus)?);
        let values = map.first_value().map_or(0, layout::guest_ptr);
        let index = self
            .count
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| {
                (n < MAX_MAPS as u32).then_some(n + 1)
            })
            .map_err(|_| Errno::E2BIG)?;
        self.maps[index as usize].store(Box::into_raw(map), Ordering::Release);
        Ok(CreatedMap {
            index,
            handle: layout::map_handle(index),
            values,
        })
    }

    /// Sets `bytes` of guest memory aside; the offset of the first.
    fn reserve(&self, bytes: u32) -> Result<u32, Errno> {
        self.free
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| {
                let end = free.checked_add(maps::aligned(bytes)?)?;
                (end <= self.memory.size()).then_some(end)
            })
            .map_err(|_| Errno::ENOMEM)
    }

    /// Stores a value from the host. What a map of maps is given is the number of a map in this space, from 1.
    ///
    /// # Errors
    ///
    /// As [`Map::update`]; `EBADF` for a number that is no map's, `EINVAL` for a map of another shape.
    pub fn update(
        &self,
        map: &Map,
        cpu: u32,
        key: &Key,
        value: &[u8],
        flags: u64,
    ) -> Result<(), Errno> {
        let value = Value::Host(value);
        if let Some(references) = map.as_references() {
            references.check(key.index(), flags)?;
        }
        if map.spec().is_of_maps() {
            let inner = value.number().checked_sub(1);
            let inner = inner.and_then(|index| self.map(index));
            if !map.spec().takes(inner.ok_or(Errno::EBADF)?.spec()) {
                return Err(Errno::EINVAL);
            }
        }
        map.update(&self.memory, cpu, key, value, flags)
    }

    /// Map `index`.
    pub fn map(&self, index: u32) -> Option<&Map> {
        let slot = self.maps.get(index as usize)?;
        // SAFETY: a slot is null or holds a map that lives as long as `self`.
        unsafe { slot.load(Ordering::Acquire).as_ref() }
    }

    /// The map behind a guest's `handle`.
    ///
    /// # Errors
    ///
    /// [`Trap::BadMap`] if it is none.
    pub fn map_of(&self, handle: u64) -> Result<&Map, Trap> {
        layout::map_index(handle)
            .and_then(|index| self.map(index))
            .ok_or(Trap::BadMap)
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        for slot in &mut self.maps {
            let map = *slot.get_mut();
            if !map.is_null() {
                // SAFETY: it came from Box::into_raw and nobody else can reach it any more.
                drop(unsafe { Box::from_raw(map) });
            }
        }
    }
}
