//! Maps: one file per type, the same shape in each.
//!
//! Values lie in guest memory, at offsets the space reserved; a lookup hands out the offset and
//! programs use the value in place, as they do in the kernel. Keys, chains and free lists lie on the
//! host side. Flags, errors and limits are the kernel's; each file names the kernel's.

mod array;
mod bloom_filter;
mod elements;
mod freelist;
mod hash;
mod key;
mod lpm_trie;
mod perf_event_array;
mod queue;
mod references;
mod ringbuf;
mod spec;
pub mod stack_trace;
mod task_storage;

use abi::map_types::MapType;
use abi::traps::Trap;

use crate::guest::{GuestMemory, GuestSlice};
use crate::host::Errno;
use crate::work::{Stop, Work, price};
use alloc::vec::Vec;
use array::Array;
use bloom_filter::BloomFilter;
use elements::Elements;
pub use elements::apart;
use hash::Hash;
pub use key::{Key, MAX_KEY};
use lpm_trie::LpmTrie;
pub use perf_event_array::{PerfEventArray, PerfRing};
use queue::{Order, Queue};
pub use references::References;
pub use ringbuf::{Commit, PAGE, Ringbuf};
pub use spec::{Inner, MapSpec};
use stack_trace::StackTrace;
pub use task_storage::TaskStorage;

/// `BPF_ANY`: create or replace.
pub const ANY: u64 = 0;
/// `BPF_NOEXIST`: only create.
pub const NOEXIST: u64 = 1;
/// `BPF_EXIST`: only replace.
pub const EXIST: u64 = 2;

/// Bytes of a per-CPU value at most (`PCPU_MIN_UNIT_SIZE`).
const MAX_PERCPU_VALUE: u32 = 32 << 10;

/// Bytes that areas of maps are aligned to, so that two maps share no cache line.
const AREA_ALIGN: u32 = 64;

/// `bytes`, rounded up to whole cache lines.
pub const fn aligned(bytes: u32) -> Option<u32> {
    bytes.checked_next_multiple_of(AREA_ALIGN)
}

/// Bytes of guest memory that a map takes, before [`aligned`].
///
/// # Errors
///
/// As [`crate::space::Space::create_map`].
pub fn area_bytes(spec: &MapSpec, cpus: u32) -> Result<u64, Errno> {
    match spec.map_type {
        MapType::Array | MapType::PercpuArray => array::area_bytes(spec, spec.copies(cpus)),
        MapType::Hash | MapType::PercpuHash | MapType::LruHash | MapType::LruPercpuHash => {
            hash::area_bytes(spec, cpus, spec.copies(cpus))
        }
        MapType::HashOfMaps if spec.value_size != 4 || spec.inner.is_none() => Err(Errno::EINVAL),
        MapType::HashOfMaps => hash::area_bytes(spec, cpus, 1),
        MapType::ArrayOfMaps | MapType::ProgArray | MapType::CgroupArray => {
            references::area_bytes(spec)
        }
        MapType::Queue | MapType::Stack => queue::area_bytes(spec),
        MapType::LpmTrie => lpm_trie::area_bytes(spec),
        MapType::BloomFilter => bloom_filter::area_bytes(spec),
        MapType::Ringbuf => ringbuf::area_bytes(spec),
        MapType::PerfEventArray => perf_event_array::area_bytes(spec),
        MapType::StackTrace => stack_trace::area_bytes(spec, cpus),
        MapType::TaskStorage => task_storage::area_bytes(spec, cpus),
        _ => Err(Errno::EOPNOTSUPP),
    }
}

/// Bytes of host memory that a map takes: itself, its keys, chains and free lists.
///
/// # Errors
///
/// As [`area_bytes`].
pub fn host_bytes(spec: &MapSpec, cpus: u32) -> Result<u64, Errno> {
    area_bytes(spec, cpus)?;
    let apart = match spec.map_type {
        MapType::Hash
        | MapType::PercpuHash
        | MapType::LruHash
        | MapType::LruPercpuHash
        | MapType::HashOfMaps => hash::host_bytes(spec, cpus)?,
        MapType::LpmTrie => lpm_trie::host_bytes(spec),
        MapType::BloomFilter => bloom_filter::host_bytes(spec),
        MapType::StackTrace => stack_trace::host_bytes(spec, cpus)?,
        MapType::TaskStorage => task_storage::host_bytes(spec, cpus)?,
        // A number for each thing.
        MapType::ArrayOfMaps
        | MapType::ProgArray
        | MapType::CgroupArray
        | MapType::PerfEventArray => u64::from(spec.max_entries) * size_of::<u64>() as u64,
        _ => 0,
    };
    Ok(size_of::<Map>() as u64 + apart)
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
    Queue(Queue),
    LpmTrie(LpmTrie),
    BloomFilter(BloomFilter),
    Ringbuf(Ringbuf),
    PerfEventArray(PerfEventArray),
    StackTrace(StackTrace),
    References(References),
    TaskStorage(TaskStorage),
}

impl Map {
    /// A map whose values lie from offset `area` on. Allocates. `spec` has passed [`area_bytes`].
    pub(crate) fn new(spec: MapSpec, area: u32, cpus: u32) -> Result<Self, Errno> {
        let copies = spec.copies(cpus);
        let kind = match spec.map_type {
            MapType::Array | MapType::PercpuArray => Kind::Array(Array::new(&spec, area, copies)),
            MapType::Hash
            | MapType::PercpuHash
            | MapType::LruHash
            | MapType::LruPercpuHash
            | MapType::HashOfMaps => Kind::Hash(Hash::new(&spec, area, cpus, copies)?),
            MapType::ArrayOfMaps | MapType::ProgArray | MapType::CgroupArray => {
                Kind::References(References::new(&spec)?)
            }
            MapType::Queue => Kind::Queue(Queue::new(&spec, area, Order::First)),
            MapType::Stack => Kind::Queue(Queue::new(&spec, area, Order::Last)),
            MapType::LpmTrie => Kind::LpmTrie(LpmTrie::new(&spec, area)?),
            MapType::BloomFilter => Kind::BloomFilter(BloomFilter::new(&spec)?),
            MapType::Ringbuf => Kind::Ringbuf(Ringbuf::new(&spec, area)),
            MapType::PerfEventArray => Kind::PerfEventArray(PerfEventArray::new(&spec)?),
            MapType::StackTrace => Kind::StackTrace(StackTrace::new(&spec, area, cpus)?),
            MapType::TaskStorage => Kind::TaskStorage(TaskStorage::new(&spec, area, cpus)?),
            _ => return Err(Errno::EOPNOTSUPP),
        };
        Ok(Self { spec, kind })
    }

    /// What it is.
    pub fn spec(&self) -> &MapSpec {
        &self.spec
    }

    /// Offset of element 0, of CPU 0 where there is one a CPU, if elements lie in order.
    pub fn first_value(&self) -> Option<u32> {
        match &self.kind {
            Kind::Array(array) => Some(array.elements().offset(0, 0)),
            _ => None,
        }
    }

    /// The ring, if it is one.
    pub fn as_ringbuf(&self) -> Option<&Ringbuf> {
        match &self.kind {
            Kind::Ringbuf(ring) => Some(ring),
            _ => None,
        }
    }

    /// The rings, if it is an array of them.
    pub fn as_perf_event_array(&self) -> Option<&PerfEventArray> {
        match &self.kind {
            Kind::PerfEventArray(rings) => Some(rings),
            _ => None,
        }
    }

    /// The stacks, if it is a map of them.
    pub fn as_stack_trace(&self) -> Option<&StackTrace> {
        match &self.kind {
            Kind::StackTrace(stacks) => Some(stacks),
            _ => None,
        }
    }

    /// The things, if it is an array of them.
    pub fn as_references(&self) -> Option<&References> {
        match &self.kind {
            Kind::References(references) => Some(references),
            _ => None,
        }
    }

    /// The values, if it is a map of tasks.
    pub fn as_task_storage(&self) -> Option<&TaskStorage> {
        match &self.kind {
            Kind::TaskStorage(storage) => Some(storage),
            _ => None,
        }
    }

    /// The index of the map under `key` in a map of maps. It may be no map: a hash has its values in guest memory.
    pub fn inner(&self, memory: &GuestMemory, key: &Key) -> Option<u32> {
        let number = match &self.kind {
            Kind::References(references) => references.get(key.index())?,
            Kind::Hash(hash) => hash
                .elements()
                .one(memory, hash.find(key)?, 0)
                .ok()?
                .word_at(0),
            _ => return None,
        };
        (number as u32).checked_sub(1)
    }

    /// Offset of `cpu`'s value under `key`, at nobody's cost.
    pub fn lookup(&self, cpu: u32, key: &Key) -> Option<u32> {
        self.lookup_paid(cpu, key, &Work::unlimited())
            .unwrap_or(None)
    }

    /// Offset of `cpu`'s value under `key`. What that takes beyond [`price::LOOKUP`] is paid from `work`.
    ///
    /// # Errors
    ///
    /// [`Trap::Budget`].
    #[inline]
    pub fn lookup_paid(&self, cpu: u32, key: &Key, work: &Work) -> Result<Option<u32>, Trap> {
        if let Kind::Hash(hash) = &self.kind {
            let slot = hash.touch(key);
            return Ok(slot.map(|slot| hash.elements().offset(slot, cpu)));
        }
        let found = self.element(key, work)?;
        Ok(found.map(|(elements, element)| elements.offset(element, cpu)))
    }

    /// The value under `key` (for per-CPU maps: all of them), for the control path.
    ///
    /// # Errors
    ///
    /// `ENOENT`, also for an array's index out of range.
    pub fn read(&self, memory: &GuestMemory, key: &Key, value: &mut [u8]) -> Result<(), Errno> {
        match &self.kind {
            Kind::Queue(queue) => return queue.pop(memory, false, |from| from.read(value)),
            Kind::TaskStorage(_) => return Err(Errno::EOPNOTSUPP),
            Kind::StackTrace(stacks) => return stacks.read(memory, key.index(), value),
            Kind::References(_) if self.spec.map_type == MapType::CgroupArray => {
                return Err(Errno::ENOTSUPP);
            }
            Kind::References(references) => {
                let number = references.get(key.index()).ok_or(Errno::ENOENT)? as u32;
                value.copy_from_slice(&number.to_ne_bytes());
                return Ok(());
            }
            _ => {}
        }
        let found = self.element(key, &Work::unlimited()).unwrap_or(None);
        let (elements, element) = found.ok_or(Errno::ENOENT)?;
        elements.read(memory, element, value)
    }

    fn element(&self, key: &Key, work: &Work) -> Result<Option<(&Elements, u32)>, Trap> {
        let (elements, element) = match &self.kind {
            Kind::Array(array) => (array.elements(), array.find(key.index())),
            Kind::Hash(hash) => (hash.elements(), hash.find(key)),
            Kind::LpmTrie(trie) => (trie.elements(), trie.find(key, work)?),
            _ => return Ok(None),
        };
        Ok(element.map(|element| (elements, element)))
    }

    /// Offset of the value under `key`, if it is a single one that is there as long as the map: an array's.
    pub fn stays(&self, key: &Key) -> Option<u32> {
        match &self.kind {
            Kind::Array(array) if !self.spec.is_percpu() => {
                Some(array.elements().offset(array.find(key.index())?, 0))
            }
            _ => None,
        }
    }

    /// Whether [`Self::next_key`] takes no lock that runs take.
    pub fn is_walked_unlocked(&self) -> bool {
        !matches!(self.kind, Kind::LpmTrie(_))
    }

    /// Stores `value` under `key`: for `cpu` if it comes from a guest, for all CPUs if from the host.
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
        self.update_paid(memory, cpu, key, value, flags, &Work::unlimited())
            .map_err(Stop::errno)
    }

    /// As [`Self::update`], for a program. What that takes beyond the key and the value is paid from `work`.
    ///
    /// # Errors
    ///
    /// As there; [`Trap::Budget`].
    #[inline]
    pub fn update_paid(
        &self,
        memory: &GuestMemory,
        cpu: u32,
        key: &Key,
        value: Value<'_>,
        flags: u64,
        work: &Work,
    ) -> Result<(), Stop> {
        work.units(price::UPDATE)?;
        match &self.kind {
            Kind::Hash(hash) => hash.update(memory, cpu, key, value, flags, work),
            _ => self.update_other(memory, cpu, key, value, flags, work),
        }
    }

    /// [`Self::update`] of what is no hash, which programs change most.
    fn update_other(
        &self,
        memory: &GuestMemory,
        cpu: u32,
        key: &Key,
        value: Value<'_>,
        flags: u64,
        work: &Work,
    ) -> Result<(), Stop> {
        let result = match &self.kind {
            Kind::Array(array) => array.update(memory, cpu, key.index(), value, flags),
            Kind::LpmTrie(trie) => return trie.update(memory, key, value, flags, work),
            Kind::StackTrace(_) => Err(Errno::EINVAL),
            Kind::References(references) => references.update(key.index(), value.number(), flags),
            _ => self.push(memory, value, flags),
        };
        Ok(result?)
    }

    /// Removes `key`.
    ///
    /// # Errors
    ///
    /// `ENOENT`, or `EINVAL` where elements cannot be removed by key.
    pub fn delete(&self, cpu: u32, key: &Key) -> Result<(), Errno> {
        self.delete_paid(cpu, key, &Work::unlimited())
            .map_err(Stop::errno)
    }

    /// As [`Self::delete`], for a program. What that takes beyond the key is paid from `work`.
    ///
    /// # Errors
    ///
    /// As there; [`Trap::Budget`].
    pub fn delete_paid(&self, cpu: u32, key: &Key, work: &Work) -> Result<(), Stop> {
        work.units(price::UPDATE)?;
        let result = match &self.kind {
            Kind::Array(_) | Kind::Queue(_) => Err(Errno::EINVAL),
            Kind::Hash(hash) => hash.delete(cpu, key),
            Kind::LpmTrie(trie) => return trie.delete(key, work),
            Kind::StackTrace(stacks) => stacks.delete(cpu, key.index()),
            Kind::References(references) => references.delete(key.index()),
            _ => Err(Errno::EOPNOTSUPP),
        };
        Ok(result?)
    }

    /// Writes the key after `key` (the first for `None` or a key not there) to `next`.
    ///
    /// # Errors
    ///
    /// `ENOENT` after the last; `EINVAL` for maps without keys.
    pub fn next_key(&self, key: Option<&Key>, next: &mut [u8]) -> Result<(), Errno> {
        match &self.kind {
            Kind::Array(array) => array.next_key(key.map(Key::index), next),
            Kind::Hash(hash) => hash.next_key(key, next),
            Kind::LpmTrie(trie) => trie.next_key(key, next),
            Kind::StackTrace(stacks) => stacks.next_key(key.map(Key::index), next),
            Kind::References(references) => references.next_key(key.map(Key::index), next),
            Kind::Queue(_) => Err(Errno::EINVAL),
            Kind::TaskStorage(_) => Err(Errno::ENOTSUPP),
            _ => Err(Errno::EOPNOTSUPP),
        }
    }

    /// Writes each key to `key` and hands its value's offset for `cpu` to `each`, until that says no. How many were handed over. What is
    /// called, and what is passed over, is paid from `work`.
    ///
    /// # Errors
    ///
    /// [`Trap::BadMap`] for other maps than arrays and hashes, [`Trap::Budget`], and what `each` gives.
    pub fn for_each(
        &self,
        cpu: u32,
        key: GuestSlice<'_>,
        work: &Work,
        mut each: impl FnMut(u32) -> Result<bool, Trap>,
    ) -> Result<u32, Trap> {
        let words = u64::from(self.spec.key_size).div_ceil(8);
        let mut each = |value| {
            work.units(price::CALLBACK + words * price::KEY_WORD)?;
            each(value)
        };
        if self.spec.is_of_maps() {
            return Err(Trap::BadMap);
        }
        match &self.kind {
            Kind::Array(array) => {
                for index in 0..self.spec.max_entries {
                    key.write(&index.to_ne_bytes());
                    if !each(array.elements().offset(index, cpu))? {
                        return Ok(index + 1);
                    }
                }
                Ok(self.spec.max_entries)
            }
            Kind::Hash(hash) => {
                hash.for_each(key, work, |slot| each(hash.elements().offset(slot, cpu)))
            }
            _ => Err(Trap::BadMap),
        }
    }

    /// Adds a value to a map without keys.
    ///
    /// # Errors
    ///
    /// `EINVAL` (flags), `E2BIG` (full); `EOPNOTSUPP` for maps with keys.
    pub fn push(&self, memory: &GuestMemory, value: Value<'_>, flags: u64) -> Result<(), Errno> {
        match &self.kind {
            Kind::Queue(queue) => queue.push(memory, value, flags),
            Kind::BloomFilter(filter) => filter.push(&value.as_key()?, flags),
            _ => Err(Errno::EOPNOTSUPP),
        }
    }

    /// Hands the next value of a map without keys to `take`, and removes it if `remove`.
    ///
    /// # Errors
    ///
    /// `ENOENT` if it is empty; `EOPNOTSUPP` for maps with keys.
    pub fn pop(
        &self,
        memory: &GuestMemory,
        remove: bool,
        take: impl FnOnce(GuestSlice<'_>),
    ) -> Result<(), Errno> {
        match &self.kind {
            Kind::Queue(queue) => queue.pop(memory, remove, take),
            _ => Err(Errno::EOPNOTSUPP),
        }
    }
}

impl Map {
    /// Whether a bloom filter may hold `value`.
    ///
    /// # Errors
    ///
    /// `ENOENT` if it does not; `EOPNOTSUPP` for other maps.
    pub fn peek(&self, value: Value<'_>) -> Result<(), Errno> {
        match &self.kind {
            Kind::BloomFilter(filter) if filter.has(&value.as_key()?) => Ok(()),
            Kind::BloomFilter(_) => Err(Errno::ENOENT),
            _ => Err(Errno::EOPNOTSUPP),
        }
    }
}

impl Value<'_> {
    /// The value as a number; bytes it has not are zero.
    pub(crate) fn number(&self) -> u32 {
        match self {
            Value::Guest(bytes) => bytes.word_at(0) as u32,
            Value::Host(bytes) => bytes.first_chunk().map_or(0, |b| u32::from_ne_bytes(*b)),
            Value::Zero => 0,
        }
    }

    /// The value as what is hashed.
    fn as_key(&self) -> Result<Key, Errno> {
        match self {
            Value::Guest(bytes) => Key::from_guest(*bytes),
            Value::Host(bytes) => Key::from_host(bytes),
            Value::Zero => Key::from_host(&[]),
        }
    }
}

/// A value to store.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// In guest memory: one value, for the guest's CPU.
    Guest(GuestSlice<'a>),
    /// In host memory: [`MapSpec::control_value_size`] bytes, for all CPUs.
    Host(&'a [u8]),
    /// As many zeros as it takes.
    Zero,
}

/// A vector with room for exactly `capacity` elements.
fn host_vec<T>(capacity: usize) -> Result<Vec<T>, Errno> {
    let mut vec = Vec::new();
    vec.try_reserve_exact(capacity).map_err(|_| Errno::ENOMEM)?;
    Ok(vec)
}
