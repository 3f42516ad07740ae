//! What a map is to be, as user space says.

use abi::map_types::MapType;

use super::task_storage;

/// What a map is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapSpec {
    /// Its type.
    pub map_type: MapType,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// Elements at most.
    pub max_entries: u32,
    /// `map_flags`.
    pub flags: u32,
    /// For a map of maps: what its maps must be.
    pub inner: Option<Inner>,
}

/// What the inner maps of a map of maps must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inner {
    /// Their type.
    pub map_type: MapType,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// Elements, which only arrays must have as many of.
    pub max_entries: u32,
    /// `map_flags`.
    pub flags: u32,
}

/// `BPF_F_INNER_MAP`: an array in a map of maps may have any number of elements.
const INNER_MAP: u32 = 1 << 12;

impl Inner {
    /// Whether `spec` is that (`bpf_map_meta_equal`, `array_map_meta_equal`).
    fn fits(&self, spec: &MapSpec) -> bool {
        let counted = matches!(spec.map_type, MapType::Array | MapType::PercpuArray)
            && self.flags & INNER_MAP == 0;
        self.map_type == spec.map_type
            && self.key_size == spec.key_size
            && self.value_size == spec.value_size
            && self.flags == spec.flags
            && (!counted || self.max_entries == spec.max_entries)
    }
}

impl MapSpec {
    /// Whether an element has a value for each CPU.
    pub fn is_percpu(&self) -> bool {
        matches!(
            self.map_type,
            MapType::PercpuArray | MapType::PercpuHash | MapType::LruPercpuHash
        )
    }

    /// Whether its values are maps.
    pub fn is_of_maps(&self) -> bool {
        matches!(self.map_type, MapType::ArrayOfMaps | MapType::HashOfMaps)
    }

    /// Whether its values are programs.
    pub fn is_of_programs(&self) -> bool {
        self.map_type == MapType::ProgArray
    }

    /// Whether `inner` may be a value of this map of maps.
    pub fn takes(&self, inner: &MapSpec) -> bool {
        self.inner.is_some_and(|shape| shape.fits(inner))
    }

    /// Elements it has room for.
    pub fn entries(&self) -> u32 {
        match self.map_type {
            // It counts bytes.
            MapType::Ringbuf => 0,
            MapType::TaskStorage => task_storage::TASKS,
            _ => self.max_entries,
        }
    }

    /// Values of an element on `cpus` CPUs.
    pub(super) fn copies(&self, cpus: u32) -> u32 {
        if self.is_percpu() { cpus } else { 1 }
    }

    /// Bytes of a value as the control path reads and writes it: a per-CPU value for every CPU, each
    /// padded to 8 bytes.
    pub fn control_value_size(&self, cpus: u32) -> usize {
        match self.is_percpu() {
            true => self.value_size.next_multiple_of(8) as usize * cpus as usize,
            false => self.value_size as usize,
        }
    }
}
