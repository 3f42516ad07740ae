//! `enum bpf_map_type`, with the kernel's numbers and names; `here`: this version's runtimes have such maps.

macro_rules! map_types {
    ($($id:literal $variant:ident $name:literal $($here:ident)?;)*) => {
        /// A map type of the kernel.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u32)]
        #[expect(missing_docs, reason = "the names are the kernel's and documented there")]
        pub enum MapType {
            $($variant = $id,)*
        }

        impl MapType {
            /// Every map type, by increasing number.
            pub const ALL: &[MapType] = &[$(MapType::$variant),*];

            /// The type with the kernel's number `id`.
            pub const fn from_id(id: u32) -> Option<Self> {
                match id {
                    $($id => Some(MapType::$variant),)*
                    _ => None,
                }
            }

            /// The name as bpftool prints it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(MapType::$variant => $name,)*
                }
            }

            /// Whether this version's runtimes have maps of the type.
            pub const fn is_provided(self) -> bool {
                match self {
                    $(MapType::$variant => here!($($here)?),)*
                }
            }
        }
    };
}

macro_rules! here {
    (here) => {
        true
    };
    () => {
        false
    };
}

map_types! {
    1 Hash "hash" here;
    2 Array "array" here;
    3 ProgArray "prog_array" here;
    4 PerfEventArray "perf_event_array" here;
    5 PercpuHash "percpu_hash" here;
    6 PercpuArray "percpu_array" here;
    7 StackTrace "stack_trace" here;
    8 CgroupArray "cgroup_array" here;
    9 LruHash "lru_hash" here;
    10 LruPercpuHash "lru_percpu_hash" here;
    11 LpmTrie "lpm_trie" here;
    12 ArrayOfMaps "array_of_maps" here;
    13 HashOfMaps "hash_of_maps" here;
    14 Devmap "devmap";
    15 Sockmap "sockmap";
    16 Cpumap "cpumap";
    17 Xskmap "xskmap";
    18 Sockhash "sockhash";
    19 CgroupStorage "cgroup_storage";
    20 ReuseportSockarray "reuseport_sockarray";
    21 PercpuCgroupStorage "percpu_cgroup_storage";
    22 Queue "queue" here;
    23 Stack "stack" here;
    24 SkStorage "sk_storage";
    25 DevmapHash "devmap_hash";
    26 StructOps "struct_ops";
    27 Ringbuf "ringbuf" here;
    28 InodeStorage "inode_storage";
    29 TaskStorage "task_storage" here;
    30 BloomFilter "bloom_filter" here;
    31 UserRingbuf "user_ringbuf";
    32 CgrpStorage "cgrp_storage";
    33 Arena "arena";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_dense_and_come_back() {
        for (i, ty) in MapType::ALL.iter().enumerate() {
            assert_eq!(*ty as usize, i + 1);
            assert_eq!(MapType::from_id(*ty as u32), Some(*ty));
        }
    }
}
