//! What a translated module says about itself: the JSON in its `bpf2wasm.manifest` custom section.
//!
//! The kernel module never reads it, but for the licence, which has a section of its own; the loader does, and trusts it no
//! further than the kernel's own checks go.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::map_types::MapType;
use crate::sections::Attach;

/// Custom section of the manifest.
pub const SECTION: &str = "bpf2wasm.manifest";
/// Custom section of the object's BTF, as in the object's `.BTF`.
pub const BTF_SECTION: &str = ".BTF";
/// Custom section of the initial bytes of all data sections; [`DataSection::init`] points into it.
pub const DATA_SECTION: &str = "bpf2wasm.data";
/// Custom section of the licence's text, as in the object's `license` section: what the kernel module reads.
pub const LICENSE_SECTION: &str = "bpf2wasm.license";
/// Custom section of the source lines ([`Lines`], JSON); absent where the object has none.
pub const LINES_SECTION: &str = "bpf2wasm.lines";
/// Custom section of what maps send ([`Sent`] each, JSON); absent where none sends anything.
pub const EVENTS_SECTION: &str = "bpf2wasm.events";
/// Version of this format. A loader refuses any other.
pub const VERSION: u32 = 1;

macro_rules! manifest {
    ($($(#[$meta:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $ty:ty,)* })*) => {
        $(#[derive(Clone, Debug, PartialEq, Eq)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        $(#[$meta])*
        pub struct $name {
            $($(#[$field_doc])* pub $field: $ty,)*
        })*
    };
}

manifest! {
    /// The whole manifest.
    Manifest {
        /// [`VERSION`].
        version: u32,
        /// Name and version of the translator.
        translator: String,
        /// Name of the object, as given to the translator.
        object: String,
        /// The `license` section's string; empty where there is none.
        license: String,
        /// Programs, in the object's order.
        programs: Vec<Program>,
        /// Programs of the object that are not among them.
        #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Vec::is_empty"))]
        refused: Vec<Refused>,
        /// Maps and data sections, in the order of their imports.
        maps: Vec<Map>,
        /// CO-RE relocations, in the order of their imports.
        relocations: Vec<CoreRelocation>,
        /// kconfig externs (bytes of the data section `.kconfig`), then ksym and kfunc externs in the
        /// order of their imports.
        externs: Vec<Extern>,
        /// Every translated function, by increasing `site`.
        functions: Vec<Function>,
        /// Bytes of stack the deepest call chain uses.
        stack: u32,
    }

    /// A program: something that can be attached.
    Program {
        /// The function's name in the object.
        name: String,
        /// The section as written, `?` included.
        section: String,
        /// Name of the wasm export, see [`crate::sections`].
        export: String,
        /// How it is attached.
        attach: Attach,
        /// What it is attached to, as the section says.
        target: Option<String>,
        /// Whether a loader loads it without being asked (no `?`).
        autoload: bool,
        /// Whether it may sleep.
        sleepable: bool,
        /// How many bytes of the context the program reads at most; `None` if not known.
        context: Option<u32>,
        /// Maps that it uses, by index; no data sections.
        #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Vec::is_empty"))]
        maps: Vec<u32>,
        /// What it calls that the runtimes of the translator's version lack. Reaching such a call traps, unless the
        /// runtime has it after all ([`crate::imports::PROVIDED`]).
        #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Vec::is_empty"))]
        lacks: Vec<Lack>,
    }

    /// A program that was not translated.
    Refused {
        /// The function's name in the object.
        name: String,
        /// The section as written, `?` included.
        section: String,
        /// Why.
        why: String,
    }

    /// A call of what the runtimes of the translator's version lack.
    Lack {
        /// What is called: an import (`bpf.NAME`, `kfunc.NAME`), or `helper NUMBER` that is in no table.
        callee: String,
        /// Where.
        site: u32,
        /// Whether it is only reached by way of a question of what there is (`bpf_core_*_exists`, `bpf_ksym_exists`).
        guarded: bool,
    }

    /// A map, or a data section, which is an array map of one element.
    Map {
        /// Its name; for a data section the section's (`.bss`).
        name: String,
        /// The kernel's number of the map type; see [`crate::map_types`].
        map_type: u32,
        /// Bytes of a key.
        key_size: u32,
        /// Bytes of a value.
        value_size: u32,
        /// How many elements; 0 where the loader is to choose.
        max_entries: u32,
        /// `map_flags`.
        flags: u32,
        /// BTF type of the key, 0 if unknown.
        key_type: u32,
        /// BTF type of the value, 0 if unknown; for a data section its `DATASEC`.
        value_type: u32,
        /// Set for data sections.
        data: Option<DataSection>,
        /// Set for maps of maps: index of the map whose shape the inner ones have. That one
        /// (`NAME.inner`) is only a description: it has no import and is not created.
        #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
        inner: Option<u32>,
        /// Initial elements of maps of maps and of program arrays.
        #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Vec::is_empty"))]
        values: Vec<MapInit>,
        /// `LIBBPF_PIN_BY_NAME`.
        #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "core::ops::Not::not"))]
        pinned: bool,
    }

    /// What a data section holds.
    DataSection {
        /// Its kind.
        kind: DataKind,
        /// Offset of the initial bytes in the custom section [`DATA_SECTION`]; `.bss` has none.
        init: Option<u32>,
        /// Variables, from the symbol table (BTF's sizes and offsets are 0 before linking).
        symbols: Vec<Symbol>,
    }

    /// A variable in a data section.
    Symbol {
        /// Its name.
        name: String,
        /// Bytes from the start of the section.
        offset: u32,
        /// Its size in bytes.
        size: u32,
        /// BTF type of the variable (the `VAR`'s target), 0 if unknown.
        type_id: u32,
    }

    /// An initial element of a map of maps or a program array.
    MapInit {
        /// The index it stands at.
        index: u32,
        /// Name of the map or program.
        name: String,
    }

    /// A CO-RE relocation: one import of module `core`.
    CoreRelocation {
        /// Name of the import: kind, root type and access string, made unique by the type id.
        import: String,
        /// `enum bpf_core_relo_kind`, the kernel's number.
        kind: u32,
        /// Root type in the object's BTF.
        type_id: u32,
        /// The access string, e.g. `0:1:2`.
        access: String,
        /// For a relocated load or store, the bytes it accesses: a target field of another size is
        /// [`crate::imports::resized`] if both are unsigned integers, else poison. 0 otherwise.
        access_bytes: u32,
    }

    /// A value or function the target kernel provides.
    Extern {
        /// Its name.
        name: String,
        /// Its kind.
        kind: ExternKind,
        /// Whether it may be missing (then 0).
        weak: bool,
        /// BTF type, 0 if unknown.
        type_id: u32,
    }

    /// A translated function and its place among all sites.
    Function {
        /// Its name.
        name: String,
        /// The section it comes from.
        section: String,
        /// Site of its first instruction. Instruction `i` (counting 8-byte slots) is site `site + i`.
        site: u32,
        /// How many 8-byte slots it has.
        slots: u32,
    }

    /// Source lines by site: what a trap's site means to a person.
    Lines {
        /// Source files.
        files: Vec<String>,
        /// By increasing site.
        lines: Vec<Line>,
    }

    /// What programs send through a map, as far as the object tells.
    Sent {
        /// The map's name.
        map: String,
        /// Bytes of an event; `None` where that depends, or differs.
        size: Option<u32>,
        /// What programs store into it, by place: each place as often as it is called otherwise.
        stores: Vec<Stored>,
        /// Its type in C's notation, a `struct` named as the map: from debug information, where the stores agree with it.
        debug: Option<String>,
    }

    /// A store into an event. Written as an array: there are many.
    #[cfg_attr(feature = "serde", serde(from = "StoredRow", into = "StoredRow"))]
    Stored {
        /// Bytes from the event's start.
        at: u32,
        /// How many bytes.
        size: u32,
        /// What they are.
        content: Content,
        /// The member, by the line of source that the store comes from; empty if that does not say.
        member: String,
        /// What people call what the helper gave that the value comes from; empty if none did.
        value: String,
    }

    /// The source of the instructions from one site up to the next. Written as an array: there are thousands.
    #[cfg_attr(feature = "serde", serde(from = "[u32; 4]", into = "[u32; 4]"))]
    Line {
        /// The first site.
        site: u32,
        /// Index into `files`.
        file: u32,
        /// Line, from 1.
        line: u32,
        /// Column, from 1; 0 if unknown.
        column: u32,
    }
}

/// What a store leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Content {
    /// Zeros, which what follows may overwrite.
    Zero,
    /// A number.
    Number,
    /// Text, up to its NUL.
    Text,
    /// Bytes.
    Bytes,
}

/// How a [`Stored`] is written: place, size, content, member, value.
#[cfg(feature = "serde")]
type StoredRow = (u32, u32, Content, String, String);

#[cfg(feature = "serde")]
impl From<StoredRow> for Stored {
    fn from((at, size, content, member, value): StoredRow) -> Self {
        Stored {
            at,
            size,
            content,
            member,
            value,
        }
    }
}

#[cfg(feature = "serde")]
impl From<Stored> for StoredRow {
    fn from(stored: Stored) -> Self {
        let Stored {
            at,
            size,
            content,
            member,
            value,
        } = stored;
        (at, size, content, member, value)
    }
}

impl Manifest {
    /// Maps that `program` uses of types that this version's runtimes lack, in words.
    pub fn lacking_maps(&self, program: &Program) -> Vec<String> {
        let used = program.maps.iter();
        let used = used.filter_map(|index| self.maps.get(*index as usize));
        used.filter_map(|map| {
            let ty = MapType::from_id(map.map_type);
            let lacks = ty.is_none_or(|ty| !ty.is_provided());
            let ty = ty.map_or("of an unknown type", MapType::name);
            lacks.then(|| format!("{} ({ty})", map.name))
        })
        .collect()
    }
}

impl From<[u32; 4]> for Line {
    fn from([site, file, line, column]: [u32; 4]) -> Self {
        Line {
            site,
            file,
            line,
            column,
        }
    }
}

impl From<Line> for [u32; 4] {
    fn from(line: Line) -> Self {
        [line.site, line.file, line.line, line.column]
    }
}

/// Which data section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum DataKind {
    /// `.rodata*`: set before load, constant after.
    Rodata,
    /// `.data*`: initialised, writable.
    Data,
    /// `.bss*`: zero, writable.
    Bss,
    /// `.kconfig`: the loader fills in every symbol before load, constant after; each is also an [`Extern`].
    Kconfig,
}

/// Where an extern's value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum ExternKind {
    /// The kernel's configuration, or libbpf's `LINUX_*` values.
    Kconfig,
    /// A kernel symbol's address.
    Ksym,
    /// A kernel function to call.
    Kfunc,
}
