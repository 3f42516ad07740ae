//! A sandbox with a map of every type, each as dear as maps come.

use std::cell::RefCell;
use std::ptr::NonNull;

use abi::layout::guest_ptr;
use abi::map_types::MapType;
use wprobe_helpers::guest::GuestMemory;
use wprobe_helpers::maps::{Key, Map, MapSpec, PerfRing, Value};
use wprobe_helpers::space::{CreatedMap, Space};

/// Bytes of guest memory.
const SIZE: u32 = 4 << 20;
/// CPUs there may be.
pub(crate) const CPUS: u32 = 8;
/// Where keys, values and buffers are: far behind the maps.
pub(crate) const KEY: u32 = SIZE - 0x2_0000;
pub(crate) const VALUE: u32 = SIZE - 0x1_0000 + 1;
pub(crate) const TEXT: u32 = SIZE - 0x8000;

/// Memory that is given back when nobody uses it any more.
struct Owned(NonNull<[u64]>);

impl Owned {
    fn new(size: u32) -> Self {
        let words = vec![0u64; size as usize / 8].into_boxed_slice();
        Self(NonNull::new(Box::into_raw(words)).unwrap())
    }

    /// # Safety
    ///
    /// What is made of it goes first.
    unsafe fn memory(&self) -> GuestMemory {
        let size = self.0.len() as u32 * 8;
        // SAFETY: fresh, aligned to 8, and only used through this; it lives longer, by the caller's promise.
        unsafe { GuestMemory::new(self.0.cast(), size) }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: it came from a box.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

/// See above. Fields go in their order.
pub(crate) struct Place {
    pub(crate) space: Space,
    #[expect(clippy::vec_box, reason = "maps keep the rings' addresses")]
    rings: RefCell<Vec<Box<PerfRing>>>,
    memory: RefCell<Vec<Owned>>,
}

impl Place {
    pub(crate) fn new() -> Self {
        let memory = Owned::new(SIZE);
        Self {
            // SAFETY: the space goes first.
            space: Space::new(unsafe { memory.memory() }, CPUS),
            rings: RefCell::default(),
            memory: RefCell::new(vec![memory]),
        }
    }

    pub(crate) fn map(
        &self,
        map_type: MapType,
        key_size: u32,
        value_size: u32,
        max_entries: u32,
    ) -> CreatedMap {
        let spec = MapSpec {
            map_type,
            key_size,
            value_size,
            max_entries,
            // Those that must not be allocated before.
            flags: matches!(map_type, MapType::LpmTrie | MapType::TaskStorage).into(),
            inner: None,
        };
        self.space.create_map(&spec).unwrap()
    }

    pub(crate) fn of(&self, map: CreatedMap) -> &Map {
        self.space.map(map.index).unwrap()
    }

    /// Stores zeros under `key`.
    pub(crate) fn put(&self, map: CreatedMap, key: &[u8]) {
        let map = self.of(map);
        let value = vec![0; map.spec().control_value_size(CPUS)];
        let key = Key::from_host(key).unwrap();
        map.update(self.space.memory(), 0, &key, Value::Host(&value), 0)
            .unwrap();
    }

    /// Fills a map with numbers as keys.
    pub(crate) fn fill(&self, map: CreatedMap) {
        let spec = *self.of(map).spec();
        for number in 0..spec.max_entries {
            let mut key = number.to_ne_bytes().to_vec();
            key.resize(spec.key_size as usize, 0);
            self.put(map, &key);
        }
    }

    pub(crate) fn write(&self, at: u32, bytes: &[u8]) {
        let slice = self.space.memory().at(at, bytes.len() as u64);
        slice.unwrap().write(bytes);
    }

    /// Writes `bytes` of a key of `size` bytes, otherwise zeros; where it is.
    pub(crate) fn key(&self, bytes: &[u8], size: usize) -> u64 {
        let mut key = bytes.to_vec();
        key.resize(size, 0);
        self.write(KEY, &key);
        guest_ptr(KEY)
    }

    /// A ring of a perf event array, for CPU 0.
    pub(crate) fn ring(&self, map: CreatedMap) {
        let memory = Owned::new(4096 + (64 << 10));
        // SAFETY: the ring goes first.
        let ring = PerfRing::new(unsafe { memory.memory() }, 0, 1).unwrap();
        let mut kept = self.rings.borrow_mut();
        kept.push(Box::new(ring));
        self.memory.borrow_mut().push(memory);
        let ring = NonNull::from(&*kept[kept.len() - 1]);
        let rings = self.of(map).as_perf_event_array().unwrap();
        // SAFETY: the ring stays in its box until the space has gone.
        unsafe { rings.put(0, ring) }.unwrap();
    }
}
