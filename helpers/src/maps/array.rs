//! `BPF_MAP_TYPE_ARRAY` and `BPF_MAP_TYPE_PERCPU_ARRAY`, as `kernel/bpf/arraymap.c`: every element is
//! always there.

use super::elements::Elements;
use super::{EXIST, MAX_PERCPU_VALUE, MapSpec, NOEXIST, Value};
use crate::guest::GuestMemory;
use crate::host::Errno;

/// `BPF_F_NUMA_NODE | BPF_F_RDONLY | BPF_F_WRONLY | BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG |
/// BPF_F_MMAPABLE | BPF_F_INNER_MAP`: what `array_map_alloc_check` allows.
const FLAGS: u32 = 1 << 2 | 1 << 3 | 1 << 4 | 1 << 7 | 1 << 8 | 1 << 10 | 1 << 12;
/// Of these, what a per-CPU array does not have: `BPF_F_NUMA_NODE`, `BPF_F_MMAPABLE`, `BPF_F_INNER_MAP`.
const NOT_PERCPU: u32 = 1 << 2 | 1 << 10 | 1 << 12;

pub(super) fn area_bytes(spec: &MapSpec, copies: u32) -> Result<u64, Errno> {
    let flags = if spec.is_percpu() {
        FLAGS & !NOT_PERCPU
    } else {
        FLAGS
    };
    if spec.key_size != 4
        || spec.value_size == 0
        || spec.max_entries == 0
        || spec.flags & !flags != 0
    {
        return Err(Errno::EINVAL);
    }
    if spec.value_size > i32::MAX as u32 || spec.is_percpu() && spec.value_size > MAX_PERCPU_VALUE {
        return Err(Errno::E2BIG);
    }
    Ok(Elements::bytes(spec.value_size, copies, spec.max_entries))
}

#[derive(Debug)]
pub(super) struct Array {
    elements: Elements,
    max_entries: u32,
}

impl Array {
    /// `spec` has passed [`area_bytes`], and that many bytes lie at `area`.
    pub(super) fn new(spec: &MapSpec, area: u32, copies: u32) -> Self {
        Self {
            elements: Elements::new(area, spec.value_size, copies, spec.max_entries),
            max_entries: spec.max_entries,
        }
    }

    pub(super) fn elements(&self) -> &Elements {
        &self.elements
    }

    pub(super) fn find(&self, index: u32) -> Option<u32> {
        (index < self.max_entries).then_some(index)
    }

    pub(super) fn update(
        &self,
        memory: &GuestMemory,
        cpu: u32,
        index: u32,
        value: Value<'_>,
        flags: u64,
    ) -> Result<(), Errno> {
        if flags > EXIST {
            return Err(Errno::EINVAL);
        }
        let index = self.find(index).ok_or(Errno::E2BIG)?;
        if flags == NOEXIST {
            return Err(Errno::EEXIST);
        }
        self.elements.store(memory, index, cpu, value)
    }

    pub(super) fn next_key(&self, index: Option<u32>, next: &mut [u8]) -> Result<(), Errno> {
        let index = match index {
            Some(index) if index == self.max_entries - 1 => return Err(Errno::ENOENT),
            Some(index) if index < self.max_entries => index + 1,
            _ => 0,
        };
        next.copy_from_slice(&index.to_ne_bytes());
        Ok(())
    }
}
