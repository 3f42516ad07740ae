//! Maps: one file per type, the same shape in each.
//!
//! Values lie in guest memory, at offsets the space reserved; a lookup hands out the offset and
//! programs use the value in place, as they do in the kernel. Keys, chains and free lists lie on the
//! host side. Flags, errors and limits are the kernel's (`kernel/bpf/{arraymap,hashtab}.c`).

mod array;
mod freelist;
mod hash;
mod key;

use abi::map_types::MapType;

use crate::guest::{GuestMemory, GuestSlice};
use crate::host::Errno;
use alloc::vec::Vec;
use array::Array;
use hash::Hash;
pub use key::{Key, MAX_KEY};

/// `BPF_ANY`: create or replace.
pub const ANY: u64 = 0;
/// `BPF_NOEXIST`: only create.
pub const NOEXIST: u64 = 1;
/// `BPF_EXIST`: only replace.
pub const EXIST: u64 = 2;

/// Bytes that areas of maps are aligned to, so that two maps share no cache line.
const AREA_ALIGN: u32 = 64;

/// `bytes`, rounded up to whole cache lines.
pub const fn aligned(bytes: u32) -> Option<u32> {
    bytes.checked_next_multiple_of(AREA_ALIGN)
}

/// What a map is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapSpec {
    /// Its type.
    pub map_type: MapType,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// Elements at most.
    pub max_entries: u32,
    /// `map_flags`.
    pub flags: u32,
}

/// Bytes of guest memory that a map takes, before [`aligned`].
///
/// # Errors
///
/// As [`crate::space::Space::create_map`].
pub fn area_bytes(spec: &MapSpec, cpus: u32) -> Result<u64, Errno> {
    match spec.map_type {
        MapType::Array => array::area_bytes(spec),
        MapType::Hash => hash::area_bytes(spec, cpus),
        _ => Err(Errno::EOPNOTSUPP),
    }
}

/// A map.
#[derive(Debug)]
pub struct Map {
    spec: MapSpec,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Array(Array),
    Hash(Hash),
}

impl Map {
    /// A map whose values lie from offset `area` on. Allocates.
    pub(crate) fn new(spec: MapSpec, area: u32, cpus: u32) -> Result<Self, Errno> {
        let kind = match spec.map_type {
            MapType::Array => Kind::Array(Array::new(&spec, area)?),
            MapType::Hash => Kind::Hash(Hash::new(&spec, area, cpus)?),
            _ => return Err(Errno::EOPNOTSUPP),
        };
        Ok(Self { spec, kind })
    }

    /// What it is.
    pub fn spec(&self) -> &MapSpec {
        &self.spec
    }

    /// Offset of element 0, where elements lie in order.
    pub fn first_value(&self) -> Option<u32> {
        match &self.kind {
            Kind::Array(array) => array.value(0),
            Kind::Hash(_) => None,
        }
    }

    /// Offset of the value under `key`.
    pub fn lookup(&self, key: &Key) -> Option<u32> {
        match &self.kind {
            Kind::Array(array) => array.value(key.index()),
            Kind::Hash(hash) => hash.lookup(key),
        }
    }

    /// Stores `value` under `key`, for CPU `cpu`.
    ///
    /// # Errors
    ///
    /// `EINVAL` (flags), `EEXIST`, `ENOENT`, `E2BIG`: as the kernel's map of this type.
    pub fn update(
        &self,
        memory: &GuestMemory,
        cpu: u32,
        key: &Key,
        value: Value<'_>,
        flags: u64,
    ) -> Result<(), Errno> {
        match &self.kind {
            Kind::Array(array) => array.update(memory, key.index(), value, flags),
            Kind::Hash(hash) => hash.update(memory, cpu, key, value, flags),
        }
    }

    /// Removes `key`.
    ///
    /// # Errors
    ///
    /// `ENOENT`, or `EINVAL` for arrays.
    pub fn delete(&self, cpu: u32, key: &Key) -> Result<(), Errno> {
        match &self.kind {
            Kind::Array(_) => Err(Errno::EINVAL),
            Kind::Hash(hash) => hash.delete(cpu, key),
        }
    }

    /// Writes the key after `key` (the first for `None` or a key not there) to `next`.
    ///
    /// # Errors
    ///
    /// `ENOENT` after the last.
    pub fn next_key(&self, key: Option<&Key>, next: &mut [u8]) -> Result<(), Errno> {
        match &self.kind {
            Kind::Array(array) => array.next_key(key.map(Key::index), next),
            Kind::Hash(hash) => hash.next_key(key, next),
        }
    }
}

/// A value to store: from the guest, or from the control path.
#[derive(Clone, Copy)]
pub enum Value<'a> {
    /// In guest memory.
    Guest(GuestSlice<'a>),
    /// In host memory.
    Host(&'a [u8]),
}

impl Value<'_> {
    fn store(self, to: GuestSlice<'_>) {
        match self {
            Value::Guest(from) => to.copy_from(from),
            Value::Host(from) => to.write(from),
        }
    }
}

/// A vector with room for exactly `capacity` elements.
fn host_vec<T>(capacity: usize) -> Result<Vec<T>, Errno> {
    let mut vec = Vec::new();
    vec.try_reserve_exact(capacity).map_err(|_| Errno::ENOMEM)?;
    Ok(vec)
}
