//! Tasks, control groups, locks, kernel functions.

use abi::imports::KFUNC;
use wprobe_helpers::imports::{Action, host_function};
use wprobe_helpers::maps::Key;

use super::*;

const EINVAL: u64 = -22i64 as u64;

#[test]
fn a_task_is_told_by_its_group() {
    let space = space();
    let spec = |map_type| MapSpec {
        map_type,
        key_size: 4,
        value_size: 4,
        max_entries: 3,
        flags: 0,
        inner: None,
    };
    let groups = space.create_map(&spec(MapType::CgroupArray)).unwrap();
    let array = space.create_map(&spec(MapType::ArrayOfMaps));
    assert_eq!(array, Err(Errno::EINVAL), "of no maps");
    let array = space.create_map(&spec(MapType::ProgArray)).unwrap();
    let references = space.map(groups.index).unwrap().as_references().unwrap();
    references.set(0, 0xc1).unwrap();
    references.set(1, 0xc2).unwrap();
    let under = |map, index| call(&space, "current_task_under_cgroup", &[map, index]);
    assert_eq!(under(groups.handle, 0), Ok(1));
    assert_eq!(under(groups.handle, 1), Ok(0));
    assert_eq!(under(groups.handle, 2), Ok(-11i64 as u64), "EAGAIN");
    assert_eq!(under(groups.handle, 3), Ok(-7i64 as u64), "E2BIG");
    assert_eq!(under(groups.handle, 1 << 32), Ok(1), "a u32");
    assert_eq!(under(array.handle, 0), Err(Trap::BadMap));
    let key = Key::from_host(&[0; 4]).unwrap();
    let read = space.map(groups.index).unwrap();
    let read = read.read(space.memory(), &key, &mut [0; 4]);
    assert_eq!(read, Err(Errno::ENOTSUPP), "as natively");
    let ancestor = |level: i64| {
        let level = [level as u64];
        call(&space, "get_current_ancestor_cgroup_id", &level)
    };
    assert_eq!((ancestor(2), ancestor(-1)), (Ok(702), Ok(699)));
}

#[test]
fn ids_in_a_namespace_or_zeros() {
    let space = space();
    let get = |device, inode, size| {
        space.memory().at(0, 16).unwrap().write(&[0xff; 16]);
        let args = [device, inode, guest_ptr(0), size];
        let r0 = call(&space, "get_ns_current_pid_tgid", &args);
        (r0, bytes(&space, 0, 9)[..].to_vec())
    };
    let ids = [0x11, 0, 0, 0, 0x22, 0, 0, 0, 0xff];
    assert_eq!(get(4, 1 << 33, 8), (Ok(0), ids.to_vec()));
    let zeros = [0, 0, 0, 0, 0, 0, 0, 0, 0xff];
    for (device, inode) in [(5, 1 << 33), (4, 1), (1 << 32 | 4, 1 << 33)] {
        assert_eq!(get(device, inode, 8), (Ok(EINVAL), zeros.to_vec()));
    }
    assert_eq!(get(4, 1 << 33, 4).0, Ok(EINVAL), "another size");
    let outside = [4, 1 << 33, guest_ptr(PAGE - 4), 8];
    let outside = call(&space, "get_ns_current_pid_tgid", &outside);
    assert_eq!(outside, Err(Trap::BadPointer));
}

#[test]
fn signals_go_to_a_process_or_a_thread() {
    let space = space();
    for (name, signal, r0) in [
        ("send_signal", 9, 0),
        ("send_signal", 10, EINVAL),
        ("send_signal_thread", 10, 0),
        ("send_signal_thread", 9, EINVAL),
    ] {
        assert_eq!(call(&space, name, &[signal]), Ok(r0), "{name} {signal}");
    }
}

#[test]
fn per_cpu_variables_and_registers() {
    let space = space();
    let per_cpu = |cpu| call(&space, "per_cpu_ptr", &[KERNEL, cpu]);
    assert_eq!(per_cpu(0), Ok(KERNEL));
    assert_eq!(per_cpu(1), Ok(KERNEL + 0x1000));
    assert_eq!(per_cpu(2), Ok(0), "no such CPU");
    assert_eq!(call(&space, "this_cpu_ptr", &[KERNEL]), Ok(KERNEL + 0x1000));
    assert_eq!(call(&space, "task_pt_regs", &[OTHER_TASK]), Ok(KERNEL + 8));
    assert_eq!(call(&space, "task_pt_regs", &[1]), Ok(0));
}

#[test]
fn a_lock_is_taken_once_and_never_waited_for_for_ever() {
    let space = space();
    let lock = |name, at| call(&space, name, &[guest_ptr(at)]);
    assert_eq!(lock("spin_lock", 64), Ok(0));
    assert_eq!(lock("spin_lock", 64), Err(Trap::Budget));
    assert_eq!(lock("spin_unlock", 64), Ok(0));
    assert_eq!(lock("spin_lock", 64), Ok(0));
    for name in ["spin_lock", "spin_unlock"] {
        assert_eq!(lock(name, 65), Err(Trap::Misaligned));
        assert_eq!(call(&space, name, &[KERNEL]), Err(Trap::BadPointer));
    }
}

#[test]
fn kernel_functions_go_by_name() {
    let space = space();
    let run = run(&space);
    let call = |name, arg| match host_function(KFUNC, name).unwrap().action {
        Action::Call(function) => function(&run, [arg, 0, 0, 0, 0]),
        _ => panic!("{name} needs the engine"),
    };
    assert_eq!(call("bpf_task_from_pid", 77), Ok(OTHER_TASK));
    assert_eq!(call("bpf_task_from_pid", 78), Ok(0));
    assert_eq!(call("bpf_task_acquire", OTHER_TASK), Ok(OTHER_TASK));
    assert_eq!(call("bpf_task_release", OTHER_TASK), Ok(0));
    assert_eq!(call("bpf_arena_alloc_pages", 0), Err(Trap::NoHelper));
}
