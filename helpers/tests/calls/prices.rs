//! What is paid for, and that it is before it is done: units are counted, not time.

use std::cell::Cell;

use abi::layout::map_handle;
use wprobe_helpers::calls::callback_implementation;
use wprobe_helpers::maps::{Key, Value};
use wprobe_helpers::work::price::{
    self, ASK, CALLBACK, CHARACTER, FAULT, FRAME, FREE_LIST, LOAD, LOOKUP, NODE, NUMBER, OWNER,
    PREFIX, SLOT, TRY, UPDATE,
};

use super::host::{BORN, TASKS};
use super::*;

/// Units that are plenty.
const PLENTY: u64 = 1 << 40;

/// Calls helper `name` with `units` left; what it gives, and what it has paid.
fn pay(space: &Space, name: &str, args: [u64; 5], units: u64) -> (Result<u64, Trap>, u64) {
    let work = Work::new(units);
    let run = Run {
        work: &work,
        ..run(space)
    };
    let row = abi::helpers::by_name(name).unwrap();
    let result = implementation::<KnownHost>(row.id).unwrap()(&run, args);
    (result, units - work.left())
}

fn paid(space: &Space, name: &str, args: [u64; 5]) -> u64 {
    let (result, paid) = pay(space, name, args, PLENTY);
    result.unwrap();
    paid
}

fn space_of(size: u32) -> Space {
    let words = vec![0u64; size as usize / 8].into_boxed_slice();
    let base = NonNull::new(Box::into_raw(words).cast::<u8>()).unwrap();
    // SAFETY: freshly leaked, so valid for ever, aligned to 8, and nobody else knows it.
    Space::new(unsafe { GuestMemory::new(base, size) }, 2)
}

fn spec(map_type: MapType, key_size: u32, value_size: u32, max_entries: u32) -> MapSpec {
    MapSpec {
        map_type,
        key_size,
        value_size,
        max_entries,
        // Those that must not be allocated before.
        flags: matches!(map_type, MapType::LpmTrie | MapType::TaskStorage).into(),
        inner: None,
    }
}

fn put(space: &Space, map: u32, key: &[u8], value: &[u8]) {
    let map = space.map(map).unwrap();
    let key = Key::from_host(key).unwrap();
    map.update(space.memory(), 0, &key, Value::Host(value), 0)
        .unwrap();
}

/// A trie of `depth` prefixes, each of which is the next one's; its handle, and a key that all of them fit, at 64.
fn trie(depth: u32) -> (Space, u64) {
    let space = space_of(1 << 22);
    let bytes = 256;
    let made = space
        .create_map(&spec(MapType::LpmTrie, 4 + bytes, 8, depth))
        .unwrap();
    for bits in 1..=depth {
        let mut key = bits.to_ne_bytes().to_vec();
        key.resize(4 + bytes as usize, 0);
        put(&space, made.index, &key, &[0; 8]);
    }
    let key = space.memory().at(64, 4).unwrap();
    key.write(&(8 * bytes).to_ne_bytes());
    (space, made.handle)
}

#[test]
fn a_trie_is_paid_for_by_its_nodes() {
    for name in ["map_lookup_elem", "map_update_elem", "map_delete_elem"] {
        let of = |depth| {
            let (space, map) = trie(depth);
            paid_or_told(&space, name, [map, guest_ptr(64), guest_ptr(512), 0, 0])
        };
        let (shallow, deep) = (of(8), of(1500));
        assert_eq!(deep - shallow, (1500 - 8) * NODE, "{name}");
    }
    // And before they are passed.
    let (space, map) = trie(1500);
    let args = [map, guest_ptr(64), 0, 0, 0];
    let price = paid(&space, "map_lookup_elem", args);
    assert!(price > PREFIX + LOOKUP + 1500 * NODE);
    let (result, all) = pay(&space, "map_lookup_elem", args, price - 1);
    assert_eq!((result, all), (Err(Trap::Budget), price - 1));
    assert_eq!(pay(&space, "map_lookup_elem", args, price).1, price);
}

/// As [`paid`], also where the program is told of an error.
fn paid_or_told(space: &Space, name: &str, args: [u64; 5]) -> u64 {
    let (result, paid) = pay(space, name, args, PLENTY);
    assert!(result.is_ok(), "{name}: {result:?}");
    paid
}

#[test]
fn a_format_is_paid_for_by_what_it_is_not_by_what_lies_behind_it() {
    let small = space();
    let large = space_of(16 << 20);
    let of = |space: &Space, text: &[u8], size: u64| {
        let memory = space.memory();
        memory.at(0x400, 64).unwrap().clear();
        memory.at(0x400, 64).unwrap().write(text);
        memory.at(0x100, 8).unwrap().write(&USER.to_ne_bytes());
        let args = [
            guest_ptr(0x800),
            size,
            guest_ptr(0x400),
            guest_ptr(0x100),
            8,
        ];
        paid(space, "snprintf", args)
    };
    let number = of(&small, b"%d", 32);
    assert_eq!(of(&large, b"%d", 32), number, "of 16 MiB");
    assert_eq!(of(&large, b"%d", 8 << 20), number, "room is not written");
    assert!(number < 8 * NUMBER, "{number}");
    // Widths and strings by their bytes, twice: once they are only counted.
    let width = of(&small, b"%1000d", 32);
    assert!(width - number >= 2 * 990 * CHARACTER, "{width}");
    let string = of(&small, b"%pus", 32) - number;
    assert!(string >= 2 * (2 * price::USER + 8 * CHARACTER), "{string}");
}

#[test]
fn a_line_in_the_trace_log_is_paid_for_by_its_length() {
    let space = space();
    let of = |text: &[u8]| {
        space.memory().at(0, 16).unwrap().clear();
        space.memory().at(0, 16).unwrap().write(text);
        paid(&space, "trace_printk", [guest_ptr(0), 8, 1, 0, 0])
    };
    let (short, long) = (of(b"%d"), of(b"%1020d"));
    assert!(long - short >= 1020 * CHARACTER, "{short}, {long}");
}

#[test]
fn stacks_are_paid_for_by_frames_walked_and_skipped() {
    let space = space();
    let stacks = space
        .create_map(&spec(MapType::StackTrace, 4, 8, 4))
        .unwrap();
    let walk = |skip| {
        let args = [KERNEL, stacks.handle, skip, 0, 0];
        paid_or_told(&space, "get_stackid", args)
    };
    assert_eq!(walk(126) - walk(0), 126 * FRAME);
    assert_eq!(walk(255), walk(126), "there are no more");
    let get = |size, skip| {
        let args = [KERNEL, guest_ptr(0x400), size, skip, 0];
        paid_or_told(&space, "get_stack", args)
    };
    assert!(get(800, 0) - get(8, 0) >= 99 * FRAME);
    assert_eq!(get(8, 100) - get(8, 0), 100 * FRAME);
}

#[test]
fn a_fault_is_paid_for() {
    let space = space();
    for name in [
        "probe_read_kernel",
        "probe_read_user",
        "probe_read_kernel_str",
        "probe_read_user_str",
        "probe_read",
        "copy_from_user",
    ] {
        let good = match name.contains("kernel") {
            true => KERNEL,
            false => USER,
        };
        let read = |from| paid_or_told(&space, name, [guest_ptr(64), 8, from, 0, 0]);
        assert_eq!(read(8) - read(good), FAULT, "{name}");
        let args = [guest_ptr(64), 8, good, 0, 0];
        let (result, _) = pay(&space, name, args, FAULT - 1);
        assert_eq!(result, Err(Trap::Budget), "{name}: it might fault");
    }
    let work = Work::new(PLENTY);
    let run = Run {
        work: &work,
        ..run(&space)
    };
    assert_eq!(probe_load(&run, 8, 8), Ok(0));
    assert_eq!(PLENTY - work.left(), LOAD + FAULT);
}

#[test]
fn a_lock_is_paid_for_by_tries() {
    let space = space();
    let at = [guest_ptr(64), 0, 0, 0, 0];
    let free = paid(&space, "spin_lock", at);
    let (result, all) = pay(&space, "spin_lock", at, free + 10 * TRY);
    assert_eq!((result, all), (Err(Trap::Budget), free + 10 * TRY));
    paid(&space, "spin_unlock", at);
    assert_eq!(paid(&space, "spin_lock", at), free);
}

#[test]
fn an_eviction_is_paid_for_by_slots_passed() {
    let space = space();
    let made = space
        .create_map(&spec(MapType::LruHash, 4, 8, 256))
        .unwrap();
    let at = space.memory().at(64, 4).unwrap();
    let update = |number: u32| {
        at.write(&number.to_ne_bytes());
        let args = [made.handle, guest_ptr(64), guest_ptr(128), 0, 0];
        paid(&space, "map_update_elem", args)
    };
    let room = update(0);
    for number in 1..256 {
        update(number);
    }
    for number in 0..256u32 {
        at.write(&number.to_ne_bytes());
        paid(
            &space,
            "map_lookup_elem",
            [made.handle, guest_ptr(64), 0, 0, 0],
        );
    }
    // All are in use: it passes 64 and takes the next.
    assert_eq!(update(1000) - room, 65 * SLOT);
}

#[test]
fn a_value_of_every_cpu_is_paid_for() {
    let of = |value_size| {
        let space = space();
        let made = space
            .create_map(&spec(MapType::PercpuHash, 4, value_size, 2))
            .unwrap();
        let args = [made.handle, guest_ptr(64), guest_ptr(128), 0, 0];
        paid(&space, "map_update_elem", args)
    };
    // The value itself, and both CPUs' that are cleared.
    assert_eq!(of(4096) - of(8), 3 * (4096 - 8) / 4);
    assert!(of(8) >= LOOKUP + UPDATE + 2 * FREE_LIST);
}

#[test]
fn values_of_tasks_are_paid_for_by_tasks_asked_for() {
    let space = space_of(1 << 20);
    let storage = space
        .create_map(&spec(MapType::TaskStorage, 4, 8, 0))
        .unwrap();
    BORN.set(1);
    let get = |task: u64| {
        let args = [storage.handle, TASKS + 64 * task, 0, 1, 0];
        paid(&space, "task_storage_get", args)
    };
    let room = get(0);
    for task in 1..4096 {
        get(task);
    }
    let full = pay(
        &space,
        "task_storage_get",
        [storage.handle, TASKS + 64 * 4096, 0, 1, 0],
        PLENTY,
    );
    assert_eq!(full.0, Ok(0), "all are alive");
    assert_eq!(full.1 - room, 128 * (SLOT + ASK));
}

#[test]
fn callbacks_pay_from_one_account() {
    let space = space();
    let work = Work::new(10 * CALLBACK);
    let run = Run {
        work: &work,
        ..run(&space)
    };
    let row = abi::helpers::by_name("loop").unwrap();
    let helper = callback_implementation::<KnownHost>(row.id).unwrap();
    let turns = Cell::new(0u64);
    // Each turn's function takes as much again, as an engine takes it off.
    let result = helper(&run, [1000, 5, 0, 0, 0], &mut |_, _| {
        turns.set(turns.get() + 1);
        work.resume(work.left().saturating_sub(CALLBACK));
        Ok(0)
    });
    assert_eq!((result, turns.get()), (Err(Trap::Budget), 5));
}

#[test]
fn empty_buckets_are_paid_for_as_they_are_passed() {
    let of = |entries| {
        let space = space_of(1 << 22);
        let made = space
            .create_map(&spec(MapType::Hash, 4, 8, entries))
            .unwrap();
        let work = Work::new(PLENTY);
        let run = Run {
            work: &work,
            ..run(&space)
        };
        let row = abi::helpers::by_name("for_each_map_elem").unwrap();
        let helper = callback_implementation::<KnownHost>(row.id).unwrap();
        let seen = helper(&run, [made.handle, 5, 0, 0, 0], &mut |_, _| Ok(0));
        assert_eq!(seen, Ok(0));
        PLENTY - work.left()
    };
    assert_eq!(of(65_536) - of(64), 65_536 - 64);
}

#[test]
fn a_record_pays_for_the_search_for_its_ring() {
    let space = space_of(1 << 20);
    let create = |spec: &MapSpec| space.create_map(spec).unwrap();
    for _ in 0..100 {
        create(&spec(MapType::Array, 4, 8, 1));
    }
    let ring = create(&spec(MapType::Ringbuf, 0, 0, 4096));
    let (record, _) = pay(&space, "ringbuf_reserve", [ring.handle, 8, 0, 0, 0], PLENTY);
    let record = record.unwrap();
    assert_ne!(record, 0);
    assert!(paid(&space, "ringbuf_submit", [record, 0, 0, 0, 0]) > 100 * OWNER);
}

#[test]
fn strings_are_paid_for_as_far_as_they_are_compared() {
    let space = space();
    let of = |equal: usize| {
        let (left, right) = (
            space.memory().at(0x1000, 4096),
            space.memory().at(0x3000, 4096),
        );
        for side in [left.unwrap(), right.unwrap()] {
            side.clear();
            side.write(&vec![b'x'; equal]);
        }
        let args = [guest_ptr(0x1000), 4096, guest_ptr(0x3000), 0, 0];
        paid(&space, "strncmp", args)
    };
    assert!(of(4000) - of(4) >= 3900 * CHARACTER);
    assert!(of(4) <= 64, "the rest is not looked at");
    let text = space.memory().at(0x1000, 4096).unwrap();
    text.write(&[b' '; 4096]);
    let parse = |length| {
        let args = [guest_ptr(0x1000), length, 10, guest_ptr(0x800), 0];
        paid_or_told(&space, "strtol", args)
    };
    assert!(parse(4096) - parse(16) >= 4000 * CHARACTER);
}

#[test]
fn a_map_that_is_none_costs_no_more_than_its_call() {
    let space = space();
    let args = [map_handle(7), guest_ptr(64), 0, 0, 0];
    let (result, paid) = pay(&space, "map_lookup_elem", args, PLENTY);
    assert_eq!((result, paid), (Err(Trap::BadMap), 0));
}
