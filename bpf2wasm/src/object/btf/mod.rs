//! BTF: parsing and look-ups, for an object's `.BTF` and for a kernel's `vmlinux` alike.
//!
//! Types stay in their encoded form; parsing records where each one begins (a pass over the bytes),
//! so that the 5 MB of a kernel are ready in milliseconds. The format is the kernel's
//! `Documentation/bpf/btf.rst` and `include/uapi/linux/btf.h`.
//!
//! # Invariants
//! After [`Btf::parse`] every type's record lies wholly inside the type section. Type ids inside
//! records are still allegations: every look-up answers `None` for one that does not exist, and
//! chains are followed for a bounded number of steps.

mod ty;

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

pub use ty::{Array, Enumerator, Member, Param, Type, Var};

/// Steps after which a chain of modifiers or arrays counts as cyclic (the kernel's
/// `MAX_RESOLVE_DEPTH` is 32).
const MAX_CHAIN: usize = 64;
const MAGIC: u16 = 0xeb9f;
/// Bytes of `struct btf_header`.
const HEADER: usize = 24;

macro_rules! kinds {
    ($($(#[$doc:meta])* $id:literal $name:ident, $fixed:literal + $each:literal;)*) => {
        /// `BTF_KIND_*`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind {
            $($(#[$doc])* $name = $id,)*
        }

        impl Kind {
            fn from_id(id: u32) -> Option<Self> {
                match id {
                    $($id => Some(Kind::$name),)*
                    _ => None,
                }
            }

            /// Bytes that follow the common record: a fixed part, and a part for each of `vlen`.
            fn tail(self, vlen: usize) -> usize {
                match self {
                    $(Kind::$name => $fixed + $each * vlen,)*
                }
            }
        }
    };
}

kinds! {
    /// `void`, type 0; never encoded.
    0 Void, 0 + 0;
    /// An integer.
    1 Int, 4 + 0;
    /// A pointer.
    2 Ptr, 0 + 0;
    /// An array.
    3 Array, 12 + 0;
    /// A structure.
    4 Struct, 0 + 12;
    /// A union.
    5 Union, 0 + 12;
    /// An enumeration of 32-bit values.
    6 Enum, 0 + 8;
    /// A struct, union or enum that is only declared.
    7 Fwd, 0 + 0;
    /// A typedef.
    8 Typedef, 0 + 0;
    /// `volatile`.
    9 Volatile, 0 + 0;
    /// `const`.
    10 Const, 0 + 0;
    /// `restrict`.
    11 Restrict, 0 + 0;
    /// A function.
    12 Func, 0 + 0;
    /// A function's prototype.
    13 FuncProto, 0 + 8;
    /// A global variable.
    14 Var, 4 + 0;
    /// A data section and its variables.
    15 Datasec, 0 + 12;
    /// A floating-point number.
    16 Float, 0 + 0;
    /// `btf_decl_tag`.
    17 DeclTag, 4 + 0;
    /// `btf_type_tag`.
    18 TypeTag, 0 + 0;
    /// An enumeration of 64-bit values.
    19 Enum64, 0 + 12;
}

/// Why BTF could not be parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BtfError {
    /// The header is cut short or its magic is wrong.
    Header,
    /// The type or string section lies outside the data.
    Sections,
    /// The record at this offset in the type section is cut short.
    Truncated(usize),
    /// The record at this offset has a kind this format version does not know.
    Kind(usize, u32),
}

impl fmt::Display for BtfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BtfError::Header => f.write_str("bad BTF header"),
            BtfError::Sections => f.write_str("BTF sections lie outside the data"),
            BtfError::Truncated(at) => write!(f, "BTF type at offset {at} is cut short"),
            BtfError::Kind(at, kind) => {
                write!(f, "BTF type at offset {at} has unknown kind {kind}")
            }
        }
    }
}

impl core::error::Error for BtfError {}

/// Parsed BTF.
#[derive(Clone)]
pub struct Btf {
    types: Vec<u8>,
    strings: Vec<u8>,
    /// Where each type begins in `types`; index 0 is type `first`.
    offsets: Vec<u32>,
    /// Ids below belong to the base BTF (1 where there is none: `void` is 0).
    first: u32,
    /// String offsets below belong to the base BTF.
    first_string: u32,
    base: Option<Arc<Btf>>,
    big_endian: bool,
}

impl fmt::Debug for Btf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Btf({} types)", self.len())
    }
}

impl Btf {
    /// Parses the contents of a `.BTF` section or of `/sys/kernel/btf/vmlinux`.
    pub fn parse(data: &[u8]) -> Result<Self, BtfError> {
        Self::parse_over(data, None)
    }

    /// Parses the BTF of a kernel module, whose ids continue those of `base`.
    pub fn parse_split(data: &[u8], base: Arc<Btf>) -> Result<Self, BtfError> {
        Self::parse_over(data, Some(base))
    }

    fn parse_over(data: &[u8], base: Option<Arc<Btf>>) -> Result<Self, BtfError> {
        let header = data.get(..HEADER).ok_or(BtfError::Header)?;
        let big_endian = match [header[0], header[1]] {
            m if u16::from_le_bytes(m) == MAGIC => false,
            m if u16::from_be_bytes(m) == MAGIC => true,
            _ => return Err(BtfError::Header),
        };
        let word = |at: usize| read_u32(header, at, big_endian).unwrap_or(0) as usize;
        let section = |offset: usize, len: usize| {
            let start = word(4).checked_add(offset)?;
            data.get(start..start.checked_add(len)?)
        };
        let types = section(word(8), word(12)).ok_or(BtfError::Sections)?;
        let strings = section(word(16), word(20)).ok_or(BtfError::Sections)?;
        Ok(Btf {
            offsets: index(types, big_endian)?,
            types: types.to_vec(),
            strings: strings.to_vec(),
            first: base.as_ref().map_or(1, |base| base.len()),
            first_string: base
                .as_ref()
                .map_or(0, |b| b.first_string + b.strings.len() as u32),
            base,
            big_endian,
        })
    }

    /// How many types there are, `void` and the base's included: ids are below it.
    pub fn len(&self) -> u32 {
        self.first + self.offsets.len() as u32
    }

    /// Whether there is no type but `void`.
    pub fn is_empty(&self) -> bool {
        self.len() == 1
    }

    /// Every type but `void`, by increasing id.
    pub fn types(&self) -> impl Iterator<Item = Type<'_>> {
        (1..self.len()).filter_map(|id| self.get(id))
    }

    /// All types whose names begin like this.
    pub fn types_beginning<'b>(&'b self, with: &str) -> impl Iterator<Item = Type<'b>> {
        self.beginning(1, with)
    }

    /// As [`Btf::types_beginning`], without the base's.
    pub fn own_types_beginning<'b>(&'b self, with: &str) -> impl Iterator<Item = Type<'b>> {
        self.beginning(self.first, with)
    }

    fn beginning<'b>(&'b self, from: u32, with: &str) -> impl Iterator<Item = Type<'b>> {
        let begins = move |id: &u32| self.name_begins(*id, with.as_bytes());
        let ids = (from..self.len()).filter(begins);
        ids.filter_map(|id| self.get(id))
    }

    /// Looks at no more of the name than it must.
    fn name_begins(&self, id: u32, with: &[u8]) -> bool {
        let base = self.base.as_ref();
        let Some(slot) = id.checked_sub(self.first) else {
            return base.is_some_and(|base| base.name_begins(id, with));
        };
        let Some(at) = self.offsets.get(slot as usize) else {
            return false;
        };
        let name = self.word(*at as usize);
        match name.checked_sub(self.first_string) {
            Some(at) => {
                let rest = self.strings.get(at as usize..);
                rest.is_some_and(|rest| rest.starts_with(with))
            }
            None => base.is_some_and(|base| base.string(name).as_bytes().starts_with(with)),
        }
    }

    /// Type `id`.
    pub fn get(&self, id: u32) -> Option<Type<'_>> {
        if id == 0 {
            return Some(self.void());
        }
        let Some(slot) = id.checked_sub(self.first) else {
            return self.base.as_ref()?.get(id);
        };
        let at = *self.offsets.get(slot as usize)? as usize;
        let info = self.word(at + 4);
        Some(Type {
            btf: self,
            id,
            name: self.string(self.word(at)),
            kind: Kind::from_id(info >> 24 & 0x1f)?,
            flag: info >> 31 != 0,
            raw: self.word(at + 8),
            vlen: (info & 0xffff) as usize,
            tail: at + 12,
        })
    }

    fn void(&self) -> Type<'_> {
        let (kind, name) = (Kind::Void, "void");
        Type {
            btf: self,
            id: 0,
            name,
            kind,
            flag: false,
            raw: 0,
            vlen: 0,
            tail: 0,
        }
    }

    /// The first type of this name and kind.
    pub fn find(&self, name: &str, kind: Kind) -> Option<Type<'_>> {
        let mut types = self.types_beginning(name);
        types.find(|ty| ty.kind == kind && ty.name == name)
    }

    /// The type behind typedefs and qualifiers.
    pub fn resolve(&self, id: u32) -> Option<Type<'_>> {
        let mut ty = self.get(id)?;
        for _ in 0..MAX_CHAIN {
            match ty.kind {
                Kind::Typedef | Kind::Const | Kind::Volatile | Kind::Restrict | Kind::TypeTag => {
                    ty = self.get(ty.raw)?;
                }
                _ => return Some(ty),
            }
        }
        None
    }

    /// The size of a value of type `id` in bytes.
    pub fn size_of(&self, id: u32) -> Option<u32> {
        let mut count = 1u32;
        let mut ty = self.resolve(id)?;
        for _ in 0..MAX_CHAIN {
            match ty.kind {
                Kind::Ptr => return count.checked_mul(8),
                Kind::Array => {
                    let array = ty.array()?;
                    count = count.checked_mul(array.count)?;
                    ty = self.resolve(array.element)?;
                }
                Kind::Var => ty = self.resolve(ty.raw)?,
                _ => return count.checked_mul(ty.size()?),
            }
        }
        None
    }

    /// The string at `offset` in the string section; empty where there is none.
    pub fn string(&self, offset: u32) -> &str {
        let Some(at) = offset.checked_sub(self.first_string) else {
            return self.base.as_ref().map_or("", |base| base.string(offset));
        };
        let rest = self.strings.get(at as usize..).unwrap_or(&[]);
        let end = rest.iter().position(|&b| b == 0).unwrap_or(0);
        core::str::from_utf8(&rest[..end]).unwrap_or("")
    }

    fn word(&self, at: usize) -> u32 {
        read_u32(&self.types, at, self.big_endian).unwrap_or(0)
    }
}

/// `name` without its flavour: `task_struct___old` is `task_struct`. A flavour is set off by exactly three
/// underscores with something else on both sides.
pub fn essential(name: &str) -> &str {
    let bytes = name.as_bytes();
    let separator = |w: &[u8]| w[0] != b'_' && w[1..4] == *b"___" && w[4] != b'_';
    match bytes.windows(5).rposition(separator) {
        Some(at) => name.get(..=at).unwrap_or(name),
        None => name,
    }
}

/// Where each type of `types` begins.
fn index(types: &[u8], big_endian: bool) -> Result<Vec<u32>, BtfError> {
    let mut offsets = Vec::with_capacity(types.len() / 24);
    let mut at = 0;
    while at < types.len() {
        let info = read_u32(types, at + 4, big_endian).ok_or(BtfError::Truncated(at))?;
        let id = info >> 24 & 0x1f;
        let kind = Kind::from_id(id).filter(|k| *k != Kind::Void);
        let kind = kind.ok_or(BtfError::Kind(at, id))?;
        offsets.push(at as u32);
        let next = at + 12 + kind.tail((info & 0xffff) as usize);
        if next > types.len() {
            return Err(BtfError::Truncated(at));
        }
        at = next;
    }
    Ok(offsets)
}

fn read_u32(data: &[u8], at: usize, big_endian: bool) -> Option<u32> {
    let bytes: [u8; 4] = data.get(at..at.checked_add(4)?)?.try_into().ok()?;
    Some(if big_endian {
        u32::from_be_bytes(bytes)
    } else {
        u32::from_le_bytes(bytes)
    })
}

/// Renders a type as C would name it, for people: `struct task_struct *`, `__u32[4]`.
pub fn describe(btf: &Btf, id: u32) -> String {
    use alloc::format;
    fn inner(btf: &Btf, id: u32, depth: usize) -> String {
        let Some(ty) = btf.get(id).filter(|_| depth < MAX_CHAIN) else {
            return String::from("?");
        };
        let name = if ty.name.is_empty() {
            "(anon)"
        } else {
            ty.name
        };
        let target = |prefix: &str, suffix: &str| {
            format!("{prefix}{}{suffix}", inner(btf, ty.raw, depth + 1))
        };
        match ty.kind {
            Kind::Ptr => target("", " *"),
            Kind::Const => target("const ", ""),
            Kind::Volatile => target("volatile ", ""),
            Kind::Restrict | Kind::TypeTag => target("", ""),
            Kind::Struct => format!("struct {name}"),
            Kind::Union => format!("union {name}"),
            Kind::Enum | Kind::Enum64 => format!("enum {name}"),
            Kind::Array => ty.array().map_or_else(String::new, |a| {
                format!("{}[{}]", inner(btf, a.element, depth + 1), a.count)
            }),
            Kind::FuncProto => String::from("function"),
            _ => String::from(name),
        }
    }
    inner(btf, id, 0)
}

#[cfg(test)]
mod tests {
    use super::essential;

    #[test]
    fn flavours_are_set_off_by_exactly_three_underscores() {
        for (name, without) in [
            ("task_struct", "task_struct"),
            ("task_struct___old", "task_struct"),
            ("a___b___c", "a___b"),
            ("a____b", "a____b"),
            ("___b", "___b"),
            ("a___", "a___"),
            ("", ""),
        ] {
            assert_eq!(essential(name), without);
        }
    }
}
