//! The front end: an ELF object becomes functions, maps, data and what refers to what.
//!
//! | file | from | to |
//! |---|---|---|
//! | `embedded` | any file | the BPF objects in it |
//! | `elf` | an object | sections, symbols, relocations |
//! | `btf` | `.BTF` | types |
//! | `maps`, `legacy` | `.maps`, `maps` | map definitions |
//! | `data` | `.rodata*`, `.data*`, `.bss*`, `.kconfig` | data sections |
//! | `externs` | undefined symbols | what the target kernel provides |
//! | `function` | | what a function is, for all of these |
//! | `programs` | code sections | functions, and which of them are programs |
//! | `raw` | bare instructions | the same, without an object file |
//! | `reloc` | relocations | what each instruction refers to |
//! | `ext`, `core` | `.BTF.ext` | CO-RE relocations, source lines |

pub mod btf;
mod core;
mod data;
mod elf;
pub(crate) mod embedded;
mod ext;
mod externs;
mod function;
mod legacy;
mod maps;
mod programs;
pub(crate) mod raw;
mod reloc;

use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use abi::manifest::{CoreRelocation, Extern, Map, Sent};
use abi::map_types::MapType;

use crate::Options;
use crate::error::{Error, ObjectError, Result};
use crate::isa::insn::Ref;
use crate::isa::table::Form;
use btf::Btf;
pub(crate) use core::KINDS as CORE_KINDS;
use elf::Elf;
pub(crate) use function::{Function, Program};

/// An object, as far as a translation needs it.
pub(crate) struct Object<'a> {
    /// The `license` section.
    pub(crate) license: String,
    /// The bytes of `.BTF`; empty if there is none.
    pub(crate) btf: &'a [u8],
    /// Programs and subprograms.
    pub(crate) functions: Vec<Function>,
    /// Maps, then data sections.
    pub(crate) maps: Vec<Map>,
    /// Maps that are not among them, because their definitions make no sense.
    pub(crate) left_out: Vec<Error>,
    /// Initial bytes of all data sections.
    pub(crate) data: Vec<u8>,
    /// What the target kernel provides.
    pub(crate) externs: Vec<Extern>,
    /// Distinct CO-RE relocations.
    pub(crate) relocations: Vec<CoreRelocation>,
    /// What its maps send.
    pub(crate) sent: Vec<Sent>,
    /// The file, for what nobody needs of most objects.
    pub(crate) file: &'a [u8],
    /// Types and strings.
    types: Option<Btf>,
}

impl<'a> Object<'a> {
    /// Reads an object file.
    pub(crate) fn parse(bytes: &'a [u8], options: &Options) -> Result<Self> {
        let elf = Elf::parse(bytes)?;
        let raw_btf = elf.section(".BTF").map_or(&[][..], |(_, s)| s.data);
        let btf = if raw_btf.is_empty() {
            None
        } else {
            Some(Btf::parse(raw_btf)?)
        };
        let mut maps = maps::Maps::default();
        let mut externs = externs::Externs::read(&elf, btf.as_ref());
        maps.add_btf(&elf, btf.as_ref());
        maps.add_legacy(&elf);
        let data = data::add(&elf, btf.as_ref(), &mut externs, &mut maps)?;
        let mut functions = programs::read(&elf, options)?;
        if maps.is_empty() && !functions.iter().any(Function::is_program) {
            return Err(Error::new(ObjectError::Nothing));
        }
        let ext = match elf.section(".BTF.ext") {
            Some((_, section)) if btf.is_some() => ext::Ext::parse(section.data)?,
            _ => ext::Ext::default(),
        };
        maps.add_initial_values(&elf);
        reloc::resolve(&elf, &maps, &externs, &mut functions);
        let mut relocations = Vec::new();
        if let Some(btf) = &btf {
            relocations = core::resolve(btf, &ext, &mut functions);
            ext.add_lines(btf, &mut functions);
        }
        Ok(Object {
            license: license(&elf),
            btf: raw_btf,
            functions,
            left_out: maps.left_out(),
            maps: maps.list,
            data,
            externs: externs.list,
            relocations,
            sent: Vec::new(),
            file: bytes,
            types: btf,
        })
    }
}

impl Object<'_> {
    /// What the `ld_imm64`s of the object load.
    fn constants(&self) -> impl Iterator<Item = Ref> {
        let insns = self.functions.iter().flat_map(|f| &f.insns);
        let wide = insns.filter(|i| i.row.form == Form::Wide);
        wide.filter_map(|i| i.reference)
    }

    /// A string of BTF.
    pub(crate) fn string(&self, offset: u32) -> &str {
        self.types.as_ref().map_or("", |types| types.string(offset))
    }

    /// Whether an instruction takes the address of extern `index`.
    pub(crate) fn takes_address(&self, index: usize) -> bool {
        self.constants().any(|r| r == Ref::Extern(index))
    }

    /// Whether what an instruction loads says what there is: whether a type, a field or an enumerator exists, the address of a
    /// kernel symbol that may be missing.
    pub(crate) fn is_question(&self, reference: Ref) -> bool {
        match reference {
            Ref::Core(index) => {
                let kind = self.relocations[index].kind;
                CORE_KINDS[kind as usize].0.contains("exists") || kind == core::TYPE_MATCHES
            }
            Ref::Extern(index) => self.externs[index].weak,
            _ => false,
        }
    }

    /// The maps whose first element's address is taken.
    pub(crate) fn value_maps(&self) -> BTreeSet<usize> {
        self.constants()
            .filter_map(|r| {
                if let Ref::Value(map, _) = r {
                    Some(map)
                } else {
                    None
                }
            })
            .collect()
    }

    /// The array maps whose handles programs use.
    pub(crate) fn looked_up_arrays(&self) -> BTreeSet<usize> {
        let is_array = |index: &usize| {
            let map = &self.maps[*index];
            // What only describes inner maps has no elements.
            let describes = |other: &Map| other.inner == Some(*index as u32);
            let types = [MapType::Array, MapType::PercpuArray].map(|ty| ty as u32);
            let is_array = types.contains(&map.map_type) && map.data.is_none();
            is_array && map.key_size == 4 && !self.maps.iter().any(describes)
        };
        let maps = self.constants().filter_map(|r| match r {
            Ref::Map(map) => Some(map),
            _ => None,
        });
        maps.filter(is_array).collect()
    }
}

fn license(elf: &Elf<'_>) -> String {
    let bytes = elf.section("license").map_or(&[][..], |(_, s)| s.data);
    let text = bytes.split(|b| *b == 0).next().unwrap_or(&[]);
    String::from_utf8_lossy(text).to_string()
}
