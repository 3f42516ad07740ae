//! Helper functions on a host of which every primitive is known.

mod control;
mod dynptr;
mod host;
mod iter;
mod path;
mod prices;
mod references;
mod stack;
mod storage;
mod task;

use std::ptr::NonNull;

use abi::layout::guest_ptr;
use abi::map_types::MapType;
use abi::native::READING;
use abi::traps::Trap;
use host::{KERNEL, KnownHost, OTHER_TASK, TRACED, USER};
use wprobe_helpers::calls::{
    Callback, Nested, Run, Take, Work, implementation, packet_load, probe_load, take_implementation,
};
use wprobe_helpers::guest::GuestMemory;
use wprobe_helpers::host::{Errno, Host};
use wprobe_helpers::maps::MapSpec;
use wprobe_helpers::space::Space;
use wprobe_helpers::work::price::SYMBOL;

const PAGE: u32 = 1 << 16;

fn space() -> Space {
    let words = vec![0u64; PAGE as usize / 8].into_boxed_slice();
    let base = NonNull::new(Box::into_raw(words).cast::<u8>()).unwrap();
    // SAFETY: freshly leaked, so valid for ever, aligned to 8, and nobody else knows it.
    Space::new(unsafe { GuestMemory::new(base, PAGE) }, 2)
}

/// A run on the known host, with more work than any test needs.
fn run(space: &Space) -> Run<'_, KnownHost> {
    Run {
        host: &KnownHost,
        space,
        cpu: KnownHost.cpu(),
        context: KERNEL,
        tail_calls: 0,
        depth: 0,
        nested: Nested::default(),
        work: Box::leak(Box::new(Work::new(1 << 24))),
    }
}

fn call(space: &Space, name: &str, args: &[u64]) -> Result<u64, Trap> {
    let mut all = [0; 5];
    all[..args.len()].copy_from_slice(args);
    let row = abi::helpers::by_name(name).unwrap();
    assert_eq!(row.args.len(), args.len(), "{name}");
    implementation::<KnownHost>(row.id).unwrap()(&run(space), all)
}

fn bytes(space: &Space, at: u32, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    space.memory().at(at, len as u64).unwrap().read(&mut bytes);
    bytes
}

const EFAULT: u64 = -14i64 as u64;

#[test]
fn attributes_come_from_the_host_and_the_run() {
    let space = space();
    for (name, value) in [
        ("ktime_get_ns", 111),
        ("ktime_get_boot_ns", 222),
        ("ktime_get_coarse_ns", 111),
        ("ktime_get_tai_ns", 333),
        ("jiffies64", 444),
        ("get_numa_node_id", 5),
        ("get_current_cgroup_id", 600),
        ("get_smp_processor_id", 1),
        ("get_current_pid_tgid", 0x10_0000_0020),
        ("get_current_uid_gid", 0x30_0000_0040),
        ("get_current_task", KERNEL),
        ("get_current_task_btf", KERNEL),
        ("get_prandom_u32", 4),
    ] {
        assert_eq!(call(&space, name, &[]), Ok(value), "{name}");
    }
    assert_eq!(call(&space, "get_attach_cookie", &[0]), Ok(77));
}

#[test]
fn comm_is_cut_or_padded() {
    let space = space();
    space.memory().at(0, 32).unwrap().write(&[0xff; 32]);
    assert_eq!(call(&space, "get_current_comm", &[guest_ptr(0), 3]), Ok(0));
    assert_eq!(bytes(&space, 0, 4), b"co\0\xff");
    assert_eq!(call(&space, "get_current_comm", &[guest_ptr(0), 24]), Ok(0));
    assert_eq!(bytes(&space, 0, 25)[..6], *b"comm\0\0");
    assert_eq!(bytes(&space, 23, 2), b"\0\xff");
}

#[test]
fn reads_copy_or_leave_zeros_and_efault() {
    let space = space();
    for (name, base) in [
        ("probe_read_kernel", KERNEL),
        ("probe_read_user", USER),
        ("probe_read", KERNEL),
        ("probe_read", USER),
    ] {
        space.memory().at(0, 8).unwrap().write(&[0xff; 8]);
        assert_eq!(call(&space, name, &[guest_ptr(0), 8, base]), Ok(0));
        assert_eq!(bytes(&space, 0, 8), b"a string");
        for bad in [0, base + 10, base ^ 1 << 40, guest_ptr(PAGE), u64::MAX] {
            space.memory().at(0, 8).unwrap().write(&[0xff; 8]);
            assert_eq!(
                call(&space, name, &[guest_ptr(0), 8, bad]),
                Ok(EFAULT),
                "{name} {bad:x}"
            );
            assert_eq!(bytes(&space, 0, 8), [0; 8]);
        }
        // The kernel's prototype takes a u32.
        assert_eq!(call(&space, name, &[guest_ptr(0), 1 << 32, base]), Ok(0));
    }
}

#[test]
fn guest_memory_is_kernel_memory_to_the_guest_and_no_user_memory() {
    let space = space();
    space.memory().at(64, 8).unwrap().write(b"12345\x0078");
    assert_eq!(
        call(
            &space,
            "probe_read_kernel",
            &[guest_ptr(0), 8, guest_ptr(64)]
        ),
        Ok(0)
    );
    assert_eq!(bytes(&space, 0, 8), b"12345\x0078");
    assert_eq!(
        call(&space, "probe_read_user", &[guest_ptr(0), 8, guest_ptr(64)]),
        Ok(EFAULT)
    );
    assert_eq!(
        call(
            &space,
            "probe_read_kernel_str",
            &[guest_ptr(0), 8, guest_ptr(64)]
        ),
        Ok(6)
    );
    assert_eq!(
        call(
            &space,
            "probe_read_kernel_str",
            &[guest_ptr(0), 3, guest_ptr(64)]
        ),
        Ok(3)
    );
    assert_eq!(bytes(&space, 0, 4), b"12\x004");
}

#[test]
fn strings_are_cut_and_terminated() {
    let space = space();
    for (name, base) in [
        ("probe_read_kernel_str", KERNEL),
        ("probe_read_user_str", USER),
    ] {
        assert_eq!(call(&space, name, &[guest_ptr(0), 64, base]), Ok(9));
        assert_eq!(bytes(&space, 0, 9), b"a string\0");
        assert_eq!(call(&space, name, &[guest_ptr(0), 4, base]), Ok(4));
        assert_eq!(bytes(&space, 0, 4), b"a s\0");
        assert_eq!(call(&space, name, &[guest_ptr(0), 4, 0]), Ok(EFAULT));
        assert_eq!(bytes(&space, 0, 4), [0; 4]);
    }
}

#[test]
fn destinations_outside_guest_memory_trap() {
    let space = space();
    for name in [
        "probe_read_kernel",
        "probe_read_user",
        "probe_read_kernel_str",
    ] {
        for (to, len) in [
            (guest_ptr(PAGE - 4), 8),
            (KERNEL, 8),
            (0, 8),
            (guest_ptr(0), u64::MAX),
        ] {
            assert_eq!(
                call(&space, name, &[to, len, KERNEL]),
                Err(Trap::BadPointer)
            );
        }
    }
}

/// Tells the implementations that read a number of the host from others.
#[derive(Clone, Copy)]
struct IsReading;

impl Take<KnownHost> for IsReading {
    type Taken = bool;

    fn call<F>(self, _: F) -> bool
    where
        F: Fn(&Run<'_, KnownHost>, [u64; 5]) -> Result<u64, Trap> + Copy,
    {
        false
    }

    fn reading<F>(self, _: F) -> bool
    where
        F: Fn(&KnownHost) -> u64 + Copy,
    {
        true
    }

    fn callback<F>(self, _: F) -> bool
    where
        F: Fn(&Run<'_, KnownHost>, [u64; 5], Callback<'_>) -> Result<u64, Trap> + Copy,
    {
        false
    }

    fn tail_call(self) -> bool {
        false
    }

    fn tail_call_within(self) -> bool {
        false
    }
}

#[test]
fn those_that_only_read_are_known_to_the_compiler() {
    for id in 0..300 {
        let is_reading = take_implementation(id, IsReading).unwrap_or(false);
        assert_eq!(is_reading, READING.contains(&id), "{id}");
    }
}

#[test]
fn work_is_paid_for() {
    let space = space();
    let read = |left, len| {
        let work = Work::new(left);
        let run = Run {
            work: &work,
            ..run(&space)
        };
        let row = abi::helpers::by_name("probe_read_kernel").unwrap();
        let read = implementation::<KnownHost>(row.id).unwrap();
        let result = read(&run, [guest_ptr(64), len, 0, 0, 0]);
        (result.err(), left - work.left())
    };
    let (small, large) = (read(1 << 20, 8).1, read(1 << 20, 4096).1);
    assert!(large > small + 128, "{small} and {large} units");
    assert_eq!(read(large, 4096).0, None);
    assert_eq!(read(large - 1, 4096).0, Some(Trap::Budget));
    // Before anything of it is done, and no more than a range of memory is ever paid for.
    assert_eq!(read(1 << 20, u64::MAX).0, Some(Trap::BadPointer));
}

#[test]
fn probe_loads_are_zero_extended_and_zero_on_a_fault() {
    let space = space();
    let run = run(&space);
    assert_eq!(probe_load(&run, 1, KERNEL), Ok(u64::from(b'a')));
    assert_eq!(
        probe_load(&run, 8, KERNEL),
        Ok(u64::from_le_bytes(*b"a string"))
    );
    assert_eq!(probe_load(&run, 8, 0), Ok(0));
}

#[test]
fn map_helpers_take_handles_and_guest_pointers_only() {
    let space = space();
    let spec = MapSpec {
        map_type: MapType::Hash,
        key_size: 4,
        value_size: 8,
        max_entries: 1,
        flags: 0,
        inner: None,
    };
    let map = space.create_map(&spec).unwrap().handle;
    let (key, value) = (guest_ptr(0), guest_ptr(8));
    space
        .memory()
        .at(0, 16)
        .unwrap()
        .write(b"key\0\0\0\0\0value...");
    assert_eq!(call(&space, "map_lookup_elem", &[map, key]), Ok(0));
    assert_eq!(
        call(&space, "map_update_elem", &[map, key, value, 0]),
        Ok(0)
    );
    let found = call(&space, "map_lookup_elem", &[map, key]).unwrap();
    assert_eq!(bytes(&space, found as u32, 8), b"value...");
    assert_eq!(found >> 32, guest_ptr(0) >> 32);
    assert_eq!(call(&space, "map_delete_elem", &[map, key]), Ok(0));
    assert_eq!(
        call(&space, "map_delete_elem", &[map, key]),
        Ok(-2i64 as u64)
    );
    for (map, key) in [(map + 1, key), (key, key), (0, key)] {
        assert_eq!(
            call(&space, "map_lookup_elem", &[map, key]),
            Err(Trap::BadMap)
        );
    }
    for key in [0, KERNEL, guest_ptr(PAGE - 3)] {
        assert_eq!(
            call(&space, "map_lookup_elem", &[map, key]),
            Err(Trap::BadPointer)
        );
    }
}

#[test]
fn every_import_of_the_contract_resolves_with_its_arity() {
    use abi::imports::{
        ATOMIC, ATOMICS, BPF, KFUNC, PROBE_LOADS, TAIL_CALL_RESULT, TAIL_CALL_WITHIN,
    };
    use wprobe_helpers::imports::host_function;
    let params = |module, name| host_function::<KnownHost>(module, name).map(|f| f.params);
    for row in abi::helpers::HELPERS {
        assert_eq!(params(BPF, row.name), Some(row.args.len()), "{}", row.name);
    }
    for (name, _) in PROBE_LOADS {
        assert_eq!(params(BPF, name), Some(1), "{name}");
    }
    for (name, _) in abi::imports::PACKET_LOADS {
        assert_eq!(params(BPF, name), Some(2), "{name}");
    }
    for (name, op, _) in ATOMICS {
        let expected = if *op == abi::imports::AtomicOp::Cmpxchg {
            3
        } else {
            2
        };
        assert_eq!(params(ATOMIC, name), Some(expected), "{name}");
    }
    for (name, count) in [(TAIL_CALL_WITHIN, 4), (TAIL_CALL_RESULT, 0)] {
        assert_eq!(params(BPF, name), Some(count), "{name}");
    }
    assert_eq!(params(KFUNC, "bpf_task_release"), Some(5));
    for (module, name) in [(BPF, "nonsense"), (ATOMIC, "sub64"), ("wasi", "fd_write")] {
        assert_eq!(params(module, name), None, "{module}.{name}");
    }
}

/// What the table says of this version's runtimes is what they do.
#[test]
fn the_table_says_what_is_provided() {
    use abi::helpers::{HELPERS, KFUNCS, is_provided};
    use abi::imports::{BPF, KFUNC};
    use wprobe_helpers::imports::host_function;
    let provided = |module, name| host_function::<KnownHost>(module, name).unwrap().provided;
    for row in HELPERS {
        assert_eq!(provided(BPF, row.name), row.provided, "{}", row.name);
        assert_eq!(is_provided(BPF, row.name), row.provided);
    }
    for name in KFUNCS {
        assert!(provided(KFUNC, name) && is_provided(KFUNC, name), "{name}");
    }
    assert!(!provided(KFUNC, "bpf_no_such") && !is_provided(KFUNC, "bpf_no_such"));
}

#[test]
fn imports_do_what_their_names_say() {
    use abi::imports::{ATOMIC, BPF};
    use wprobe_helpers::imports::{Action, host_function};
    let space = space();
    let run = run(&space);
    let call = |module, name, args| match host_function(module, name).unwrap().action {
        Action::Call(call) => call(&run, args),
        _ => panic!("{name} needs the engine"),
    };
    let cell = guest_ptr(8);
    assert_eq!(call(ATOMIC, "add64", [cell, 5, 0, 0, 0]), Ok(0));
    assert_eq!(call(ATOMIC, "or32", [cell, 2, 0, 0, 0]), Ok(5));
    assert_eq!(call(ATOMIC, "cmpxchg64", [cell, 7, 9, 0, 0]), Ok(7));
    assert_eq!(call(ATOMIC, "xchg32", [cell, 1, 0, 0, 0]), Ok(9));
    assert_eq!(call(BPF, "probe_load16", [KERNEL, 0, 0, 0, 0]), Ok(0x2061));
    assert_eq!(call(BPF, "setsockopt", [0; 5]), Err(Trap::NoHelper));
}

#[test]
fn packet_loads_are_in_network_order_and_end_with_the_packet() {
    let space = space();
    let memory = space.memory();
    memory.at(76, 8).unwrap().write(&[0, 2, 0, 0, 6, 2, 0, 0]); // data 0x200, data_end 0x206
    memory
        .at(0x200, 8)
        .unwrap()
        .write(&[1, 2, 3, 4, 5, 6, 7, 8]);
    let run = run(&space);
    let load = |width, at: i64| packet_load(&run, width, guest_ptr(0), at as u64);
    assert_eq!(load(1, 5), Ok(6));
    assert_eq!(load(2, 1), Ok(0x0203));
    assert_eq!(load(4, 2), Ok(0x0304_0506));
    for (width, at) in [(1, 6), (2, 5), (4, 3), (1, -1), (4, i64::from(i32::MAX))] {
        assert_eq!(load(width, at), Ok(u64::MAX), "{width} {at}");
    }
    assert_eq!(packet_load(&run, 1, 0, 0), Err(Trap::BadPointer));
}

#[test]
fn traced_lines_are_formatted_from_registers_or_memory() {
    let space = space();
    let memory = space.memory();
    memory.at(0, 16).unwrap().write(b"%d and %s, %x\0\0\0");
    memory.at(64, 8).unwrap().write(&7u64.to_ne_bytes());
    memory.at(72, 8).unwrap().write(&KERNEL.to_ne_bytes());
    memory.at(80, 8).unwrap().write(&255u64.to_ne_bytes());
    let fmt = guest_ptr(0);
    let line = "7 and a string, ff";
    assert_eq!(
        call(&space, "trace_printk", &[fmt, 14, 7, KERNEL, 255]),
        Ok(line.len() as u64)
    );
    assert_eq!(
        call(&space, "trace_vprintk", &[fmt, 14, guest_ptr(64), 24]),
        Ok(line.len() as u64)
    );
    TRACED.with_borrow(|traced| assert_eq!(*traced, [line.as_bytes(), line.as_bytes()]));
}

#[test]
fn symbols_are_paid_for() {
    let space = space();
    let fmt = space.memory().at(0, 32).unwrap();
    fmt.write(b"%ps %pS|%24pB|%-6pK.\0");
    let run_with = |units| {
        let work = Work::new(units);
        let run = Run {
            work: &work,
            ..run(&space)
        };
        let row = abi::helpers::by_name("trace_printk").unwrap();
        let args = [guest_ptr(0), 22, 0, KERNEL, 0xabc];
        implementation::<KnownHost>(row.id).unwrap()(&run, args)
    };
    assert_eq!(run_with(2000), Err(Trap::Budget));
    assert_eq!(run_with(3 * SYMBOL), Err(Trap::Budget));
    // A fourth argument there is not.
    assert_eq!(run_with(u64::MAX), Ok(-22i64 as u64));
    fmt.write(b"%ps %pS|%12pB.\0");
    assert_eq!(run_with(u64::MAX), Ok(36));
    let line = "0x0 0xffff888000000000|       0xabc.";
    TRACED.with_borrow(|traced| assert_eq!(*traced, [line.as_bytes()]));
}

#[test]
fn bad_formats_are_refused_and_nothing_is_traced() {
    let space = space();
    let memory = space.memory();
    const EINVAL: u64 = -22i64 as u64;
    for bad in [
        "%", "%f", "%5.3d", "%#x", "%n", "%sx", "%pI5", "%d%d%d%d", "\u{7f}", "\u{1}", "%pI5",
    ] {
        memory.at(0, 16).unwrap().clear();
        memory.at(0, 16).unwrap().write(bad.as_bytes());
        let size = bad.len() as u64 + 1;
        let args = [guest_ptr(0), size, 0, 0, 0];
        assert_eq!(call(&space, "trace_printk", &args), Ok(EINVAL), "{bad}");
    }
    memory.at(0, 4).unwrap().write(b"abcd");
    assert_eq!(
        call(&space, "trace_printk", &[guest_ptr(0), 4, 0, 0, 0]),
        Ok(EINVAL),
        "no NUL"
    );
    for length in [4, 8 * 13] {
        let args = [guest_ptr(0), 5, guest_ptr(64), length];
        assert_eq!(call(&space, "trace_vprintk", &args), Ok(EINVAL));
    }
    TRACED.with_borrow(|traced| assert!(traced.is_empty()));
}
