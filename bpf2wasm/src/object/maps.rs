//! Map definitions in `.maps`: a variable whose struct type says by its members' types what the map is.
//!
//! The conventions are libbpf's (`parse_btf_map_def`): `__uint(max_entries, N)` is a pointer to an
//! array of N elements, `__type(key, T)` a pointer to T, `__array(values, …)` a flexible array of pointers.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use alloc::{format, vec};

use abi::manifest::{Map, MapInit};
use abi::map_types::MapType;

use super::btf::{Btf, Kind, Member, Type};
use super::elf::{Elf, MAPS};
use crate::error::{Error, ObjectError, Result};

/// Maps so far, and where each is defined.
#[derive(Default)]
pub(crate) struct Maps {
    /// In import order.
    pub(crate) list: Vec<Map>,
    /// By (section, offset), the map defined there.
    places: BTreeMap<(usize, u64), usize>,
    /// By (section, offset), why what is defined there is no map.
    broken: BTreeMap<(usize, u64), Error>,
    /// Sections that are one map each: data sections.
    sections: BTreeMap<usize, usize>,
    /// Offset of the `values` array in the definition, for maps that have one.
    values: BTreeMap<usize, u64>,
}

/// What lies at an address in a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A map's definition.
    Map(usize),
    /// A byte of a data section.
    Data(usize, u32),
}

/// A map with nothing known but its name.
pub(super) fn unnamed(name: &str) -> Map {
    Map {
        name: name.to_owned(),
        map_type: 0,
        key_size: 0,
        value_size: 0,
        max_entries: 0,
        flags: 0,
        key_type: 0,
        value_type: 0,
        data: None,
        inner: None,
        values: vec![],
        pinned: false,
    }
}

/// Why the variable `name` is no map where only BTF could say which.
fn undescribed(name: &str) -> Error {
    let what = "the object's BTF does not describe it: compile with -g";
    Error::new(ObjectError::MapDefinition(name.to_owned(), what))
}

impl Maps {
    /// What lies at `offset` in `section`.
    pub(crate) fn at(&self, section: usize, offset: u64) -> Option<Place> {
        match self.sections.get(&section) {
            Some(map) => Some(Place::Data(*map, u32::try_from(offset).ok()?)),
            None => self
                .places
                .get(&(section, offset))
                .map(|map| Place::Map(*map)),
        }
    }

    /// The data section that `section` is.
    pub(super) fn data(&self, section: usize) -> Option<&Map> {
        self.sections.get(&section).map(|map| &self.list[*map])
    }

    /// Why there is no map at `offset` in `section`, if one is defined there that makes no sense.
    pub(super) fn broken(&self, section: usize, offset: u64) -> Option<&Error> {
        self.broken.get(&(section, offset))
    }

    /// Why maps that the object defines are not among these.
    pub(super) fn left_out(&self) -> Vec<Error> {
        self.broken.values().cloned().collect()
    }

    /// Whether the object defines none.
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty() && self.broken.is_empty()
    }

    /// Notes why what is defined at `place` is no map. Programs that use it are refused, not the object.
    pub(super) fn note(&mut self, place: (usize, u64), defined: Result<()>) {
        if let Err(error) = defined {
            self.broken.insert(place, error);
        }
    }

    /// Adds a map defined at `place`.
    pub(super) fn add(&mut self, map: Map, place: (usize, u64)) -> Result<usize> {
        let index = self.push(map)?;
        self.places.insert(place, index);
        Ok(index)
    }

    /// Adds a map that is all of `section`.
    pub(super) fn add_section(&mut self, map: Map, section: usize) -> Result<()> {
        let index = self.push(map)?;
        self.sections.insert(section, index);
        Ok(())
    }

    /// Whether there can be such a map beside the others.
    fn fits(&self, map: &Map) -> Result<()> {
        if self.list.iter().any(|m| m.name == map.name) {
            return Err(Error::new(ObjectError::Duplicate(map.name.clone())));
        }
        if MapType::from_id(map.map_type).is_none() {
            let error = ObjectError::MapType(map.name.clone(), map.map_type);
            return Err(Error::new(error));
        }
        Ok(())
    }

    fn push(&mut self, map: Map) -> Result<usize> {
        self.fits(&map)?;
        self.list.push(map);
        Ok(self.list.len() - 1)
    }

    /// Adds the maps of `.maps`, in the order they lie there.
    pub(super) fn add_btf(&mut self, elf: &Elf<'_>, btf: Option<&Btf>) {
        let Some((section, _)) = elf.section(MAPS) else {
            return;
        };
        let mut symbols: Vec<_> = elf.symbols_in(section).collect();
        symbols.sort_by_key(|s| s.value);
        for symbol in symbols {
            let place = (section, symbol.value);
            let defined = match btf {
                Some(btf) => self.define(btf, symbol.name, place),
                None => Err(undescribed(symbol.name)),
            };
            self.note(place, defined);
        }
    }

    /// Adds the map that the variable `name` describes; where it has an inner map, that one follows it.
    fn define(&mut self, btf: &Btf, name: &str, place: (usize, u64)) -> Result<()> {
        let bad = |what| Error::new(ObjectError::MapDefinition(name.to_owned(), what));
        let var = btf.find(name, Kind::Var).ok_or_else(|| undescribed(name))?;
        let ty = var.target().and_then(|id| btf.resolve(id));
        let ty = ty
            .filter(|t| t.kind == Kind::Struct)
            .ok_or_else(|| bad("not a struct"))?;
        let (map, values) = describe(btf, name, ty).map_err(bad)?;
        let of_maps = matches!(
            MapType::from_id(map.map_type),
            Some(MapType::ArrayOfMaps | MapType::HashOfMaps)
        );
        let inner = match &values {
            Some(values) if of_maps => {
                let inner = btf.resolve(values.type_id).and_then(|t| t.array());
                let inner = inner.and_then(|a| pointee(btf, a.element));
                let inner = inner.ok_or_else(|| bad("values: not an array of pointers"))?;
                let (mut inner, _) = describe(btf, &format!("{name}.inner"), inner).map_err(bad)?;
                inner.pinned = false;
                Some(inner)
            }
            _ => None,
        };
        inner.as_ref().map_or(Ok(()), |inner| self.fits(inner))?;
        let index = self.add(map, place)?;
        let Some(values) = values else { return Ok(()) };
        self.values.insert(index, u64::from(values.bit_offset / 8));
        if let Some(inner) = inner {
            self.list[index].inner = Some(self.push(inner)? as u32);
        }
        Ok(())
    }

    /// Reads which maps or programs the relocations of `.maps` put into `values` arrays.
    pub(super) fn add_initial_values(&mut self, elf: &Elf<'_>) {
        let Some((section, contents)) = elf.section(MAPS) else {
            return;
        };
        for relocation in &contents.relocations {
            let Some(symbol) = elf.symbols.get(relocation.symbol) else {
                continue;
            };
            let before = self
                .places
                .range((section, 0)..=(section, relocation.offset));
            let Some(((_, start), index)) = before.last().map(|(k, v)| (*k, *v)) else {
                continue;
            };
            let first = self.values.get(&index).map(|values| start + values);
            let Some(at) = first.and_then(|first| relocation.offset.checked_sub(first)) else {
                continue;
            };
            let name = symbol.name.to_owned();
            self.list[index].values.push(MapInit {
                index: (at / 8) as u32,
                name,
            });
        }
    }
}

/// The map that `ty` describes, and its member `values`.
fn describe<'a>(
    btf: &'a Btf,
    name: &str,
    ty: Type<'a>,
) -> Result<(Map, Option<Member<'a>>), &'static str> {
    let mut map = unnamed(name);
    let mut values = None;
    for member in ty.members() {
        let number = || {
            pointed_count(btf, member.type_id).ok_or("a __uint member is no pointer to an array")
        };
        let typed = || pointee_id(btf, member.type_id).ok_or("a __type member is no pointer");
        match member.name {
            "type" => map.map_type = number()?,
            "max_entries" => map.max_entries = number()?,
            "map_flags" => map.flags = number()?,
            "key_size" => map.key_size = number()?,
            "value_size" => map.value_size = number()?,
            "key" => {
                map.key_type = typed()?;
                map.key_size = btf.size_of(map.key_type).ok_or("the key has no size")?;
            }
            "value" => {
                map.value_type = typed()?;
                map.value_size = btf.size_of(map.value_type).ok_or("the value has no size")?;
            }
            "pinning" => map.pinned = number()? != 0,
            "values" => values = Some(member),
            // Where and how the kernel lays it out; this runtime has one way.
            "numa_node" | "map_extra" => {}
            _ => return Err("a member this version does not know"),
        }
    }
    // Maps that refer to others hold 32-bit descriptors.
    if values.is_some() {
        map.key_size = map.key_size.max(4);
        map.value_size = 4;
    }
    Ok((map, values))
}

/// N, of a pointer to an array of N elements.
fn pointed_count(btf: &Btf, id: u32) -> Option<u32> {
    pointee(btf, id)?.array().map(|a| a.count)
}

/// The type a pointer points to, typedefs kept.
fn pointee_id(btf: &Btf, id: u32) -> Option<u32> {
    btf.resolve(id).filter(|t| t.kind == Kind::Ptr)?.target()
}

/// The type a pointer points to, behind typedefs.
fn pointee(btf: &Btf, id: u32) -> Option<Type<'_>> {
    btf.resolve(pointee_id(btf, id)?)
}
