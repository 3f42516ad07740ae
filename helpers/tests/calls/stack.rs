//! Stacks in buffers and maps.

use super::*;

#[test]
fn stacks_are_cut_and_padded() {
    let space = space();
    let words = |at| {
        let bytes = bytes(&space, at, 32);
        let word = |i: usize| u64::from_ne_bytes(*bytes[i * 8..].first_chunk().unwrap());
        [0, 1, 2, 3].map(word)
    };
    let get = |size, flags| {
        space.memory().at(0, 32).unwrap().write(&[0xff; 32]);
        let r0 = call(&space, "get_stack", &[0, guest_ptr(0), size, flags]).unwrap() as i64;
        (r0, words(0))
    };
    const REST: u64 = u64::MAX;
    assert_eq!(get(32, 0), (24, [10, 20, 30, 0]));
    assert_eq!(get(16, 0), (16, [10, 20, REST, REST]));
    assert_eq!(get(16, 2), (8, [30, 0, REST, REST]));
    assert_eq!(get(16, 3), (0, [0, 0, REST, REST]));
    assert_eq!(get(16, 4), (-14, [0, 0, REST, REST]));
    assert_eq!(get(32, 256), (16, [1, 2, 0, 0]));
    assert_eq!(get(0, 256), (0, [REST; 4]));
    for (size, flags, errno) in [(16, 1 << 9, 22), (12, 0, 22), (16, 1 << 11, 22)] {
        assert_eq!(get(size, flags).0, -errno, "{size} {flags:#x}");
    }
    assert_eq!(get(32, 3 << 8 | 1 << 11).0, -22, "an unknown flag");
    assert_eq!(get(24, 1 << 8 | 1 << 11).0, -22, "not whole build ids");
    assert_eq!(get(32, 1 << 8 | 1 << 11), (-95, [0; 4]), "build ids");
    let task = |task| call(&space, "get_task_stack", &[task, guest_ptr(0), 32, 0]);
    assert_eq!((task(OTHER_TASK), words(0)), (Ok(16), [20, 30, 0, 0]));
    assert_eq!((task(KERNEL), words(0)), (Ok(24), [10, 20, 30, 0]));
    assert_eq!((task(7), words(0)), (Ok(EFAULT), [0; 4]));
    let outside = [0, guest_ptr(PAGE - 8), 16, 0];
    assert_eq!(call(&space, "get_stack", &outside), Err(Trap::BadPointer));
}

#[test]
fn stack_ids_are_of_stack_maps_only() {
    let space = space();
    let spec = |map_type, value_size| MapSpec {
        map_type,
        key_size: 4,
        value_size,
        max_entries: 4,
        flags: 0,
        inner: None,
    };
    let stacks = space.create_map(&spec(MapType::StackTrace, 16)).unwrap();
    let array = space.create_map(&spec(MapType::Array, 8)).unwrap();
    let id = |map, flags| call(&space, "get_stackid", &[0, map, flags]);
    let first = id(stacks.handle, 0).unwrap();
    assert!(first < 4);
    assert_eq!(id(stacks.handle, 0), Ok(first));
    assert_ne!(id(stacks.handle, 256), Ok(first), "the user stack");
    assert_eq!(id(stacks.handle, 3), Ok(EFAULT), "none left");
    assert_eq!(id(stacks.handle, 1 << 11), Ok(-22i64 as u64));
    assert_eq!(id(array.handle, 0), Err(Trap::BadMap));
    assert_eq!(id(0, 0), Err(Trap::BadMap));
}
