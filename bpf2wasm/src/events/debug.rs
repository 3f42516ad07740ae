//! Types of events from the object's debug information (DWARF), where it has some: structs that no BTF has, as nothing but local
//! variables is of them.
//!
//! Of all structs of the right size, that one is taken whose members are where the stores say; of several such, none.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use abi::manifest::Sent;
use gimli::{
    AttributeValue, DebuggingInformationEntry, Dwarf, EndianSlice, LittleEndian, Unit, UnitOffset,
};
use object::read::elf::ElfFile64;
use object::{
    Endianness, Object as _, ObjectSection as _, ObjectSymbol as _, RelocationFlags,
    RelocationTarget,
};

use super::fit::{Agreement, Member, fit};
use super::notation;

type Bytes<'d> = EndianSlice<'d, LittleEndian>;
type Entry<'d> = DebuggingInformationEntry<Bytes<'d>>;

/// How deep types may nest.
const MAX_DEPTH: usize = 16;

/// A type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Type {
    /// One of the notation's.
    Scalar(&'static str, u32),
    /// What the notation cannot say: its bytes.
    Opaque(u32),
    /// Elements of it, and how many.
    Array(Box<Type>, u32),
    /// A struct or union.
    Composite(Composite),
}

/// A struct or union.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Composite {
    pub(super) is_union: bool,
    pub(super) size: u32,
    /// Name, place, type.
    pub(super) members: Vec<(String, u32, Type)>,
}

impl Type {
    /// How many bytes it has.
    pub(super) fn size(&self) -> u32 {
        match self {
            Type::Scalar(_, size) | Type::Opaque(size) => *size,
            Type::Array(of, count) => of.size().saturating_mul(*count),
            Type::Composite(composite) => composite.size,
        }
    }

    /// Its members at any depth, where it begins at `at` and is called `name`.
    fn collect(&self, name: &str, at: u32, into: &mut Vec<Member>) {
        let inner = match self {
            Type::Array(of, _) if matches!(**of, Type::Composite(_)) => of,
            _ => self,
        };
        let Type::Composite(composite) = inner else {
            return into.push(member(name, at, self.size(), true));
        };
        into.push(member(name, at, self.size(), false));
        let count = self.size() / composite.size.max(1);
        for element in 0..count.min(64) {
            for (name, place, ty) in &composite.members {
                ty.collect(name, at + element * composite.size + place, into);
            }
        }
    }
}

fn member(name: &str, at: u32, size: u32, leaf: bool) -> Member {
    Member {
        name: name.to_owned(),
        at,
        size,
        leaf,
    }
}

/// Gives each of `sent` the type that `file`'s debug information has for it.
pub(super) fn complete(file: &[u8], sent: &mut [Sent]) {
    // What cannot be read says nothing.
    let Some(sections) = sections(file) else {
        return;
    };
    let section = |id: gimli::SectionId| {
        let bytes = sections.get(id.name()).map_or(&[][..], Vec::as_slice);
        Ok::<_, gimli::Error>(EndianSlice::new(bytes, LittleEndian))
    };
    let Ok(dwarf) = Dwarf::load(section) else {
        return;
    };
    for sent in sent.iter_mut().filter(|sent| !sent.stores.is_empty()) {
        let mut best: Vec<(Agreement, Composite)> = Vec::new();
        // Of a unit that cannot be read, the structs before that place count.
        let _ = structs(&dwarf, &mut |composite| {
            consider(sent, composite, &mut best)
        });
        if let [(_, composite)] = &best[..] {
            sent.debug = Some(notation::write(&sent.map, composite));
        }
    }
}

/// Keeps `composite` among the `best` if it fits, and no better than them.
fn consider(sent: &Sent, composite: Composite, best: &mut Vec<(Agreement, Composite)>) {
    let mut members = Vec::new();
    let size = composite.size;
    Type::Composite(composite.clone()).collect("", 0, &mut members);
    let agreement = fit(sent, size, &members).ok();
    let Some(agreement) = agreement.filter(|agreement| agreement.named > 0) else {
        return;
    };
    let most = best.first().map_or(0, |(known, _)| known.named);
    if agreement.named > most {
        best.clear();
    }
    let is_known = best.iter().any(|(_, known)| *known == composite);
    if agreement.named >= most && !is_known {
        best.push((agreement, composite));
    }
}

/// The sections of debug information, by name, with their relocations applied.
fn sections(file: &[u8]) -> Option<BTreeMap<String, Vec<u8>>> {
    let elf = ElfFile64::<Endianness>::parse(file).ok()?;
    elf.section_by_name(".debug_info")?;
    let mut sections = BTreeMap::new();
    for section in elf.sections() {
        let name = section.name().unwrap_or_default();
        // No unit is read of which the lines and addresses are not there, although nobody asks for these.
        if !name.starts_with(".debug_") {
            continue;
        }
        let mut bytes = section.uncompressed_data().ok()?.into_owned();
        for (offset, relocation) in section.relocations() {
            let RelocationTarget::Symbol(symbol) = relocation.target() else {
                continue;
            };
            let value = elf.symbol_by_index(symbol).map_or(0, |s| s.address());
            relocate(&mut bytes, offset, relocation.flags(), value);
        }
        sections.insert(name.to_owned(), bytes);
    }
    Some(sections)
}

/// Adds a symbol's value to what is in its place already: BPF's addends are there.
fn relocate(bytes: &mut [u8], offset: u64, flags: RelocationFlags, value: u64) {
    /// `R_BPF_64_64` and `R_BPF_64_ABS64`; others are of 4 bytes.
    const LONG: [u32; 2] = [1, 2];
    let RelocationFlags::Elf { r_type } = flags else {
        return;
    };
    let size = if LONG.contains(&r_type.0) { 8 } else { 4 };
    let place = usize::try_from(offset).ok();
    let place = place.and_then(|at| bytes.get_mut(at..at.checked_add(size)?));
    if let Some(place) = place {
        let mut word = [0; 8];
        word[..size].copy_from_slice(place);
        let sum = u64::from_le_bytes(word).wrapping_add(value);
        place.copy_from_slice(&sum.to_le_bytes()[..size]);
    }
}

/// Gives every struct of `dwarf` to `found`.
fn structs<'d>(dwarf: &Dwarf<Bytes<'d>>, found: &mut impl FnMut(Composite)) -> gimli::Result<()> {
    let mut units = dwarf.units();
    while let Some(header) = units.next()? {
        let unit = dwarf.unit(header)?;
        let reader = Reader { dwarf, unit: &unit };
        let mut entries = unit.entries();
        while let Some(entry) = entries.next_dfs()? {
            if entry.tag() == gimli::DW_TAG_structure_type
                && let Some(Type::Composite(composite)) = reader.ty(entry.offset(), 0)
                && !composite.members.is_empty()
            {
                found(composite);
            }
        }
    }
    Ok(())
}

/// Reads types of one unit.
struct Reader<'u, 'd> {
    dwarf: &'u Dwarf<Bytes<'d>>,
    unit: &'u Unit<Bytes<'d>>,
}

impl<'d> Reader<'_, 'd> {
    fn name(&self, entry: &Entry<'d>) -> &'d str {
        let name = entry.attr_value(gimli::DW_AT_name);
        let name = name.and_then(|name| self.dwarf.attr_string(self.unit, name).ok());
        name.and_then(|name| core::str::from_utf8(name.slice()).ok())
            .unwrap_or_default()
    }

    fn target(&self, entry: &Entry<'d>) -> Option<UnitOffset> {
        match entry.attr_value(gimli::DW_AT_type)? {
            AttributeValue::UnitRef(offset) => Some(offset),
            AttributeValue::DebugInfoRef(offset) => offset.to_unit_offset(&self.unit.header),
            _ => None,
        }
    }

    fn ty(&self, offset: UnitOffset, depth: usize) -> Option<Type> {
        if depth > MAX_DEPTH {
            return None;
        }
        let entry = self.unit.entry(offset).ok()?;
        let size = number(&entry, gimli::DW_AT_byte_size);
        match entry.tag() {
            gimli::DW_TAG_base_type => Some(base(&entry, size?)),
            gimli::DW_TAG_pointer_type => Some(Type::Scalar("__u64", 8)),
            gimli::DW_TAG_enumeration_type => Some(self.enumeration(&entry, size?, depth)),
            gimli::DW_TAG_typedef => {
                let inner = self.ty(self.target(&entry)?, depth + 1)?;
                Some(match self.name(&entry) {
                    // In the order of the network.
                    "__be16" => Type::Scalar("__be16", 2),
                    "__be32" => Type::Scalar("__be32", 4),
                    _ => inner,
                })
            }
            gimli::DW_TAG_const_type
            | gimli::DW_TAG_volatile_type
            | gimli::DW_TAG_atomic_type
            | gimli::DW_TAG_restrict_type => self.ty(self.target(&entry)?, depth + 1),
            gimli::DW_TAG_array_type => self.array(&entry, depth),
            gimli::DW_TAG_structure_type | gimli::DW_TAG_union_type => {
                self.composite(&entry, size?, depth).map(Type::Composite)
            }
            _ => None,
        }
    }

    fn enumeration(&self, entry: &Entry<'d>, size: u32, depth: usize) -> Type {
        let of = self.target(entry).and_then(|of| self.ty(of, depth + 1));
        of.unwrap_or_else(|| integer(size, false))
    }

    fn children(&self, of: UnitOffset) -> gimli::Result<Vec<Entry<'d>>> {
        let mut tree = self.unit.entries_tree(Some(of))?;
        let mut children = tree.root()?.children();
        let mut entries = Vec::new();
        while let Some(child) = children.next()? {
            entries.push(child.entry().clone());
        }
        Ok(entries)
    }

    fn array(&self, entry: &Entry<'d>, depth: usize) -> Option<Type> {
        let mut ty = self.ty(self.target(entry)?, depth + 1)?;
        let ranges = self.children(entry.offset()).ok()?;
        let ranges = ranges
            .iter()
            .filter(|child| child.tag() == gimli::DW_TAG_subrange_type);
        let counts = ranges.map(|range| {
            let last = || number(range, gimli::DW_AT_upper_bound).map(|last| last + 1);
            number(range, gimli::DW_AT_count).or_else(last).unwrap_or(0)
        });
        for count in counts.collect::<Vec<_>>().into_iter().rev() {
            ty = Type::Array(Box::new(ty), count);
        }
        Some(ty)
    }

    fn composite(&self, entry: &Entry<'d>, size: u32, depth: usize) -> Option<Composite> {
        let children = self.children(entry.offset()).ok()?;
        let members = children
            .iter()
            .filter(|child| child.tag() == gimli::DW_TAG_member);
        let member = |member: &Entry<'d>| {
            let ty = self.ty(self.target(member)?, depth + 1)?;
            let name = self.name(member).to_owned();
            if number(member, gimli::DW_AT_bit_size).is_some() {
                return self.bits(member, name, &ty);
            }
            let at = number(member, gimli::DW_AT_data_member_location).unwrap_or(0);
            Some((name, at, ty))
        };
        Some(Composite {
            is_union: entry.tag() == gimli::DW_TAG_union_type,
            size,
            members: members.map(member).collect::<Option<Vec<_>>>()?,
        })
    }

    /// The bytes that a bit field is in; of a compiler that writes where it is otherwise, none.
    fn bits(&self, member: &Entry<'d>, name: String, ty: &Type) -> Option<(String, u32, Type)> {
        let first = number(member, gimli::DW_AT_data_bit_offset)?;
        let last = first + number(member, gimli::DW_AT_bit_size)?;
        let (from, to) = (first / 8, last.div_ceil(8));
        let is_whole = first % 8 == 0 && last % 8 == 0 && to - from == ty.size();
        let ty = if is_whole {
            ty.clone()
        } else {
            Type::Opaque(to - from)
        };
        Some((name, from, ty))
    }
}

fn number(entry: &Entry<'_>, of: gimli::DwAt) -> Option<u32> {
    let value = entry.attr(of)?.udata_value()?;
    u32::try_from(value).ok().filter(|number| *number < 1 << 24)
}

fn base(entry: &Entry<'_>, size: u32) -> Type {
    match entry.attr_value(gimli::DW_AT_encoding) {
        Some(AttributeValue::Encoding(gimli::DW_ATE_signed_char)) if size == 1 => {
            Type::Scalar("char", 1)
        }
        Some(AttributeValue::Encoding(gimli::DW_ATE_boolean)) if size == 1 => {
            Type::Scalar("bool", 1)
        }
        Some(AttributeValue::Encoding(gimli::DW_ATE_signed)) => integer(size, true),
        Some(AttributeValue::Encoding(
            gimli::DW_ATE_unsigned | gimli::DW_ATE_unsigned_char | gimli::DW_ATE_boolean,
        )) => integer(size, false),
        _ => Type::Opaque(size),
    }
}

fn integer(size: u32, signed: bool) -> Type {
    let name = match (size, signed) {
        (1, false) => "__u8",
        (2, false) => "__u16",
        (4, false) => "__u32",
        (8, false) => "__u64",
        (1, true) => "__s8",
        (2, true) => "__s16",
        (4, true) => "__s32",
        (8, true) => "__s64",
        _ => return Type::Opaque(size),
    };
    Type::Scalar(name, size)
}
