//! Maps as they are made: which of an object's, of which sizes, and how much memory they take.

use std::io;

use abi::layout::{WASM_PAGE, values_base};
use abi::manifest::{Manifest, Map};
use abi::map_types::MapType;
use helpers::host::Errno;
use helpers::maps;

use super::Error;
use crate::device::MapSpec;
use crate::settings::Settings;

/// The maps to create: all but those that only describe the inner maps of another, each with such a description.
pub(crate) fn created(manifest: &Manifest) -> Vec<(&Map, Option<&Map>)> {
    let is_description = |i| manifest.maps.iter().any(|m| m.inner == Some(i));
    let maps = (0..)
        .zip(&manifest.maps)
        .filter(|(i, _)| !is_description(*i));
    let inner = |map: &Map| manifest.maps.get(map.inner? as usize);
    maps.map(|(_, map)| (map, inner(map))).collect()
}

/// Those of `described` that are made: all but maps of types that this runtime does not have, and but those that cannot be made
/// and that no program uses which is loaded by default. Why others are not made is noted.
pub(crate) fn made<'m>(
    manifest: &Manifest,
    described: Vec<(&'m Map, Option<&'m Map>)>,
    settings: &Settings,
    cpus: u32,
    notes: &mut Vec<String>,
) -> Result<Vec<(&'m Map, Option<&'m Map>)>, Error> {
    let mut made = Vec::new();
    for (map, inner) in described {
        let types = [Some(map), inner].map(|map| map.map(|map| map.map_type));
        let lacks = |ty: u32| MapType::from_id(ty).is_none_or(|ty| !ty.is_provided());
        let is_lacking = types.into_iter().flatten().any(lacks);
        match shape(&set(spec(map, inner, cpus), settings), cpus) {
            Ok(_) if !is_lacking => made.push((map, inner)),
            Err(why) if is_lacking || !is_needed(manifest, map) => {
                notes.push(format!("not made: {why}; what uses it is not attached"));
            }
            Ok(_) => notes.push(format!(
                "not made: map {}: this runtime has no such maps inside; what uses it is not attached",
                map.name
            )),
            Err(why) => return Err(why),
        }
    }
    Ok(made)
}

/// Whether `map` is a data section, or a program uses it that is loaded by default, or another map does.
fn is_needed(manifest: &Manifest, map: &Map) -> bool {
    let uses = |index: &u32| manifest.maps.get(*index as usize) == Some(map);
    let mut programs = manifest.programs.iter().filter(|p| p.autoload);
    let named = |other: &Map| other.values.iter().any(|value| value.name == map.name);
    map.data.is_some()
        || programs.any(|program| program.maps.iter().any(uses))
        || manifest.maps.iter().any(named)
}

/// `spec` with the size that a person chose.
pub(super) fn set<'m>(mut spec: MapSpec<'m>, settings: &Settings) -> MapSpec<'m> {
    let entries = settings.entries(spec.name).unwrap_or(spec.max_entries);
    spec.max_entries = rounded(spec.map_type, entries);
    spec
}

/// Entries of a hash whose size the object leaves to its tool.
const ENTRIES: u32 = 10_240;
/// The same of a stack trace map, and the frames of a stack.
const STACKS: u32 = 1024;
const FRAMES: u32 = 127;

/// Bytes of a value and entries of `map`. What an object leaves open is as libbpf has it (a perf event array: one entry a
/// CPU), or as the tools of libbpf-tools set it by default.
pub(crate) fn sizes(map: &Map, cpus: u32) -> (u32, u32) {
    let or = |size, default| if size == 0 { default } else { size };
    let (value, entries) = (map.value_size, map.max_entries);
    match MapType::from_id(map.map_type) {
        Some(MapType::PerfEventArray) => (value, or(entries, cpus)),
        Some(MapType::StackTrace) => (or(value, FRAMES * 8), or(entries, STACKS)),
        Some(MapType::Hash) => (value, or(entries, ENTRIES)),
        _ => (value, rounded(map.map_type, entries)),
    }
}

/// Entries of a map of `map_type` that is to have `entries` at least. Rings' are bytes, a power of two of pages: more, where
/// that is not such a number, as libbpf makes them.
fn rounded(map_type: u32, entries: u32) -> u32 {
    let is_ring = matches!(
        MapType::from_id(map_type),
        Some(MapType::Ringbuf | MapType::UserRingbuf)
    );
    match is_ring && entries != 0 {
        // What is too large for that the device refuses.
        true => entries
            .div_ceil(maps::PAGE)
            .next_power_of_two()
            .checked_mul(maps::PAGE)
            .unwrap_or(entries),
        false => entries,
    }
}

/// How to create `map`, whose maps `inner` describes.
pub(crate) fn spec<'m>(map: &'m Map, inner: Option<&Map>, cpus: u32) -> MapSpec<'m> {
    let (value_size, max_entries) = sizes(map, cpus);
    MapSpec {
        name: &map.name,
        map_type: map.map_type,
        key_size: map.key_size,
        value_size,
        max_entries,
        flags: map.flags,
        inner: inner.and_then(|inner| {
            Some(maps::Inner {
                map_type: MapType::from_id(inner.map_type)?,
                key_size: inner.key_size,
                value_size: inner.value_size,
                max_entries: rounded(inner.map_type, inner.max_entries),
                flags: inner.flags,
            })
        }),
    }
}

/// Bytes of linear memory the maps and the per-CPU areas need.
pub(super) fn memory(specs: &[MapSpec<'_>], spare: u64, cpus: u32) -> Result<u64, Error> {
    let mut bytes = u64::from(values_base(cpus)) + spare;
    for spec in specs {
        let (_, area) = shape(spec, cpus)?;
        bytes += area.next_multiple_of(64);
    }
    Ok(bytes.next_multiple_of(u64::from(WASM_PAGE)))
}

/// `spec` as the maps' own code has it, and the bytes of linear memory such a map takes.
pub(crate) fn shape(spec: &MapSpec<'_>, cpus: u32) -> Result<(maps::MapSpec, u64), Error> {
    let refuse = |why: String| Error::Map(spec.name.to_owned(), why);
    let map_type = MapType::from_id(spec.map_type)
        .ok_or_else(|| refuse(format!("unknown type {}", spec.map_type)))?;
    let shape = maps::MapSpec {
        map_type,
        key_size: spec.key_size,
        value_size: spec.value_size,
        max_entries: spec.max_entries,
        flags: spec.flags,
        inner: spec.inner,
    };
    let area = maps::area_bytes(&shape, cpus).map_err(|errno| {
        refuse(format!(
            "{} with key {}, value {}, {} entries, flags {:#x}: {}",
            map_type.name(),
            spec.key_size,
            spec.value_size,
            spec.max_entries,
            spec.flags,
            in_words(map_type, errno)
        ))
    })?;
    Ok((shape, area))
}

/// Why a map cannot be made.
fn in_words(map_type: MapType, errno: Errno) -> String {
    match map_type.is_provided() {
        true => io::Error::from_raw_os_error(errno.0).to_string(),
        false => "this runtime has no such maps".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(map_type: u32, max_entries: u32) -> MapSpec<'static> {
        MapSpec {
            name: "m",
            map_type,
            key_size: 4,
            value_size: 8,
            max_entries,
            flags: 0,
            inner: None,
        }
    }

    #[test]
    fn memory_holds_the_cpu_areas_and_the_maps() {
        let array = map(MapType::Array as u32, 10_000);
        let bytes = memory(&[array], 0, 2).unwrap();
        assert!(bytes >= u64::from(values_base(2)) + 80_000 && bytes.is_multiple_of(65536));
        assert!(memory(&[array], 1 << 20, 2).unwrap() >= bytes + (1 << 20) - 65536);
    }

    #[test]
    fn rings_are_as_large_as_libbpf_makes_them() {
        for (asked, bytes) in [
            (0, 0),
            (1, 4096),
            (4096, 4096),
            (5000, 8192),
            (3 * 4096, 16384),
            (1 << 31, 1 << 31),
            (u32::MAX, u32::MAX),
        ] {
            for ring in [MapType::Ringbuf, MapType::UserRingbuf] {
                assert_eq!(rounded(ring as u32, asked), bytes);
            }
            assert_eq!(rounded(MapType::Array as u32, asked), asked);
        }
    }

    #[test]
    fn maps_the_runtime_does_not_have_are_named() {
        let refusal = memory(&[map(99, 1)], 0, 2).unwrap_err().to_string();
        assert_eq!(refusal, "map m: unknown type 99");
        let refusal = memory(&[map(MapType::Array as u32, 0)], 0, 2)
            .unwrap_err()
            .to_string();
        assert!(refusal.starts_with("map m: array with key 4"), "{refusal}");
    }
}
