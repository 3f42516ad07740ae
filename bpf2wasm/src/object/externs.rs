//! Undefined symbols: what the target kernel is to provide.
//!
//! BTF says in which section each is declared: `.kconfig` variables become bytes of a data section
//! that the loader fills, as libbpf does; `.ksyms` variables are addresses, `.ksyms` functions are called.

use alloc::borrow::ToOwned;
use alloc::vec::Vec;

use abi::manifest::{DataKind, DataSection, Extern, ExternKind, Symbol};

use super::btf::{Btf, Kind, Type};
use super::elf::Elf;

/// The externs of an object.
#[derive(Default)]
pub(crate) struct Externs {
    /// In import order.
    pub(crate) list: Vec<Extern>,
    /// Offset of each kconfig extern in the data section; 0 for the others.
    offsets: Vec<u32>,
    /// Sizes, likewise.
    sizes: Vec<u32>,
    /// The map that is `.kconfig`.
    pub(crate) kconfig_map: Option<usize>,
}

/// What a reference to an extern means.
pub(crate) enum Place {
    /// A byte of the `.kconfig` data section.
    Kconfig { map: usize, offset: u32 },
    /// A kernel symbol or function: its index.
    Kernel(usize),
}

impl Externs {
    /// Reads the undefined symbols that BTF declares.
    pub(super) fn read(elf: &Elf<'_>, btf: Option<&Btf>) -> Self {
        let mut externs = Externs::default();
        let Some(btf) = btf else { return externs };
        let mut end = 0u32;
        for section in [".kconfig", ".ksyms"] {
            let Some(datasec) = btf.find(section, Kind::Datasec) else {
                continue;
            };
            for ty in datasec.vars().filter_map(|v| btf.get(v.type_id)) {
                let symbol = elf
                    .symbols
                    .iter()
                    .find(|s| s.section.is_none() && s.name == ty.name);
                let Some(symbol) = symbol else { continue };
                let size = btf.size_of(ty.id).unwrap_or(8).max(1);
                let kind = kind(section, &ty);
                let offset = end.next_multiple_of(size.next_power_of_two().min(8));
                if kind == ExternKind::Kconfig {
                    end = offset.saturating_add(size);
                }
                externs.offsets.push(offset);
                externs.sizes.push(size);
                let (name, type_id) = (ty.name.to_owned(), ty.target().unwrap_or(0));
                externs.list.push(Extern {
                    name,
                    kind,
                    weak: symbol.weak,
                    type_id,
                });
            }
        }
        externs
    }

    /// The `.kconfig` data section and its size, if there is one.
    pub(super) fn kconfig(&self) -> Option<(DataSection, u32)> {
        let symbols: Vec<_> = (self.list.iter().zip(&self.offsets).zip(&self.sizes))
            .filter(|((e, _), _)| e.kind == ExternKind::Kconfig)
            .map(|((e, offset), size)| Symbol {
                name: e.name.clone(),
                offset: *offset,
                size: *size,
                type_id: e.type_id,
            })
            .collect();
        let size = symbols.iter().map(|s| s.offset + s.size).max()?;
        Some((
            DataSection {
                kind: DataKind::Kconfig,
                init: None,
                symbols,
            },
            size,
        ))
    }

    /// What the undefined symbol `name` is.
    pub(crate) fn find(&self, name: &str) -> Option<Place> {
        let index = self.list.iter().position(|e| e.name == name)?;
        Some(match (self.list[index].kind, self.kconfig_map) {
            (ExternKind::Kconfig, Some(map)) => Place::Kconfig {
                map,
                offset: self.offsets[index],
            },
            _ => Place::Kernel(index),
        })
    }
}

fn kind(section: &str, ty: &Type<'_>) -> ExternKind {
    match (section, ty.kind) {
        (".kconfig", _) => ExternKind::Kconfig,
        (_, Kind::Func) => ExternKind::Kfunc,
        _ => ExternKind::Ksym,
    }
}
