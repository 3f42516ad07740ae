//! Maps against a plain model, and under contention.
//!
//! That the model itself behaves as the kernel's maps do is shown in guests, by `diff-tests`.

use std::collections::HashMap;
use std::ptr::NonNull;

use abi::layout;
use abi::map_types::MapType;
use wprobe_helpers::guest::GuestMemory;
use wprobe_helpers::host::Errno;
use wprobe_helpers::maps::{ANY, EXIST, Key, MapSpec, NOEXIST, Value, area_bytes};
use wprobe_helpers::space::Space;

const CPUS: u32 = 2;

fn space(bytes: u32) -> Space {
    let words = vec![0u64; bytes as usize / 8].into_boxed_slice();
    let base = NonNull::new(Box::into_raw(words).cast::<u8>()).unwrap();
    // SAFETY: freshly leaked, so valid for ever, aligned to 8, and nobody else knows it.
    let memory = unsafe { GuestMemory::new(base, bytes) };
    Space::new(memory, CPUS)
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

/// What the table of map types says of this version's runtimes is what they do.
#[test]
fn the_table_says_which_types_there_are() {
    for map_type in MapType::ALL {
        let refused = area_bytes(&spec(*map_type, 4, 8, 1), CPUS);
        let unknown = refused == Err(Errno::EOPNOTSUPP);
        assert_eq!(map_type.is_provided(), !unknown, "{}", map_type.name());
    }
}

/// A map of its own, by host keys and values.
struct Subject {
    space: Space,
    index: u32,
}

impl Subject {
    fn new(spec: MapSpec) -> Self {
        let space = space(1 << 20);
        let index = space.create_map(&spec).unwrap().index;
        Self { space, index }
    }

    fn get(&self, key: u32) -> Option<u64> {
        let map = self.space.map(self.index).unwrap();
        let mut value = [0; 8];
        map.read(self.space.memory(), &host_key(key), &mut value)
            .ok()?;
        Some(u64::from_ne_bytes(value))
    }

    fn set(&self, cpu: u32, key: u32, value: u64, flags: u64) -> Result<(), Errno> {
        let map = self.space.map(self.index).unwrap();
        let value = value.to_ne_bytes();
        map.update(
            self.space.memory(),
            cpu,
            &host_key(key),
            Value::Host(&value),
            flags,
        )
    }

    fn remove(&self, cpu: u32, key: u32) -> Result<(), Errno> {
        self.space
            .map(self.index)
            .unwrap()
            .delete(cpu, &host_key(key))
    }

    fn keys(&self) -> Vec<u32> {
        let map = self.space.map(self.index).unwrap();
        let mut keys: Vec<u32> = Vec::new();
        let mut next = [0; 4];
        while map
            .next_key(keys.last().map(|k| host_key(*k)).as_ref(), &mut next)
            .is_ok()
        {
            keys.push(u32::from_ne_bytes(next));
        }
        keys.sort_unstable();
        keys
    }
}

fn host_key(key: u32) -> Key {
    Key::from_host(&key.to_ne_bytes()).unwrap()
}

/// xorshift64*.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % bound
    }
}

#[test]
fn a_hash_map_agrees_with_a_model_over_random_operations() {
    for max_entries in [1, 2, 7, 64] {
        let subject = Subject::new(spec(MapType::Hash, 4, 8, max_entries));
        let mut model: HashMap<u32, u64> = HashMap::new();
        let mut random = Random(u64::from(max_entries) + 1);
        for step in 0..20_000 {
            let key = random.below(u64::from(max_entries) * 2) as u32;
            let cpu = random.below(u64::from(CPUS)) as u32;
            match random.below(4) {
                0 => assert_eq!(subject.get(key), model.get(&key).copied(), "step {step}"),
                1 => {
                    let expected = model.remove(&key).map(|_| ()).ok_or(Errno::ENOENT);
                    assert_eq!(subject.remove(cpu, key), expected, "step {step}");
                }
                _ => {
                    let flags = random.below(4);
                    let expected = match (flags, model.contains_key(&key)) {
                        (3, _) => Err(Errno::EINVAL),
                        (NOEXIST, true) => Err(Errno::EEXIST),
                        (EXIST, false) => Err(Errno::ENOENT),
                        (_, false) if model.len() == max_entries as usize => Err(Errno::E2BIG),
                        _ => Ok(()),
                    };
                    if expected.is_ok() {
                        model.insert(key, step);
                    }
                    assert_eq!(subject.set(cpu, key, step, flags), expected, "step {step}");
                }
            }
        }
        let mut keys: Vec<u32> = model.into_keys().collect();
        keys.sort_unstable();
        assert_eq!(subject.keys(), keys);
    }
}

#[test]
fn a_replaced_value_leaves_the_old_one_as_it_was() {
    let subject = Subject::new(spec(MapType::Hash, 4, 8, 1));
    subject.set(0, 1, 10, ANY).unwrap();
    let map = subject.space.map(subject.index).unwrap();
    let old = map.lookup(0, &host_key(1)).unwrap();
    subject.set(0, 1, 20, ANY).unwrap();
    assert_eq!(subject.space.memory().at(old, 8).unwrap().word_at(0), 10);
    assert_eq!(subject.get(1), Some(20));
}

#[test]
fn a_full_lru_map_evicts_what_was_not_used() {
    let subject = Subject::new(spec(MapType::LruHash, 4, 8, 16));
    let map = subject.space.map(subject.index).unwrap();
    for key in 0..10_000 {
        subject.set(key % CPUS, key, u64::from(key), ANY).unwrap();
        assert_eq!(subject.get(key), Some(u64::from(key)), "just set");
        assert!(map.lookup(0, &host_key(0)).is_some(), "used all along");
        assert!(subject.keys().len() <= 16);
    }
    assert_eq!(subject.set(0, 0, 1, NOEXIST), Err(Errno::EEXIST));
    assert_eq!(subject.set(0, 77_777, 1, EXIST), Err(Errno::ENOENT));
    // Nothing was lost on the way: as many elements as before fit.
    for key in 0..16 {
        subject.set(0, key, 1, ANY).unwrap();
    }
    assert!(subject.keys().len() >= 15, "{:?}", subject.keys());
}

#[test]
fn an_array_has_all_its_elements_and_no_others() {
    let subject = Subject::new(spec(MapType::Array, 4, 8, 3));
    assert_eq!(subject.keys(), [0, 1, 2]);
    assert_eq!((subject.get(2), subject.get(3)), (Some(0), None));
    assert_eq!(subject.set(0, 2, 7, ANY), Ok(()));
    assert_eq!(subject.get(2), Some(7));
    assert_eq!(subject.set(0, 2, 7, NOEXIST), Err(Errno::EEXIST));
    assert_eq!(subject.set(0, 3, 7, ANY), Err(Errno::E2BIG));
    assert_eq!(subject.set(0, 2, 7, 3), Err(Errno::EINVAL));
    assert_eq!(subject.remove(0, 2), Err(Errno::EINVAL));
}

#[test]
fn bad_shapes_are_refused_as_the_kernel_refuses_them() {
    for (spec, errno) in [
        (spec(MapType::Array, 8, 8, 1), Errno::EINVAL),
        (spec(MapType::Array, 4, 0, 1), Errno::EINVAL),
        (spec(MapType::Array, 4, 8, 0), Errno::EINVAL),
        (spec(MapType::Hash, 0, 8, 1), Errno::EINVAL),
        (spec(MapType::Hash, 4, 0, 1), Errno::EINVAL),
        (spec(MapType::Hash, 4, 8, 0), Errno::EINVAL),
        (spec(MapType::Hash, 513, 8, 1), Errno::E2BIG),
        (spec(MapType::Hash, 4, 8, u32::MAX), Errno::E2BIG),
        (spec(MapType::Sockmap, 4, 8, 1), Errno::EOPNOTSUPP),
    ] {
        assert_eq!(area_bytes(&spec, CPUS), Err(errno), "{spec:?}");
        assert_eq!(space(1 << 20).create_map(&spec), Err(errno), "{spec:?}");
    }
    let flags = MapSpec {
        flags: 1 << 31,
        ..spec(MapType::Hash, 4, 8, 1)
    };
    assert_eq!(area_bytes(&flags, CPUS), Err(Errno::EINVAL));
}

#[test]
fn maps_do_not_overlap_and_stop_where_the_memory_does() {
    let space = space(layout::values_base(CPUS) + 256);
    let array = spec(MapType::Array, 4, 60, 1);
    let first = space.create_map(&array).unwrap();
    let second = space.create_map(&array).unwrap();
    assert_eq!((first.index, second.index), (0, 1));
    assert_eq!(second.values - first.values, 64);
    assert_eq!(layout::map_index(second.handle), Some(1));
    assert_eq!(
        space.create_map(&spec(MapType::Array, 4, 8, 17)),
        Err(Errno::ENOMEM)
    );
    assert_eq!(space.map_count(), 2);
    assert!(space.map_of(layout::map_handle(2)).is_err());
    assert!(space.map_of(first.values).is_err());
}

/// Does `work(cpu)` on threads, one a CPU. What they have to tell they return: of the uninstrumented standard
/// library ThreadSanitizer sees joins, but not what a contended `Mutex` does.
fn on_every_cpu<T: Send>(work: impl Fn(u32) -> T + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let work = &work;
        let spawn = |cpu| scope.spawn(move || work(cpu));
        let threads: Vec<_> = (0..CPUS).map(spawn).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    })
}

#[test]
fn threads_evict_from_one_map_without_losing_slots() {
    let subject = Subject::new(spec(MapType::LruHash, 4, 8, 64));
    on_every_cpu(|cpu| {
        let mut random = Random(u64::from(cpu) + 1);
        for _ in 0..50_000 {
            let key = random.below(200) as u32;
            subject.set(cpu, key, u64::from(key), ANY).unwrap();
            if let Some(value) = subject.get(key) {
                assert!(value < 200);
            }
            if random.below(10) == 0 {
                let _ = subject.remove(cpu, key);
            }
        }
    });
    for key in 1_000..1_200 {
        subject.set(0, key, 1, ANY).unwrap();
    }
    assert_eq!(subject.keys().len(), 64, "every slot is still in use");
}

#[test]
fn threads_on_one_map_lose_nothing() {
    let keys = 64;
    let subject = Subject::new(spec(MapType::Hash, 4, 8, keys * CPUS));
    on_every_cpu(|cpu| {
        for round in 0..2_000u64 {
            for key in (0..keys).map(|key| key * CPUS + cpu) {
                subject.set(cpu, key, round, ANY).unwrap();
                assert_eq!(subject.get(key), Some(round));
                if round % 3 == 0 {
                    subject.remove(cpu, key).unwrap();
                    assert_eq!(subject.get(key), None);
                }
            }
        }
    });
    // Round 1999 is no multiple of 3, so every key is there.
    assert_eq!(subject.keys().len() as u32, keys * CPUS);
}

/// Each thread pushes and pops: every value that was pushed is popped once, by somebody.
#[test]
fn threads_on_one_queue_get_each_value_once() {
    const VALUES: u64 = 20_000;
    for map_type in [MapType::Queue, MapType::Stack] {
        let subject = Subject::new(spec(map_type, 0, 8, 16));
        let map = subject.space.map(subject.index).unwrap();
        let memory = subject.space.memory();
        let pop = || {
            let mut bytes = [0; 8];
            let popped = map.pop(memory, true, |value| value.read(&mut bytes));
            popped.map(|()| u64::from_ne_bytes(bytes)).ok()
        };
        let popped = on_every_cpu(|cpu| {
            let mut own = Vec::new();
            for number in 0..VALUES {
                let value = number << 8 | u64::from(cpu);
                while map
                    .push(memory, Value::Host(&value.to_ne_bytes()), 0)
                    .is_err()
                {
                    own.extend(pop());
                }
                if number % 3 == 0 {
                    own.extend(pop());
                }
            }
            own
        });
        let mut seen = popped.concat();
        seen.extend(std::iter::from_fn(pop));
        seen.sort_unstable();
        let pushed = (0..VALUES).flat_map(|n| (0..CPUS).map(move |cpu| n << 8 | u64::from(cpu)));
        assert!(seen.into_iter().eq(pushed), "{map_type:?}");
    }
}
