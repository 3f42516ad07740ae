//! Values of tasks.

use super::host::{BORN, TASKS};
use super::*;

/// The most tasks a map has values for at once.
const ROOM: u64 = 4096;

fn storage(space: &Space) -> u64 {
    let spec = MapSpec {
        map_type: MapType::TaskStorage,
        key_size: 4,
        value_size: 4,
        max_entries: 0,
        flags: 1,
        inner: None,
    };
    space.create_map(&spec).unwrap().handle
}

fn task(number: u64) -> u64 {
    TASKS + number * 64
}

#[test]
fn a_task_has_the_value_it_was_given() {
    let space = space();
    let map = storage(&space);
    let get = |task, initial, flags| call(&space, "task_storage_get", &[map, task, initial, flags]);
    let delete = |task| call(&space, "task_storage_delete", &[map, task]);
    assert_eq!(get(task(1), 0, 0), Ok(0), "none yet");
    let value = get(task(1), 0, 1).unwrap();
    assert_eq!(space.memory().slice(value, 4).unwrap().word_at(0), 0);
    space.memory().slice(value, 4).unwrap().write(&[7; 4]);
    assert_eq!(get(task(1), 0, 1), Ok(value));
    assert_eq!(get(task(1), 0, 0), Ok(value));
    space.memory().at(64, 4).unwrap().write(&[9; 4]);
    let second = get(task(2), guest_ptr(64), 1).unwrap();
    assert_eq!(
        space.memory().slice(second, 4).unwrap().word_at(0),
        0x0909_0909
    );
    assert_eq!(get(1, 0, 1), Ok(0), "no task");
    assert_eq!(get(task(3), 0, 2), Ok(0), "an unknown flag");
    assert_eq!(get(task(3), guest_ptr(PAGE), 1), Err(Trap::BadPointer));
    assert_eq!(delete(task(2)), Ok(0));
    assert_eq!(delete(task(2)), Ok(-2i64 as u64));
    assert_eq!(delete(0), Ok(-22i64 as u64));
    assert_eq!(get(task(2), 0, 0), Ok(0));
    let zeroed = get(task(2), 0, 1).unwrap();
    assert_eq!(space.memory().slice(zeroed, 4).unwrap().word_at(0), 0);
    let args = [map, guest_ptr(64)];
    assert_eq!(call(&space, "map_lookup_elem", &args), Ok(0), "not by key");
    assert_eq!(
        call(&space, "task_storage_get", &[1, task(1), 0, 1]),
        Err(Trap::BadMap)
    );
}

#[test]
fn values_of_live_tasks_stay_and_those_of_dead_ones_make_room() {
    let space = space();
    let map = storage(&space);
    let get = |number, flags| call(&space, "task_storage_get", &[map, task(number), 0, flags]);
    BORN.set(1);
    for number in 0..ROOM {
        assert_ne!(get(number, 1), Ok(0));
    }
    assert_eq!(get(ROOM, 1), Ok(0), "all live");
    assert!((0..ROOM).all(|number| get(number, 0) != Ok(0)));
    // Others have come to be at the same addresses.
    BORN.set(2);
    assert!((0..ROOM).all(|number| get(number, 0) == Ok(0)));
    for number in 0..ROOM {
        assert_ne!(get(number, 1), Ok(0), "{number}");
    }
    assert_eq!(get(ROOM, 1), Ok(0), "all live again");
}
