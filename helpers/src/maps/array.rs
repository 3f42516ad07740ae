//! `BPF_MAP_TYPE_ARRAY`, as `kernel/bpf/arraymap.c`: every element is always there.

use super::{EXIST, MapSpec, NOEXIST, Value};
use crate::guest::GuestMemory;
use crate::host::Errno;

/// `BPF_F_NUMA_NODE | BPF_F_RDONLY | BPF_F_WRONLY | BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG |
/// BPF_F_MMAPABLE | BPF_F_PRESERVE_ELEMS | BPF_F_INNER_MAP`: what `array_map_alloc_check` allows.
const FLAGS: u32 = 1 << 2 | 1 << 3 | 1 << 4 | 1 << 7 | 1 << 8 | 1 << 10 | 1 << 11 | 1 << 12;

pub(super) fn area_bytes(spec: &MapSpec) -> Result<u64, Errno> {
    if spec.key_size != 4
        || spec.value_size == 0
        || spec.max_entries == 0
        || spec.flags & !FLAGS != 0
    {
        return Err(Errno::EINVAL);
    }
    Ok(u64::from(stride(spec)?) * u64::from(spec.max_entries))
}

fn stride(spec: &MapSpec) -> Result<u32, Errno> {
    spec.value_size
        .checked_next_multiple_of(8)
        .ok_or(Errno::E2BIG)
}

#[derive(Debug)]
pub(super) struct Array {
    area: u32,
    stride: u32,
    spec: MapSpec,
}

impl Array {
    /// `spec` has passed [`area_bytes`], and that many bytes lie at `area`.
    pub(super) fn new(spec: &MapSpec, area: u32) -> Result<Self, Errno> {
        Ok(Self {
            area,
            stride: stride(spec)?,
            spec: *spec,
        })
    }

    pub(super) fn value(&self, index: u32) -> Option<u32> {
        (index < self.spec.max_entries).then(|| self.area + index * self.stride)
    }

    pub(super) fn update(
        &self,
        memory: &GuestMemory,
        index: u32,
        value: Value<'_>,
        flags: u64,
    ) -> Result<(), Errno> {
        if flags > EXIST {
            return Err(Errno::EINVAL);
        }
        let to = self.value(index).ok_or(Errno::E2BIG)?;
        if flags == NOEXIST {
            return Err(Errno::EEXIST);
        }
        let to = memory
            .at(to, u64::from(self.spec.value_size))
            .ok_or(Errno::EFAULT)?;
        value.store(to);
        Ok(())
    }

    pub(super) fn next_key(&self, index: Option<u32>, next: &mut [u8]) -> Result<(), Errno> {
        let index = match index {
            Some(index) if index == self.spec.max_entries - 1 => return Err(Errno::ENOENT),
            Some(index) if index < self.spec.max_entries => index + 1,
            _ => 0,
        };
        next.copy_from_slice(&index.to_ne_bytes());
        Ok(())
    }
}
