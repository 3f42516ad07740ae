//! What maps take of host memory is what [`maps::host_bytes`] says beforehand.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use abi::map_types::MapType;
use wprobe_helpers::guest::GuestMemory;
use wprobe_helpers::maps::{self, Inner, MapSpec};
use wprobe_helpers::space::Space;

/// Bytes that are allocated.
static ALLOCATED: AtomicI64 = AtomicI64::new(0);

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

// SAFETY: the system's, counted.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size() as i64, Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size() as i64, Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(block, layout) }
    }
}

/// Type, sizes of key and value, elements, flags.
const MAPS: &[(MapType, u32, u32, u32, u32)] = &[
    (MapType::Hash, 8, 8, 10_000, 0),
    (MapType::Hash, 13, 8, 1, 0),
    (MapType::PercpuHash, 4, 8, 5000, 0),
    (MapType::LruHash, 512, 8, 4096, 0),
    (MapType::LruPercpuHash, 8, 8, 3000, 0),
    (MapType::Array, 4, 8, 10_000, 0),
    (MapType::PercpuArray, 4, 8, 1000, 0),
    (MapType::Queue, 0, 8, 1000, 0),
    (MapType::Stack, 0, 8, 1000, 0),
    (MapType::LpmTrie, 8, 8, 10_000, 1),
    (MapType::BloomFilter, 0, 8, 100_000, 0),
    (MapType::Ringbuf, 0, 0, 8192, 0),
    (MapType::PerfEventArray, 4, 4, 1000, 0),
    (MapType::StackTrace, 4, 1016, 5000, 0),
    (MapType::CgroupArray, 4, 4, 1000, 0),
    (MapType::ProgArray, 4, 4, 1000, 0),
    (MapType::ArrayOfMaps, 4, 4, 1000, 0),
    (MapType::HashOfMaps, 8, 4, 1000, 0),
    (MapType::TaskStorage, 4, 8, 0, 1),
];

const ARRAY: Inner = Inner {
    map_type: MapType::Array,
    key_size: 4,
    value_size: 8,
    max_entries: 1,
    flags: 0,
};

#[test]
fn maps_take_what_is_said() {
    const SIZE: u32 = 64 << 20;
    let words = vec![0u64; SIZE as usize / 8].into_boxed_slice();
    let base = NonNull::new(Box::into_raw(words).cast::<u8>()).unwrap();
    for cpus in [1, 2, 128] {
        for &(map_type, key_size, value_size, max_entries, flags) in MAPS {
            let of_maps = matches!(map_type, MapType::ArrayOfMaps | MapType::HashOfMaps);
            let spec = MapSpec {
                map_type,
                key_size,
                value_size,
                max_entries,
                flags,
                inner: of_maps.then_some(ARRAY),
            };
            // SAFETY: leaked, and only touched atomically.
            let space = Space::new(unsafe { GuestMemory::new(base, SIZE) }, cpus);
            let said = maps::host_bytes(&spec, cpus).unwrap() as i64;
            let before = ALLOCATED.load(Relaxed);
            space.create_map(&spec).unwrap();
            let took = ALLOCATED.load(Relaxed) - before;
            assert_eq!(took, said, "{map_type:?} on {cpus} CPUs");
        }
    }
}

/// Bytes of an element of the kernel's own map, with its place in chains: `struct htab_elem` (48), key, value; a bucket of 16.
const NATIVE: u64 = 48 + 8 + 8 + 16;

#[test]
fn many_cpus_take_no_more_than_natively() {
    let spec = MapSpec {
        map_type: MapType::Hash,
        key_size: 8,
        value_size: 8,
        max_entries: 1 << 20,
        flags: 0,
        inner: None,
    };
    for cpus in [1, 16, 128] {
        let host = maps::host_bytes(&spec, cpus).unwrap();
        let all = host + maps::area_bytes(&spec, cpus).unwrap();
        assert!(all <= NATIVE << 20, "{all} bytes on {cpus} CPUs");
    }
}
