//! `enum bpf_map_type`, with the kernel's numbers and names.

macro_rules! map_types {
    ($($id:literal $variant:ident $name:literal;)*) => {
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
        }
    };
}

map_types! {
    1 Hash "hash";
    2 Array "array";
    3 ProgArray "prog_array";
    4 PerfEventArray "perf_event_array";
    5 PercpuHash "percpu_hash";
    6 PercpuArray "percpu_array";
    7 StackTrace "stack_trace";
    8 CgroupArray "cgroup_array";
    9 LruHash "lru_hash";
    10 LruPercpuHash "lru_percpu_hash";
    11 LpmTrie "lpm_trie";
    12 ArrayOfMaps "array_of_maps";
    13 HashOfMaps "hash_of_maps";
    14 Devmap "devmap";
    15 Sockmap "sockmap";
    16 Cpumap "cpumap";
    17 Xskmap "xskmap";
    18 Sockhash "sockhash";
    19 CgroupStorage "cgroup_storage";
    20 ReuseportSockarray "reuseport_sockarray";
    21 PercpuCgroupStorage "percpu_cgroup_storage";
    22 Queue "queue";
    23 Stack "stack";
    24 SkStorage "sk_storage";
    25 DevmapHash "devmap_hash";
    26 StructOps "struct_ops";
    27 Ringbuf "ringbuf";
    28 InodeStorage "inode_storage";
    29 TaskStorage "task_storage";
    30 BloomFilter "bloom_filter";
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
