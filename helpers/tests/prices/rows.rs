//! The worst arguments of each function.

use abi::layout::{guest_ptr, map_handle};
use abi::map_types::MapType;

use crate::host::KERNEL;
use crate::place::{KEY, Place, TEXT, VALUE};

/// A way to call a function.
pub(crate) struct Row {
    /// With what.
    pub(crate) what: &'static str,
    /// Makes it ready; the arguments.
    pub(crate) prepare: fn(&Place) -> [u64; 5],
}

const fn row(what: &'static str, prepare: fn(&Place) -> [u64; 5]) -> Row {
    Row { what, prepare }
}

const ANY: u64 = 0;
const KEY_AT: u64 = guest_ptr(KEY);
/// Aligned to nothing.
const VALUE_AT: u64 = guest_ptr(VALUE);
const TEXT_AT: u64 = guest_ptr(TEXT);
/// An address of a user.
const USER: u64 = 0x1000;
/// Bytes of what is copied, to and from addresses that are aligned otherwise.
const MUCH: u64 = 512;

fn plain(_: &Place) -> [u64; 5] {
    [KEY_AT, 0, 0, 0, 0]
}

/// Nodes of the deepest trie here.
const DEPTH: u32 = 64;

/// A trie of prefixes each of which is the next one's, and a key that all of them fit.
fn trie(place: &Place) -> [u64; 5] {
    let map = place.map(MapType::LpmTrie, 4 + 256, 8, DEPTH + 1);
    for bits in 1..=DEPTH {
        let mut key = bits.to_ne_bytes().to_vec();
        key.resize(4 + 256, 0);
        place.put(map, &key);
    }
    let key = place.key(&(DEPTH + 1).to_ne_bytes(), 4 + 256);
    [map.handle, key, VALUE_AT, ANY, 0]
}

/// A hash of the longest keys, full, and one of them.
fn long_keys(place: &Place, map_type: MapType, value_size: u32) -> [u64; 5] {
    let map = place.map(map_type, 512, value_size, 16);
    place.fill(map);
    [map.handle, place.key(&[7], 512), VALUE_AT, ANY, 0]
}

/// A full LRU map of which all elements are in use, and a new key.
fn all_in_use(place: &Place, map_type: MapType) -> [u64; 5] {
    let map = place.map(map_type, 4, 8, 256);
    place.fill(map);
    for number in 0..256u32 {
        let key = wprobe_helpers::maps::Key::from_host(&number.to_ne_bytes()).unwrap();
        assert!(place.of(map).lookup(0, &key).is_some());
    }
    [
        map.handle,
        place.key(&1000u32.to_ne_bytes(), 4),
        VALUE_AT,
        ANY,
        0,
    ]
}

/// A full hash, and a new key for which there is no room on any CPU's list.
fn no_room(place: &Place, map_type: MapType) -> [u64; 5] {
    let map = place.map(map_type, 4, 8, 64);
    place.fill(map);
    [
        map.handle,
        place.key(&1000u32.to_ne_bytes(), 4),
        VALUE_AT,
        ANY,
        0,
    ]
}

const LOOKUPS: &[Row] = &[
    row("a trie of 64 nodes on the way", trie),
    row("a hash, key of 512 bytes", |p| {
        long_keys(p, MapType::Hash, 8)
    }),
    row("an LRU hash, key of 512 bytes", |p| {
        long_keys(p, MapType::LruHash, 8)
    }),
    row("a hash, key of 4 bytes", |p| no_room(p, MapType::Hash)),
    row("an array", |p| {
        [
            p.map(MapType::Array, 4, 8, 4).handle,
            p.key(&[1], 4),
            0,
            0,
            0,
        ]
    }),
    row("no map", |_| [map_handle(9), KEY_AT, 0, 0, 0]),
];

const CHANGES: &[Row] = &[
    row("a trie of 64 nodes on the way", trie),
    row("a hash, key of 512 and value of 512 bytes", |p| {
        long_keys(p, MapType::Hash, 512)
    }),
    row("a hash, full", |p| no_room(p, MapType::Hash)),
    row("a per-CPU hash, full", |p| no_room(p, MapType::PercpuHash)),
    row("a per-CPU hash, new value of 512 bytes", |p| {
        let map = p.map(MapType::PercpuHash, 4, 512, 4);
        [map.handle, p.key(&[1], 4), VALUE_AT, ANY, 0]
    }),
    row("an LRU hash, all in use", |p| {
        all_in_use(p, MapType::LruHash)
    }),
    row("a per-CPU LRU hash, all in use", |p| {
        all_in_use(p, MapType::LruPercpuHash)
    }),
    row("an array, value of 512 bytes", |p| {
        [
            p.map(MapType::Array, 4, 512, 4).handle,
            p.key(&[1], 4),
            VALUE_AT,
            ANY,
            0,
        ]
    }),
];

const DELETIONS: &[Row] = &[
    row("a trie of 64 nodes on the way", |p| {
        let args = trie(p);
        p.key(&DEPTH.to_ne_bytes(), 4 + 256);
        args
    }),
    row("a hash, key of 512 bytes", |p| {
        long_keys(p, MapType::Hash, 8)
    }),
    row("an LRU hash, no such key", |p| {
        all_in_use(p, MapType::LruHash)
    }),
];

fn queue(place: &Place, map_type: MapType, filled: bool) -> [u64; 5] {
    let map = place.map(map_type, 0, 512, 2);
    if filled {
        let value = wprobe_helpers::maps::Value::Host(&[0; 512]);
        place.of(map).push(place.space.memory(), value, 0).unwrap();
    }
    [map.handle, VALUE_AT, ANY, 0, 0]
}

fn bloom(place: &Place) -> [u64; 5] {
    [
        place.map(MapType::BloomFilter, 0, 512, 64).handle,
        VALUE_AT,
        ANY,
        0,
        0,
    ]
}

/// Reads to where bytes go one by one, from where they come one by one.
const READS: &[Row] = &[
    row("512 bytes of its own, otherwise aligned", |_| {
        [VALUE_AT, MUCH, KEY_AT, 0, 0]
    }),
    row("512 bytes of the kernel's", |_| {
        [VALUE_AT, MUCH, KERNEL, 0, 0]
    }),
    row("512 bytes of a user's, a fault", |_| {
        [VALUE_AT, MUCH, USER, 0, 0]
    }),
    row("8 bytes of the kernel's", |_| [KEY_AT, 8, KERNEL, 0, 0]),
];

const STRINGS: &[Row] = &[
    row("512 bytes of its own, otherwise aligned", |p| {
        p.write(KEY, &[b'x'; MUCH as usize]);
        [VALUE_AT, MUCH, KEY_AT, 0, 0]
    }),
    row("512 bytes of a user's, a fault", |_| {
        [VALUE_AT, MUCH, USER, 0, 0]
    }),
];

/// A format of `text` over and over, and what it writes.
fn format(place: &Place, text: &str, address: u64) -> [u64; 5] {
    let text = text.repeat(2);
    place.write(TEXT, text.as_bytes());
    place.write(TEXT + text.len() as u32, &[0]);
    for at in 0..2 {
        place.write(KEY + 8 * at, &address.to_ne_bytes());
    }
    [VALUE_AT, MUCH, TEXT_AT, KEY_AT, 16]
}

const FORMATS: &[Row] = &[
    row("2 %pus of 1,024 bytes", |p| format(p, "%pus,", USER)),
    row("2 %1024d", |p| format(p, "%1024d", 1)),
    row("2 %lld", |p| format(p, "%lld", u64::MAX)),
    row("2 %pI6", |p| format(p, "%pI6", KERNEL)),
    row("2 %pi4", |p| format(p, "%pi4", KERNEL)),
    row("2 %c", |p| format(p, "%c", 1)),
    row("2 %-20pK", |p| format(p, "%-20pK", 1)),
    row("2 %ps", |p| format(p, "%ps", 1)),
    row("300 characters", |p| {
        p.write(TEXT, &[b'%'; 300]);
        p.write(TEXT + 300, &[0]);
        [VALUE_AT, MUCH, TEXT_AT, KEY_AT, 16]
    }),
];

/// The same for the trace log, whose arguments come in another order.
fn trace(place: &Place, text: &str, address: u64) -> [u64; 5] {
    format(place, text, address);
    [TEXT_AT, 2 * text.len() as u64 + 1, KEY_AT, 16, 0]
}

const TRACES: &[Row] = &[
    row("2 %pus of 1,024 bytes", |p| trace(p, "%pus,", USER)),
    row("2 %1024d", |p| trace(p, "%1024d", 1)),
    row("2 %pI6", |p| trace(p, "%pI6", KERNEL)),
];

const TRACE_LINES: &[Row] = &[
    row("1 %1024d", |p| {
        p.write(TEXT, b"%1024d\0");
        [TEXT_AT, 7, 1, 1, 1]
    }),
    row("1 %pus of 1,024 bytes", |p| {
        p.write(TEXT, b"%pus,\0");
        [TEXT_AT, 6, USER, 0, 0]
    }),
];

const STACKS: &[Row] = &[
    row("127 frames, a hash of theirs", |p| {
        [
            KERNEL,
            p.map(MapType::StackTrace, 4, 127 * 8, 4).handle,
            0,
            0,
            0,
        ]
    }),
    row("126 skipped", |p| {
        [
            KERNEL,
            p.map(MapType::StackTrace, 4, 8, 4).handle,
            126,
            0,
            0,
        ]
    }),
];

/// The last of many maps is a ring, with a record.
fn record(place: &Place) -> u64 {
    for _ in 0..250 {
        place.map(MapType::Array, 4, 8, 1);
    }
    let ring = place.map(MapType::Ringbuf, 0, 0, 1 << 16);
    let ring = place.of(ring).as_ringbuf().unwrap();
    ring.set_waker(1);
    guest_ptr(ring.reserve(place.space.memory(), 64).unwrap())
}

fn ring(place: &Place) -> u64 {
    place.map(MapType::Ringbuf, 0, 0, 1 << 16).handle
}

/// A dynptr of a record, or of so many bytes of memory.
fn dynptr(place: &Place, data: u64, bytes: u32, kind: u32) -> u64 {
    place.write(TEXT, &data.to_le_bytes());
    place.write(TEXT + 8, &u64::from(bytes | kind << 28).to_le_bytes());
    TEXT_AT
}

/// A full map of tasks, all alive, and another task.
fn storage(place: &Place) -> [u64; 5] {
    let map = place.map(MapType::TaskStorage, 4, 64, 0);
    let memory = place.space.memory();
    for task in 1..=4096 {
        let value = wprobe_helpers::maps::Value::Zero;
        let storage = place.of(map).as_task_storage().unwrap();
        let work = wprobe_helpers::work::Work::unlimited();
        let made = storage.create(&crate::host::Free, memory, task, value, &work);
        assert!(made.unwrap().is_some());
    }
    [map.handle, 5000, 0, 1, 0]
}

/// A path that goes on and on.
fn path(_: &Place) -> [u64; 5] {
    [KERNEL, VALUE_AT, MUCH, 0, 0]
}

/// The rows of the function `name`; none if nobody has thought about it.
pub(crate) fn of(name: &str) -> &'static [Row] {
    match name {
        "map_lookup_elem" => LOOKUPS,
        "map_update_elem" => CHANGES,
        "map_delete_elem" => DELETIONS,
        "map_lookup_percpu_elem" => {
            &const {
                [row("a per-CPU hash, key of 512 bytes", |p| {
                    let [map, key, ..] = long_keys(p, MapType::PercpuHash, 8);
                    [map, key, 1, 0, 0]
                })]
            }
        }
        "map_push_elem" => {
            &const {
                [
                    row("a queue, value of 512 bytes", |p| {
                        queue(p, MapType::Queue, false)
                    }),
                    row("a bloom filter, value of 512 bytes", bloom),
                ]
            }
        }
        "map_pop_elem" => {
            &const {
                [row("a stack, value of 512 bytes", |p| {
                    queue(p, MapType::Stack, true)
                })]
            }
        }
        "map_peek_elem" => {
            &const {
                [
                    row("a queue, value of 512 bytes", |p| {
                        queue(p, MapType::Queue, true)
                    }),
                    row("an empty queue", |p| queue(p, MapType::Queue, false)),
                    row("a bloom filter, value of 512 bytes", bloom),
                ]
            }
        }
        "for_each_map_elem" => {
            &const {
                [
                    row("a hash of 256, empty", |p| {
                        [p.map(MapType::Hash, 4, 8, 256).handle, 0, 0, 0, 0]
                    }),
                    row("a hash of 16, keys of 512 bytes", |p| {
                        let [map, ..] = long_keys(p, MapType::Hash, 8);
                        [map, 0, 0, 0, 0]
                    }),
                    row("an array of 20", |p| {
                        [p.map(MapType::Array, 4, 8, 20).handle, 0, 0, 0, 0]
                    }),
                ]
            }
        }
        "loop" => &const { [row("20 turns", |_| [20, 0, 0, 0, 0])] },
        "tail_call" => {
            &const {
                [row("no such program", |p| {
                    [0, p.map(MapType::ProgArray, 4, 4, 4).handle, 1, 0, 0]
                })]
            }
        }
        "probe_read" | "probe_read_kernel" | "probe_read_user" | "copy_from_user" => READS,
        "probe_read_str" | "probe_read_kernel_str" | "probe_read_user_str" => STRINGS,
        "snprintf" => FORMATS,
        "trace_vprintk" => TRACES,
        "trace_printk" => TRACE_LINES,
        "get_stackid" => STACKS,
        "get_stack" | "get_task_stack" => {
            &const { [row("127 frames", |_| [KERNEL, VALUE_AT, 127 * 8, 0, 0])] }
        }
        "get_current_comm" => &const { [row("512 bytes", |_| [VALUE_AT, MUCH, 0, 0, 0])] },
        "strncmp" => {
            &const {
                [row("512 equal bytes", |p| {
                    p.write(KEY, &[b'x'; MUCH as usize]);
                    p.write(VALUE, &[b'x'; MUCH as usize]);
                    [VALUE_AT, MUCH, KEY_AT, 0, 0]
                })]
            }
        }
        "strtol" | "strtoul" => {
            &const {
                [
                    row("512 spaces", |p| {
                        p.write(TEXT, &[b' '; MUCH as usize]);
                        [TEXT_AT, MUCH, 0, KEY_AT, 0]
                    }),
                    row("63 digits", |p| {
                        p.write(TEXT, &[b'0'; 80]);
                        [TEXT_AT, 80, 0, KEY_AT, 0]
                    }),
                ]
            }
        }
        "perf_event_output" => {
            &const {
                [row("512 bytes, otherwise aligned", |p| {
                    let map = p.map(MapType::PerfEventArray, 4, 4, 2);
                    p.ring(map);
                    [KERNEL, map.handle, 0xffff_ffff, VALUE_AT, MUCH]
                })]
            }
        }
        "ringbuf_output" => {
            &const {
                [row("512 bytes, otherwise aligned", |p| {
                    [ring(p), VALUE_AT, MUCH, 0, 0]
                })]
            }
        }
        "ringbuf_reserve" => &const { [row("64 bytes", |p| [ring(p), 64, 0, 0, 0])] },
        "ringbuf_submit" | "ringbuf_discard" => {
            &const { [row("a ring behind 250 maps", |p| [record(p), 2, 0, 0, 0])] }
        }
        "ringbuf_query" => &const { [row("a ring", |p| [ring(p), 0, 0, 0, 0])] },
        "ringbuf_reserve_dynptr" => &const { [row("64 bytes", |p| [ring(p), 64, 0, TEXT_AT, 0])] },
        "ringbuf_submit_dynptr" | "ringbuf_discard_dynptr" => {
            &const {
                [row("a ring behind 250 maps", |p| {
                    let record = record(p);
                    [dynptr(p, record, 64, 2), 2, 0, 0, 0]
                })]
            }
        }
        "dynptr_from_mem" => {
            &const {
                [row("a megabyte", |_| {
                    [guest_ptr(0), 1 << 20, 0, TEXT_AT, 0]
                })]
            }
        }
        "dynptr_read" => {
            &const {
                [row("512 bytes that overlap", |p| {
                    [VALUE_AT + 3, MUCH, dynptr(p, VALUE_AT, 8192, 1), 0, 0]
                })]
            }
        }
        "dynptr_write" => {
            &const {
                [row("512 bytes that overlap", |p| {
                    [dynptr(p, VALUE_AT + 3, 8192, 1), 0, VALUE_AT, MUCH, 0]
                })]
            }
        }
        "dynptr_data" => &const { [row("any", |p| [dynptr(p, VALUE_AT, 8192, 1), 1, 1, 0, 0])] },
        "task_storage_get" => &const { [row("4,096 living tasks, and another", storage)] },
        "task_storage_delete" => {
            &const {
                [row("4,096 living tasks, one of them", |p| {
                    let [map, ..] = storage(p);
                    [map, 7, 0, 0, 0]
                })]
            }
        }
        "d_path" => &const { [row("names that fill 512 bytes", path)] },
        "current_task_under_cgroup" => {
            &const {
                [row("any", |p| {
                    [p.map(MapType::CgroupArray, 4, 4, 4).handle, 1, 0, 0, 0]
                })]
            }
        }
        "get_ns_current_pid_tgid" => &const { [row("any", |_| [1, 1, TEXT_AT, 8, 0])] },
        "spin_lock" => &const { [row("a free one", plain)] },
        "get_func_arg" | "get_func_ret" => &const { [row("any", |_| [KEY_AT, 0, TEXT_AT, 0, 0])] },
        "packet_load8" | "packet_load16" | "packet_load32" => {
            &const {
                [row("a byte of the packet", |p| {
                    p.write(KEY + 76, &[0, 0, 0, 0, 0, 1, 0, 0]);
                    [KEY_AT, 3, 0, 0, 0]
                })]
            }
        }
        _ if is_plain(name) => &const { [row("any", plain)] },
        _ => &[],
    }
}

/// Whether a function takes as long whatever it is given.
fn is_plain(name: &str) -> bool {
    const PLAIN: &[&str] = &[
        "ktime_get_ns",
        "ktime_get_boot_ns",
        "ktime_get_coarse_ns",
        "ktime_get_tai_ns",
        "jiffies64",
        "get_prandom_u32",
        "get_smp_processor_id",
        "get_numa_node_id",
        "get_current_pid_tgid",
        "get_current_uid_gid",
        "get_current_task",
        "get_current_task_btf",
        "get_current_cgroup_id",
        "get_current_ancestor_cgroup_id",
        "get_attach_cookie",
        "get_func_ip",
        "get_func_arg_cnt",
        "per_cpu_ptr",
        "this_cpu_ptr",
        "send_signal",
        "send_signal_thread",
        "spin_unlock",
        "task_pt_regs",
        "bpf_task_from_pid",
        "bpf_task_acquire",
        "bpf_task_release",
        "bpf_cast_to_kern_ctx",
        "bpf_rdonly_cast",
        "bpf_rcu_read_lock",
        "bpf_rcu_read_unlock",
        "bpf_iter_num_new",
        "bpf_iter_num_next",
        "bpf_iter_num_destroy",
        "bpf_dynptr_adjust",
        "bpf_dynptr_is_null",
        "bpf_dynptr_is_rdonly",
        "bpf_dynptr_size",
        "bpf_dynptr_clone",
        "bpf_dynptr_slice",
    ];
    let is_load = abi::imports::PROBE_LOADS.iter().any(|load| load.0 == name);
    let is_atomic = abi::imports::ATOMICS.iter().any(|atomic| atomic.0 == name);
    PLAIN.contains(&name) || is_load || is_atomic
}
