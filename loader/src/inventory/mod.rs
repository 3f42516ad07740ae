//! Programs, maps and links that are loaded, whoever loaded them: those of the kernel module ([`module`]), and the kernel's own
//! eBPF ([`kernel`]), told and changed in the same way.

mod kernel;
mod module;

use abi::map_types::MapType;
use anyhow::Result;
use bpf2wasm::btf::Btf;
use serde::Serialize;

use crate::probe::Table;
use crate::profile::Profile;
use crate::session::Elements;

pub use kernel::Kernel;
pub use module::Device;

pub use crate::session::native::info::Kind;

/// A program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Program {
    /// The kernel's id; a module's programs have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    /// The kernel's name of its type.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub program_type: Option<String>,
    /// Its module's id, and its index in it.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// Its name, as C has it.
    pub name: String,
    /// Of a module's program, its export.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub export: Option<String>,
    /// Of the kernel's, the digest of its instructions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Runs; of the kernel's, those that were counted, while somebody had them timed.
    pub runs: u64,
    /// Events at which it could not run, for a program was under way on that CPU.
    pub misses: u64,
    /// Runs that ended in a trap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traps: Option<u64>,
}

/// Where a module's program is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The module's id.
    pub module: u32,
    /// The module's name.
    #[serde(skip)]
    pub module_name: String,
    /// Which of its programs.
    pub index: u32,
}

/// A program's attachment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Link {
    /// Its id.
    pub id: u32,
    /// How it is attached.
    #[serde(rename = "type")]
    pub attach: String,
    /// To what; nothing where the kernel does not tell.
    pub target: Option<String>,
    /// The program, as C names it.
    pub program: String,
    /// The program's module.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module: Option<u32>,
    /// That module's name.
    #[serde(skip)]
    pub module_name: Option<String>,
    /// Whether it outlives whoever made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pinned: Option<bool>,
}

/// What a map is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MapInfo {
    /// Its id.
    pub id: u32,
    /// Its type.
    #[serde(rename = "type")]
    pub map_type: String,
    /// Its name.
    pub name: String,
    /// Its module.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub module: Option<u32>,
    /// That module's name.
    #[serde(skip)]
    pub module_name: Option<String>,
    /// Bytes of a key.
    #[serde(rename = "bytes_key")]
    pub key_size: u32,
    /// Bytes of a value.
    #[serde(rename = "bytes_value")]
    pub value_size: u32,
    /// Elements at most.
    pub max_entries: u32,
}

/// What a map's keys and values are.
#[derive(Clone, Debug, Default)]
pub struct Types {
    /// Where the types are.
    pub btf: Option<Btf>,
    /// The key's; 0 if it is not known.
    pub key: u32,
    /// The value's.
    pub value: u32,
}

/// When an element may be set, as bpf(2) has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// In any case.
    #[default]
    Any = 0,
    /// Where there is none.
    NoExist = 1,
    /// Where there is one.
    Exist = 2,
}

impl Condition {
    /// Of bpftool's word.
    pub fn of(word: &str) -> Option<Self> {
        Some(match word {
            "any" => Condition::Any,
            "noexist" => Condition::NoExist,
            "exist" => Condition::Exist,
            _ => return None,
        })
    }
}

/// A map.
pub trait Map {
    /// What it is.
    fn info(&self) -> &MapInfo;
    /// Whether it is the one of that name.
    fn is_named(&self, name: &str) -> bool {
        self.info().name == name
    }
    /// What its keys and values are.
    fn types(&self) -> Result<Types>;
    /// Bytes of the value at a key: of a per-CPU map, all CPUs'.
    fn value_bytes(&self) -> Result<usize>;
    /// The value at `key`, if it is there.
    fn lookup(&self, key: &[u8]) -> Result<Option<Vec<u8>>>;
    /// Sets the value at `key`.
    fn update(&self, key: &[u8], value: &[u8], condition: Condition) -> Result<()>;
    /// Removes `key`; whether it was there.
    fn delete(&self, key: &[u8]) -> Result<bool>;
    /// Every element.
    fn elements(&self) -> Result<Elements>;
    /// `elements` by their types, a per-CPU map's with the value of each CPU.
    fn table(&self, elements: &Elements) -> Result<Table>;
    /// How its data is shown.
    fn profile(&self) -> Result<Profile>;
}

/// What is loaded.
pub trait Inventory {
    /// Every program.
    fn programs(&self) -> Result<Vec<Program>>;
    /// Every link.
    fn links(&self) -> Result<Vec<Link>>;
    /// The id of the one that is pinned as `file` of the BPF file system.
    fn pinned(&self, kind: Kind, file: &str) -> Result<u32>;
    /// Every map.
    fn maps(&self) -> Result<Vec<Box<dyn Map + '_>>>;
}

/// What people call a type of maps.
fn type_name(map_type: u32) -> String {
    let known = MapType::from_id(map_type).map(MapType::name);
    known.map_or_else(|| format!("type {map_type}"), str::to_owned)
}
