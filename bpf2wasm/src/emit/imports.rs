//! Imports of a module: the values first known from the object, the functions found while translating.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use abi::imports as names;
use abi::manifest::{Extern, ExternKind, Map};
use abi::map_types::MapType;

use super::body::Callee;
use crate::isa::insn::Ref;
use crate::isa::table::Shape;
use crate::object::Object;
use crate::object::btf::essential;

/// An array map whose elements translated code finds by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Array {
    /// The global of the address of its first element.
    pub(crate) values: u32,
    /// The global of how many elements it has.
    pub(crate) entries: u32,
    /// Bytes from one element to the next.
    pub(crate) stride: u32,
    /// Of an array that each CPU has its own elements of, the global of how far apart they are.
    pub(crate) apart: Option<u32>,
}

/// The indices of all imported i64 globals; `env.stack_base` is 0.
pub(crate) struct Globals {
    /// Module and name, in index order, from 1 on.
    pub(crate) imports: Vec<(&'static str, String)>,
    maps: Vec<u32>,
    values: Vec<u32>,
    /// Of arrays that programs look things up in.
    arrays: BTreeMap<usize, Array>,
    first_core: u32,
    externs: Vec<u32>,
    /// Of functions that this version's runtimes lack, whether they are there after all.
    provided: BTreeMap<Callee, u32>,
}

impl Globals {
    /// Nothing but `env.stack_base`.
    pub(crate) fn none() -> Self {
        Globals {
            imports: Vec::new(),
            maps: Vec::new(),
            values: Vec::new(),
            arrays: BTreeMap::new(),
            first_core: 0,
            externs: Vec::new(),
            provided: BTreeMap::new(),
        }
    }

    /// Lays out the globals of `object`: maps, CO-RE values, kernel symbols.
    pub(crate) fn new(object: &Object<'_>) -> Self {
        let mut imports = Vec::new();
        let mut add = |module, name: &String| {
            imports.push((module, name.clone()));
            imports.len() as u32
        };
        let mut maps = vec![0; object.maps.len()];
        for (index, map) in object.maps.iter().enumerate() {
            if !is_template(&object.maps, index) {
                maps[index] = add(names::MAP, &map.name);
            }
        }
        let mut values = vec![0; object.maps.len()];
        let looked_up = object.looked_up_arrays();
        for index in object.value_maps().union(&looked_up).copied() {
            values[index] = add(names::MAP_VALUE, &object.maps[index].name);
        }
        let array = |index: usize| {
            let map = &object.maps[index];
            let array = Array {
                values: values[index],
                entries: add(names::MAP_ENTRIES, &map.name),
                // One that is larger than any map can be is refused when the map is made.
                stride: map
                    .value_size
                    .checked_next_multiple_of(8)
                    .unwrap_or_default(),
                apart: (map.map_type == MapType::PercpuArray as u32)
                    .then(|| add(names::MAP_APART, &map.name)),
            };
            (index, array)
        };
        let arrays = looked_up.into_iter().map(array).collect();
        let mut first_core = 0;
        for relocation in &object.relocations {
            let index = add(names::CORE, &relocation.import);
            first_core = if first_core == 0 { index } else { first_core };
        }
        let mut externs = vec![0; object.externs.len()];
        for (index, external) in object.externs.iter().enumerate() {
            if external.kind == ExternKind::Ksym || object.takes_address(index) {
                externs[index] = add(names::KSYM, &external.name);
            }
        }
        let mut provided = BTreeMap::new();
        for callee in callees(object).filter(|callee| lacks(*callee, &object.externs)) {
            if let Some((module, name, _)) = describe(callee, &object.externs) {
                let global = provided.entry(callee);
                global.or_insert_with(|| add(names::PROVIDED, &format!("{module}.{name}")));
            }
        }
        Globals {
            imports,
            maps,
            values,
            arrays,
            first_core,
            externs,
            provided,
        }
    }

    /// If this version's runtimes lack `callee`: the global that says whether it is there after all, and its name.
    pub(crate) fn provided(&self, callee: Callee) -> Option<(u32, &str)> {
        let global = *self.provided.get(&callee)?;
        Some((global, &self.imports[global as usize - 1].1))
    }

    /// Map `index`, if it is an array whose elements can be found.
    pub(crate) fn array(&self, index: usize) -> Option<Array> {
        self.arrays.get(&index).copied()
    }

    /// The global of map `index`.
    pub(crate) fn map(&self, index: usize) -> u32 {
        self.maps[index]
    }

    /// The global of the address of map `index`'s first element.
    pub(crate) fn value(&self, index: usize) -> u32 {
        self.values[index]
    }

    /// The global of CO-RE relocation `index`.
    pub(crate) fn core(&self, index: usize) -> u32 {
        self.first_core + index as u32
    }

    /// The global of the address of extern `index`.
    pub(crate) fn external(&self, index: usize) -> u32 {
        self.externs[index]
    }
}

/// The helpers and kernel functions that an object calls.
fn callees(object: &Object<'_>) -> impl Iterator<Item = Callee> {
    let insns = object.functions.iter().flat_map(|f| &f.insns);
    insns.filter_map(|insn| match (&insn.row.shape, insn.reference) {
        (Shape::Helper | Shape::Kfunc | Shape::Local, Some(Ref::Extern(index))) => {
            Some(Callee::Kfunc(index))
        }
        (Shape::Helper, None) => Some(Callee::Helper(u32::try_from(insn.imm).ok()?)),
        _ => None,
    })
}

/// Whether this version's runtimes lack `callee`. What is in no table has no import.
fn lacks(callee: Callee, externs: &[Extern]) -> bool {
    match callee {
        Callee::Helper(id) => abi::helpers::by_id(id).is_some_and(|row| !row.provided),
        Callee::Kfunc(index) => {
            let name = externs.get(index).map_or("", |external| &external.name);
            !abi::helpers::is_provided(names::KFUNC, essential(name))
        }
        _ => false,
    }
}

/// Whether map `index` only describes the inner maps of another.
fn is_template(maps: &[Map], index: usize) -> bool {
    maps.iter().any(|m| m.inner == Some(index as u32))
}

/// The imported functions that the bodies call, and the indices of all functions.
pub(crate) struct Functions {
    /// Module, name, arity, in index order; `env.trap` has none.
    pub(crate) imports: Vec<(&'static str, String, u32)>,
    indices: BTreeMap<Callee, u32>,
}

impl Functions {
    /// Numbers the imports among `callees`, then the functions `defined`.
    pub(crate) fn new(
        callees: impl Iterator<Item = Callee>,
        defined: impl Iterator<Item = Callee>,
        externs: &[Extern],
    ) -> Self {
        let wanted: alloc::collections::BTreeSet<Callee> = callees.collect();
        let mut functions = Functions {
            imports: Vec::new(),
            indices: BTreeMap::new(),
        };
        for callee in wanted {
            if let Some(import) = describe(callee, externs) {
                functions
                    .indices
                    .insert(callee, functions.imports.len() as u32);
                functions.imports.push(import);
            }
        }
        functions
            .indices
            .extend(defined.zip(functions.imports.len() as u32..));
        functions
    }

    /// The index of `callee`.
    pub(crate) fn index(&self, callee: Callee) -> u32 {
        self.indices.get(&callee).copied().unwrap_or(u32::MAX)
    }
}

/// Module, name and arity of an imported function.
fn describe(callee: Callee, externs: &[Extern]) -> Option<(&'static str, String, u32)> {
    let by_bytes = |table: &[(&'static str, u32)], bytes| {
        table
            .iter()
            .find(|(_, b)| *b == bytes)
            .map(|(name, _)| String::from(*name))
    };
    Some(match callee {
        Callee::Trap => (names::ENV, names::TRAP.into(), 2),
        Callee::Helper(id) => {
            let row = abi::helpers::by_id(id)?;
            (names::BPF, row.name.into(), row.args.len() as u32)
        }
        Callee::TailCallWithin => (names::BPF, names::TAIL_CALL_WITHIN.into(), 4),
        Callee::TailCallResult => (names::BPF, names::TAIL_CALL_RESULT.into(), 0),
        Callee::PacketLoad(bytes) => (names::BPF, by_bytes(names::PACKET_LOADS, bytes)?, 2),
        Callee::ProbeLoad(bytes) => (names::BPF, by_bytes(names::PROBE_LOADS, bytes)?, 1),
        Callee::Atomic(index) => {
            let (name, op, _) = names::ATOMICS.get(index)?;
            let arity = if *op == names::AtomicOp::Cmpxchg {
                3
            } else {
                2
            };
            (names::ATOMIC, (*name).into(), arity)
        }
        Callee::Kfunc(index) => {
            // Flavours of a function tell prototypes apart that kernels have had of it.
            let name = essential(&externs.get(index)?.name);
            (names::KFUNC, name.into(), 5)
        }
        Callee::Local(_) | Callee::Resized(_) => return None,
    })
}
