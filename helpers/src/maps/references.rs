//! `BPF_MAP_TYPE_ARRAY_OF_MAPS`, `BPF_MAP_TYPE_PROG_ARRAY`, `BPF_MAP_TYPE_CGROUP_ARRAY`: arrays of things, as the "fd
//! arrays" of `kernel/bpf/arraymap.c`.
//!
//! A thing is a number other than 0: a map's or a program's in its sandbox, counted from 1, or
//! what a runtime has for a control group. They lie on the host side.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use abi::map_types::MapType;

use super::{ANY, MapSpec, host_vec};
use crate::host::Errno;

/// `BPF_F_NUMA_NODE | BPF_F_RDONLY | BPF_F_WRONLY`.
const FLAGS: u32 = 1 << 2 | 1 << 3 | 1 << 4;

/// Elements at most: they take no guest memory, whose size is what bounds other maps.
const MAX_ENTRIES: u32 = 1 << 20;

pub(super) fn area_bytes(spec: &MapSpec) -> Result<u64, Errno> {
    let of_maps = spec.map_type == MapType::ArrayOfMaps;
    if spec.key_size != 4
        || spec.value_size != 4
        || spec.max_entries == 0
        || spec.flags & !FLAGS != 0
        || of_maps != spec.inner.is_some()
    {
        return Err(Errno::EINVAL);
    }
    if spec.max_entries > MAX_ENTRIES {
        return Err(Errno::E2BIG);
    }
    Ok(0)
}

/// An array of numbers that stand for things; 0 for none.
#[derive(Debug)]
pub struct References {
    slots: Vec<AtomicU64>,
}

impl References {
    /// `spec` has passed [`area_bytes`].
    pub(super) fn new(spec: &MapSpec) -> Result<Self, Errno> {
        let mut slots = host_vec(spec.max_entries as usize)?;
        slots.extend((0..spec.max_entries).map(|_| AtomicU64::new(0)));
        Ok(Self { slots })
    }

    /// How many there may be.
    pub fn len(&self) -> u32 {
        self.slots.len() as u32
    }

    /// Whether there may be none, which never is.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// What stands at `index`.
    pub fn get(&self, index: u32) -> Option<u64> {
        let value = self.slots.get(index as usize)?.load(Ordering::Acquire);
        (value != 0).then_some(value)
    }

    /// Sets what stands at `index` (0: nothing); what stood there.
    ///
    /// # Errors
    ///
    /// `E2BIG` if there is no such index.
    pub fn set(&self, index: u32, value: u64) -> Result<u64, Errno> {
        let slot = self.slots.get(index as usize).ok_or(Errno::E2BIG)?;
        Ok(slot.swap(value, Ordering::AcqRel))
    }

    /// Whether something can be set at `index`, which is asked before what.
    ///
    /// # Errors
    ///
    /// `EINVAL` (flags), `E2BIG`.
    pub fn check(&self, index: u32, flags: u64) -> Result<(), Errno> {
        if flags != ANY {
            return Err(Errno::EINVAL);
        }
        match index < self.len() {
            true => Ok(()),
            false => Err(Errno::E2BIG),
        }
    }

    pub(super) fn update(&self, index: u32, number: u32, flags: u64) -> Result<(), Errno> {
        self.check(index, flags)?;
        if number == 0 {
            return Err(Errno::EBADF);
        }
        self.set(index, number.into()).map(|_| ())
    }

    pub(super) fn delete(&self, index: u32) -> Result<(), Errno> {
        match self.set(index, 0)? {
            0 => Err(Errno::ENOENT),
            _ => Ok(()),
        }
    }

    pub(super) fn next_key(&self, index: Option<u32>, next: &mut [u8]) -> Result<(), Errno> {
        let last = self.len() - 1;
        let index = match index {
            Some(index) if index == last => return Err(Errno::ENOENT),
            Some(index) if index < last => index + 1,
            _ => 0,
        };
        next.copy_from_slice(&index.to_ne_bytes());
        Ok(())
    }
}
