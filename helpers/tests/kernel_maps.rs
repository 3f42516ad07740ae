//! Every map type against the kernel's own map of that type: random operations, every result compared.
//!
//! The kernel's maps are created on the running kernel through bpf(2); nothing is loaded or attached.

mod kernel;

use std::ptr::NonNull;

use abi::map_types::MapType;
use kernel::KernelMap;
use wprobe_helpers::guest::GuestMemory;
use wprobe_helpers::host::Errno;
use wprobe_helpers::maps::{Inner, Key, Map, MapSpec, Value, area_bytes};
use wprobe_helpers::space::Space;

const MEMORY: u32 = 1 << 22;

/// Our map, driven as the control path drives it.
struct Ours {
    space: Space,
    index: u32,
}

impl Ours {
    fn new(spec: &MapSpec, cpus: u32) -> Result<Self, Errno> {
        let words = vec![0u64; MEMORY as usize / 8].into_boxed_slice();
        let base = NonNull::new(Box::into_raw(words).cast::<u8>()).unwrap();
        // SAFETY: freshly leaked, so valid for ever, aligned to 8, and nobody else knows it.
        let space = Space::new(unsafe { GuestMemory::new(base, MEMORY) }, cpus);
        let index = space.create_map(spec)?.index;
        Ok(Self { space, index })
    }

    fn map(&self) -> &Map {
        self.space.map(self.index).unwrap()
    }

    fn run(&self, operation: &Operation, value_size: usize) -> Outcome {
        let memory = self.space.memory();
        let key = |bytes: &[u8]| Key::from_host(bytes).unwrap();
        let nothing = |result: Result<(), Errno>| result.map(|()| Vec::new()).map_err(|e| e.0);
        match operation {
            Operation::Lookup(k) => {
                let mut value = vec![0; value_size];
                let read = self.map().read(memory, &key(k), &mut value);
                read.map(|()| value).map_err(|e| e.0)
            }
            Operation::Update(k, v, flags) => {
                nothing(self.space.update(self.map(), 0, &key(k), v, *flags))
            }
            Operation::Delete(k) => nothing(self.map().delete(0, &key(k))),
            Operation::Take(_) => {
                let mut value = vec![0; value_size];
                let taken = self.map().pop(memory, true, |from| from.read(&mut value));
                taken.map(|()| value).map_err(|e| e.0)
            }
        }
    }

    fn keys(&self, key_size: usize) -> Vec<Vec<u8>> {
        let mut keys: Vec<Vec<u8>> = Vec::new();
        let mut next = vec![0; key_size];
        loop {
            let last = keys.last().map(|k| Key::from_host(k).unwrap());
            if self.map().next_key(last.as_ref(), &mut next).is_err() {
                keys.sort_unstable();
                return keys;
            }
            keys.push(next.clone());
        }
    }
}

#[derive(Clone, Debug)]
enum Operation {
    Lookup(Vec<u8>),
    Update(Vec<u8>, Vec<u8>, u64),
    Delete(Vec<u8>),
    /// `BPF_MAP_LOOKUP_AND_DELETE_ELEM` of a map without keys.
    Take(()),
}

type Outcome = Result<Vec<u8>, i32>;

/// xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16) % bound
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.below(256) as u8).collect()
    }
}

/// A per-CPU value's padding comes back from the kernel as it likes; make it zero on the way in.
fn value(random: &mut Random, spec: &MapSpec, cpus: u32) -> Vec<u8> {
    let mut bytes = random.bytes(spec.control_value_size(cpus));
    if spec.is_percpu() {
        let stride = spec.value_size.next_multiple_of(8) as usize;
        for one in bytes.chunks_mut(stride) {
            one[spec.value_size as usize..].fill(0);
        }
    }
    bytes
}

fn key(random: &mut Random, spec: &MapSpec) -> Vec<u8> {
    if spec.map_type == MapType::LpmTrie {
        return prefix(random, spec);
    }
    number(
        spec,
        random.below(u64::from(spec.max_entries) * 2 + 1) as u32,
    )
}

/// The key of a number.
fn number(spec: &MapSpec, number: u32) -> Vec<u8> {
    let mut bytes = vec![0x5a; spec.key_size as usize];
    let len = bytes.len().min(4);
    bytes[..len].copy_from_slice(&number.to_ne_bytes()[..len]);
    bytes
}

/// A prefix of up to all bits (rarely more), of few different ones, so that prefixes meet.
fn prefix(random: &mut Random, spec: &MapSpec) -> Vec<u8> {
    let data = spec.key_size as usize - 4;
    let most = [11, data as u64 * 8 + 2][random.below(2) as usize];
    let bits = random.below(most) as u32;
    let fill = [0x00, 0xc1][random.below(2) as usize];
    let mut key = bits.to_ne_bytes().to_vec();
    key.push([0x00, 0x80, 0xc0, 0xff, 0x01][random.below(5) as usize]);
    key.resize(spec.key_size as usize, fill);
    key
}

fn operation(
    random: &mut Random,
    spec: &MapSpec,
    cpus: u32,
    key: &impl Fn(&mut Random) -> Vec<u8>,
) -> Operation {
    let keyless = spec.key_size == 0;
    match random.below(8) {
        0..3 => Operation::Lookup(key(random)),
        3 if keyless => Operation::Take(()),
        3 => Operation::Delete(key(random)),
        4 if keyless => Operation::Take(()),
        _ => {
            let flags = [0, 0, 0, 1, 2, 3, 1 << 40][random.below(7) as usize];
            let value = value(random, spec, cpus);
            Operation::Update(key(random), value, flags)
        }
    }
}

fn compare(spec: MapSpec, steps: u32) {
    compare_on(spec, steps, |random| key(random, &spec));
}

/// As [`compare`], on given keys.
fn compare_on(spec: MapSpec, steps: u32, key: impl Fn(&mut Random) -> Vec<u8>) {
    let cpus = kernel::possible_cpus();
    let theirs = KernelMap::create(&spec).unwrap();
    let ours = Ours::new(&spec, cpus).unwrap();
    let value_size = spec.control_value_size(cpus);
    let mut random = Random(u64::from(spec.max_entries) << 8 | u64::from(spec.key_size) | 1);
    let mut succeeded = 0;
    for step in 0..steps {
        let operation = operation(&mut random, &spec, cpus, &key);
        let expected = theirs.run(&operation, value_size);
        succeeded += u32::from(expected.is_ok());
        assert_eq!(
            ours.run(&operation, value_size),
            expected,
            "{spec:?}, step {step}: {operation:?}"
        );
    }
    assert!(
        succeeded > steps / 10,
        "{spec:?}: a comparison of errors only"
    );
    if spec.key_size > 0 {
        let key_size = spec.key_size as usize;
        assert_eq!(ours.keys(key_size), theirs.keys(key_size), "{spec:?}");
    }
}

fn spec(map_type: MapType, key_size: u32, value_size: u32, max_entries: u32) -> MapSpec {
    MapSpec {
        map_type,
        key_size,
        value_size,
        max_entries,
        flags: 0,
        inner: None,
    }
}

#[test]
fn arrays() {
    for (value_size, entries) in [(8, 1), (1, 3), (13, 64)] {
        compare(spec(MapType::Array, 4, value_size, entries), 5_000);
        compare(spec(MapType::PercpuArray, 4, value_size, entries), 5_000);
    }
}

#[test]
fn hashes() {
    for (key_size, value_size, entries) in
        [(4, 8, 1), (1, 1, 3), (8, 24, 10), (21, 13, 64), (512, 8, 5)]
    {
        compare(spec(MapType::Hash, key_size, value_size, entries), 10_000);
        compare(
            spec(MapType::PercpuHash, key_size, value_size, entries),
            10_000,
        );
    }
}

/// As long as nothing is evicted, an LRU map is a hash.
#[test]
fn lru_hashes_with_room() {
    for (key_size, value_size) in [(4, 8), (21, 13)] {
        for map_type in [MapType::LruHash, MapType::LruPercpuHash] {
            let mut few = spec(map_type, key_size, value_size, 8);
            let keys: Vec<_> = (0..8).map(|n| number(&few, n)).collect();
            // The kernel's lists for each CPU hold slots back; with so many nothing is ever evicted.
            few.max_entries = 10_000;
            compare_on(few, 10_000, |random| keys[random.below(8) as usize].clone());
        }
    }
}

#[test]
fn queues_and_stacks() {
    for (value_size, entries) in [(8, 1), (1, 3), (13, 64)] {
        compare(spec(MapType::Queue, 0, value_size, entries), 10_000);
        compare(spec(MapType::Stack, 0, value_size, entries), 10_000);
    }
}

#[test]
fn tries_of_prefixes() {
    for (key_size, value_size, entries) in [(5, 8, 3), (6, 1, 8), (8, 13, 64), (36, 8, 20)] {
        let mut spec = spec(MapType::LpmTrie, key_size, value_size, entries);
        spec.flags = 1;
        compare(spec, 20_000);
    }
}

/// False positives depend on the hash functions; false negatives must not be.
#[test]
fn a_bloom_filter_knows_all_it_was_given() {
    let ours = Ours::new(&spec(MapType::BloomFilter, 0, 8, 100), 1).unwrap();
    let (map, memory) = (ours.map(), ours.space.memory());
    for number in 0..100u64 {
        map.push(memory, Value::Host(&number.to_ne_bytes()), 0)
            .unwrap();
    }
    let has = |number: u64| map.peek(Value::Host(&number.to_ne_bytes())).is_ok();
    assert!((0..100).all(has));
    let wrong = (100..10_100).filter(|number| has(*number)).count();
    // (1 - e^(-kn/m))^k for n = 100, m = 1024, k = 5 is 0.9 %.
    assert!(wrong < 300, "{wrong} of 10,000 claimed wrongly");
    assert_eq!(
        map.push(memory, Value::Host(&[0; 8]), 1),
        Err(Errno::EINVAL)
    );
}

/// The kernel takes an inner map's descriptor and gives its id; ours takes and gives its number.
#[test]
fn maps_of_maps() {
    let array = spec(MapType::Array, 4, 8, 3);
    let longer = spec(MapType::Array, 4, 8, 4);
    let resizable = |n| MapSpec {
        flags: 1 << 12,
        ..spec(MapType::Array, 4, 8, n)
    };
    let hash = |n| spec(MapType::Hash, 4, 8, n);
    for inners in [
        [array, array, longer, hash(3)],
        [resizable(3), resizable(4), array, hash(3)],
        [hash(3), hash(4), spec(MapType::LruHash, 4, 8, 3), array],
    ] {
        compare_of_maps(spec(MapType::ArrayOfMaps, 4, 4, 5), &inners);
        compare_of_maps(spec(MapType::HashOfMaps, 4, 4, 5), &inners);
    }
}

/// Random operations on `outer`, made for maps like the first of `inners`.
fn compare_of_maps(mut outer: MapSpec, inners: &[MapSpec]) {
    let first = &inners[0];
    let kernel_inners: Vec<_> = inners
        .iter()
        .map(|spec| KernelMap::create(spec).unwrap())
        .collect();
    let theirs = KernelMap::create_of(&outer, Some(&kernel_inners[0])).unwrap();
    outer.inner = Some(Inner {
        map_type: first.map_type,
        key_size: first.key_size,
        value_size: first.value_size,
        max_entries: first.max_entries,
        flags: first.flags,
    });
    let ours = Ours::new(&outer, 1).unwrap();
    let numbers: Vec<_> = inners
        .iter()
        .map(|spec| ours.space.create_map(spec).unwrap().index + 1)
        .collect();
    let mut random = Random(u64::from(outer.map_type as u32) << 8 | 1);
    let mut succeeded = 0;
    for step in 0..2_000 {
        let key = number(&outer, random.below(7) as u32);
        let (theirs_does, ours_does) = match random.below(4) {
            0 => (Operation::Lookup(key.clone()), Operation::Lookup(key)),
            1 => (Operation::Delete(key.clone()), Operation::Delete(key)),
            _ => {
                let which = random.below(inners.len() as u64 + 1) as usize;
                let flags = [0, 0, 0, 1, 2, 3][random.below(6) as usize];
                let fd = kernel_inners.get(which).map_or(u32::MAX, KernelMap::fd);
                let number = numbers.get(which).copied().unwrap_or(99);
                let update = |value: u32| {
                    Operation::Update(key.clone(), value.to_ne_bytes().to_vec(), flags)
                };
                (update(fd), update(number))
            }
        };
        // Which inner map a value stands for.
        let place = |values: &[u32], value: Vec<u8>| match value.first_chunk() {
            Some(value) => values.iter().position(|v| *v == u32::from_ne_bytes(*value)),
            None => None,
        };
        let ids: Vec<_> = kernel_inners.iter().map(KernelMap::id).collect();
        let expected = theirs.run(&theirs_does, 4).map(|v| place(&ids, v));
        succeeded += u32::from(expected.is_ok());
        let found = ours.run(&ours_does, 4).map(|v| place(&numbers, v));
        assert_eq!(found, expected, "{outer:?}, step {step}: {ours_does:?}");
    }
    assert!(succeeded > 200, "{outer:?}: a comparison of errors only");
    assert_eq!(ours.keys(4), theirs.keys(4), "{outer:?}");
}

#[test]
fn shapes_are_accepted_and_refused_alike() {
    let types = [
        MapType::Array,
        MapType::PercpuArray,
        MapType::Hash,
        MapType::PercpuHash,
        MapType::Queue,
        MapType::Stack,
        MapType::LpmTrie,
        MapType::BloomFilter,
        MapType::LruHash,
        MapType::LruPercpuHash,
        MapType::PerfEventArray,
        MapType::Ringbuf,
        MapType::StackTrace,
        MapType::ProgArray,
        MapType::CgroupArray,
    ];
    let cpus = kernel::possible_cpus();
    for map_type in types {
        for key_size in [0, 1, 4, 8, 260, 261] {
            for value_size in [0, 1, 4, 8, 40_000] {
                for max_entries in [0, 1, 4096, 12288] {
                    for flag in (0..33).map(|bit| 1u64 << bit).chain([1 | 4, 1 | 32]) {
                        let mut spec = spec(map_type, key_size, value_size, max_entries);
                        spec.flags = flag as u32;
                        // BPF_F_NUMA_NODE, BPF_F_STACK_BUILD_ID …: flags whose acceptance depends
                        // on the kernel's version are those newer than 6.1's.
                        let newer = spec.flags >= 1 << 13 && spec.flags < 1 << 20;
                        // What is hashed is at most MAX_KEY bytes here.
                        let hashed = map_type == MapType::BloomFilter && value_size > 512;
                        // So much memory is refused, or takes its time, as the machine has it.
                        let large = value_size > 8 && max_entries > 1;
                        if newer || hashed || large {
                            continue;
                        }
                        let theirs = KernelMap::create(&spec).map(|_| ()).map_err(|e| e.0);
                        let ours = area_bytes(&spec, cpus).map(|_| ()).map_err(|e| e.0);
                        assert_eq!(ours, theirs, "{spec:?}");
                    }
                }
            }
        }
    }
}
