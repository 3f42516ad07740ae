//! Elements of the kernel's maps, a per-CPU value as the module's maps have it: all CPUs', each padded.

use anyhow::Result;
use libbpf_rs::{ErrorKind, MapCore, MapFlags};

use super::super::Elements;

/// The value at `key`, if it is there.
pub(crate) fn lookup(map: &impl MapCore, key: &[u8]) -> Result<Option<Vec<u8>>> {
    if !map.map_type().is_percpu() {
        return Ok(map.lookup(key, MapFlags::ANY)?);
    }
    let each = each(map);
    let values = map.lookup_percpu(key, MapFlags::ANY)?;
    Ok(values.map(|values| {
        let padded = values.into_iter().flat_map(|mut value| {
            value.resize(each, 0);
            value
        });
        padded.collect()
    }))
}

/// Every element, sorted by key.
pub(crate) fn all(map: &impl MapCore) -> Result<Elements> {
    let mut elements = Vec::new();
    for key in map.keys() {
        // An element deleted meanwhile is simply not there.
        if let Some(value) = lookup(map, &key)? {
            elements.push((key, value));
        }
    }
    elements.sort();
    Ok(elements)
}

/// Sets the value at `key`, if the flags have it so.
pub(crate) fn update(map: &impl MapCore, key: &[u8], value: &[u8], flags: MapFlags) -> Result<()> {
    if !map.map_type().is_percpu() {
        return Ok(map.update(key, value, flags)?);
    }
    let values: Vec<_> = value.chunks_exact(each(map)).map(<[u8]>::to_vec).collect();
    Ok(map.update_percpu(key, &values, flags)?)
}

/// Removes `key`; whether it was there.
pub(crate) fn delete(map: &impl MapCore, key: &[u8]) -> Result<bool> {
    match map.delete(key) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        other => Ok(other.map(|()| true)?),
    }
}

/// Bytes of one CPU's value.
fn each(map: &impl MapCore) -> usize {
    (map.value_size() as usize).next_multiple_of(8)
}
