//! Tail calls and callbacks.

use abi::layout::{KEPT_SIZE, NESTED_DEPTH, kept_base, stack_base};
use wprobe_helpers::calls::{callback_implementation, tail_call, tail_call_within};
use wprobe_helpers::maps::{Key, Value};

use super::*;

/// A run on the known host, `depth` callbacks deep, after `tail_calls` of them.
fn nested(space: &Space, depth: u32, tail_calls: u32) -> Run<'_, KnownHost> {
    Run {
        tail_calls,
        depth,
        ..run(space)
    }
}

#[test]
fn a_tail_call_goes_to_a_program_or_goes_on() {
    let space = space();
    let spec = |map_type| MapSpec {
        map_type,
        key_size: 4,
        value_size: 4,
        max_entries: 3,
        flags: 0,
        inner: None,
    };
    let programs = space.create_map(&spec(MapType::ProgArray)).unwrap();
    let array = space.create_map(&spec(MapType::Array)).unwrap();
    let map = space.map(programs.index).unwrap();
    let key = Key::from_host(&1u32.to_ne_bytes()).unwrap();
    space.update(map, 0, &key, &7u32.to_ne_bytes(), 0).unwrap();
    let go =
        |map, index, tail_calls| tail_call(&nested(&space, 0, tail_calls), [0, map, index, 0, 0]);
    assert_eq!(go(programs.handle, 1, 0), Ok(Some(7)));
    assert_eq!(go(programs.handle, 1 << 32 | 1, 0), Ok(Some(7)), "a u32");
    for (index, what) in [(0, "empty"), (3, "outside"), (u64::MAX, "far outside")] {
        assert_eq!(go(programs.handle, index, 0), Ok(None), "{what}");
    }
    assert_eq!(go(programs.handle, 1, 32), Ok(Some(7)));
    assert_eq!(go(programs.handle, 1, 33), Ok(None), "too many");
    assert_eq!(go(array.handle, 1, 0), Err(Trap::BadMap));
    assert_eq!(map.delete(0, &key), Ok(()));
    assert_eq!(go(programs.handle, 1, 0), Ok(None));
}

/// A sandbox with a program array, of which element 1 is program 7: its handle.
fn with_programs() -> (Space, u64) {
    let space = space();
    let spec = MapSpec {
        map_type: MapType::ProgArray,
        key_size: 4,
        value_size: 4,
        max_entries: 3,
        flags: 0,
        inner: None,
    };
    let programs = space.create_map(&spec).unwrap();
    let map = space.map(programs.index).unwrap();
    let key = Key::from_host(&1u32.to_ne_bytes()).unwrap();
    space.update(map, 0, &key, &7u32.to_ne_bytes(), 0).unwrap();
    (space, programs.handle)
}

#[test]
fn a_functions_tail_call_keeps_the_frames_of_who_waits() {
    let (space, programs) = with_programs();
    let run = run(&space);
    let stack = || bytes(&space, stack_base(run.cpu), 256);
    let frames: Vec<u8> = (0..=255).collect();
    let write = |bytes: &[u8]| {
        let place = space.memory().at(stack_base(run.cpu), 256).unwrap();
        place.write(bytes);
    };
    write(&frames);
    let outer = tail_call_within(&run, [0, programs, 1, 200, 0])
        .unwrap()
        .unwrap();
    assert_eq!((outer.program, outer.nested.runs), (7, 1));
    outer.begin();
    write(&[0xee; 256]);
    let inside = Run {
        nested: outer.nested,
        ..self::run(&space)
    };
    let inner = tail_call_within(&inside, [0, programs, 1, 100, 0])
        .unwrap()
        .unwrap();
    assert_eq!((inner.nested.runs, inner.nested.kept), (2, 300));
    inner.begin();
    write(&[0xdd; 256]);
    inner.end();
    assert_eq!(stack()[..100], [0xee; 100]);
    assert_eq!(
        stack()[100..],
        [0xdd; 156],
        "the function's own, and what is above"
    );
    outer.end();
    assert_eq!(stack()[..200], frames[..200]);
    assert_eq!(bytes(&space, kept_base(run.cpu), 200), frames[..200]);
    let none = tail_call_within(&run, [0, programs, 0, 200, 0]);
    assert!(none.unwrap().is_none(), "an empty element");
}

#[test]
fn functions_tail_calls_have_an_end() {
    let (space, programs) = with_programs();
    let go = |runs, kept, depth, tail_calls, bytes| {
        let run = Run {
            nested: Nested {
                runs,
                kept,
                ..Nested::default()
            },
            ..nested(&space, depth, tail_calls)
        };
        let within = tail_call_within(&run, [0, programs, 1, bytes, 0]);
        within.map(|within| within.map(|within| within.nested.kept))
    };
    assert_eq!(go(NESTED_DEPTH - 1, 0, 0, 32, 256), Ok(Some(256)));
    assert_eq!(go(NESTED_DEPTH, 0, 0, 0, 0), Err(Trap::StackOverflow));
    assert_eq!(go(0, 0, 0, 33, 0), Ok(None), "33 in the whole run");
    assert_eq!(go(0, 0, 1, 0, 0), Err(Trap::NoHelper), "in a callback");
    let rest = u64::from(KEPT_SIZE - 256);
    assert_eq!(go(1, 256, 0, 0, rest), Ok(Some(KEPT_SIZE)));
    for bytes in [rest + 1, 1 << 32, u64::MAX] {
        assert_eq!(go(1, 256, 0, 0, bytes), Err(Trap::StackOverflow), "{bytes}");
    }
    let work = Work::new(15);
    let run = Run {
        work: &work,
        ..run(&space)
    };
    let unpaid = tail_call_within(&run, [0, programs, 1, 256, 0]);
    assert_eq!(unpaid.map(drop), Err(Trap::Budget));
}

/// Calls helper `name` with `function` as the callback.
fn with_callback(
    space: &Space,
    name: &str,
    args: [u64; 5],
    mut function: impl FnMut([u64; 5]) -> Result<u64, Trap>,
) -> Result<u64, Trap> {
    let row = abi::helpers::by_name(name).unwrap();
    let helper = callback_implementation::<KnownHost>(row.id).unwrap();
    helper(&nested(space, 0, 0), args, &mut |index, args| {
        assert_eq!(index, 5);
        function(args)
    })
}

#[test]
fn loops_turn_until_told_to_stop() {
    let space = space();
    let turns = |turns, flags, stop| {
        let mut seen = 0;
        let args = [turns, 5, 99, flags, 0];
        let r0 = with_callback(&space, "loop", args, |args| {
            assert_eq!(args, [seen, 99, 0, 0, 0]);
            seen += 1;
            Ok(u64::from(seen == stop))
        });
        (r0.map(|r0| r0 as i64), seen)
    };
    assert_eq!(turns(10, 0, 0), (Ok(10), 10));
    assert_eq!(turns(10, 0, 4), (Ok(4), 4));
    assert_eq!(turns(1 << 32, 0, 0), (Ok(0), 0), "a u32");
    assert_eq!(turns(10, 1, 0), (Ok(-22), 0));
    assert_eq!(turns((8 << 20) + 1, 0, 0), (Ok(-7), 0));
    let trapped = with_callback(&space, "loop", [3, 5, 0, 0, 0], |_| Err(Trap::Budget));
    assert_eq!(trapped, Err(Trap::Budget));
}

#[test]
fn every_element_is_seen_by_the_callback() {
    let space = space();
    for map_type in [
        MapType::Hash,
        MapType::Array,
        MapType::PercpuHash,
        MapType::LruHash,
    ] {
        let map = space
            .create_map(&MapSpec {
                map_type,
                key_size: 4,
                value_size: 8,
                max_entries: 6,
                flags: 0,
                inner: None,
            })
            .unwrap();
        let of_space = space.map(map.index).unwrap();
        for number in 0..6u32 {
            let key = Key::from_host(&number.to_ne_bytes()).unwrap();
            let value = (u64::from(number) * 3).to_ne_bytes().repeat(2);
            let value = &value[..of_space.spec().control_value_size(2)];
            of_space
                .update(space.memory(), 0, &key, Value::Host(value), 0)
                .unwrap();
        }
        let mut seen = Vec::new();
        let mut each = |stop: usize, delete: bool| {
            seen.clear();
            let args = [map.handle, 5, 77, 0, 0];
            let r0 = with_callback(&space, "for_each_map_elem", args, |args| {
                let [handle, key, value, context, rest] = args;
                assert_eq!((handle, context, rest), (map.handle, 77, 0));
                let memory = space.memory();
                let value = memory.slice(value, 8).unwrap().word_at(0);
                let key_bytes = memory.slice(key, 4).unwrap();
                assert_eq!(value, key_bytes.word_at(0) * 3);
                seen.push(value);
                if delete {
                    of_space
                        .delete(0, &Key::from_guest(key_bytes).unwrap())
                        .unwrap();
                }
                Ok(u64::from(seen.len() == stop))
            });
            seen.sort_unstable();
            (r0, seen.clone())
        };
        let all = (0..6).map(|n| n * 3).collect::<Vec<u64>>();
        assert_eq!(each(0, false), (Ok(6), all.clone()), "{map_type:?}");
        assert_eq!(each(2, false).0, Ok(2), "{map_type:?}");
        if map_type != MapType::Array {
            assert_eq!(each(0, true), (Ok(6), all), "{map_type:?}: deleting");
            assert_eq!(each(0, false), (Ok(0), vec![]), "{map_type:?}: emptied");
        }
    }
    let queue = MapSpec {
        map_type: MapType::Queue,
        key_size: 0,
        value_size: 8,
        max_entries: 1,
        flags: 0,
        inner: None,
    };
    let queue = space.create_map(&queue).unwrap().handle;
    let call = |map, flags| {
        let args = [map, 5, 0, flags, 0];
        with_callback(&space, "for_each_map_elem", args, |_| Ok(0))
    };
    assert_eq!(call(queue, 0), Err(Trap::BadMap));
    assert_eq!(call(1, 0), Err(Trap::BadMap));
    assert_eq!(call(queue, 1), Ok(-22i64 as u64));
}
