//! Entries of debug information, read one by one.

use gimli::{AttributeValue, DebuggingInformationEntry, DwAt, Dwarf, Unit, UnitOffset};

use super::types::{Alias, Member, Node};
use super::{Bytes, Error, Result};

pub(super) type Entry<'d> = DebuggingInformationEntry<Bytes<'d>>;

/// A reference to a type: where in the unit it is described; `None` is `void`.
pub(super) type Reference = Option<UnitOffset>;

/// Reads entries of one unit.
#[derive(Clone, Copy)]
pub(super) struct Reader<'u, 'd> {
    pub(super) dwarf: &'u Dwarf<Bytes<'d>>,
    pub(super) unit: &'u Unit<Bytes<'d>>,
}

impl<'d> Reader<'_, 'd> {
    /// Whether its types are of C.
    pub(super) fn is_c(&self) -> Result<bool> {
        use gimli::{DW_LANG_C, DW_LANG_C11, DW_LANG_C17, DW_LANG_C89, DW_LANG_C99};
        let mut entries = self.unit.entries();
        let Some(root) = entries.next_dfs()? else {
            return Ok(false);
        };
        if root.has_attr(gimli::DW_AT_dwo_name) || root.has_attr(gimli::DW_AT_GNU_dwo_name) {
            return Err(Error::Split);
        }
        let c = [
            DW_LANG_C,
            DW_LANG_C89,
            DW_LANG_C99,
            DW_LANG_C11,
            DW_LANG_C17,
        ];
        let language = root.attr_value(gimli::DW_AT_language);
        Ok(matches!(language, Some(AttributeValue::Language(one)) if c.contains(&one)))
    }

    /// The entries directly below the unit's, but for what is within them.
    pub(super) fn outermost(&self, each: &mut dyn FnMut(&Entry<'d>) -> Result<()>) -> Result<()> {
        let mut entries = self.unit.entries();
        // The unit's own, and the first below it.
        entries.next_dfs()?;
        let mut next = entries.next_dfs()?;
        while let Some(entry) = next {
            each(entry)?;
            next = entries.next_sibling()?;
        }
        Ok(())
    }

    pub(super) fn entry(&self, at: UnitOffset) -> Result<Entry<'d>> {
        Ok(self.unit.entry(at)?)
    }

    fn children(&self, of: UnitOffset) -> Result<Vec<Entry<'d>>> {
        let mut tree = self.unit.entries_tree(Some(of))?;
        let mut children = tree.root()?.children();
        let mut entries = Vec::new();
        while let Some(child) = children.next()? {
            entries.push(child.entry().clone());
        }
        Ok(entries)
    }

    pub(super) fn name(&self, entry: &Entry<'d>) -> Result<&'d str> {
        let Some(name) = entry.attr_value(gimli::DW_AT_name) else {
            return Ok("");
        };
        let name = self.dwarf.attr_string(self.unit, name)?;
        std::str::from_utf8(name.slice()).map_err(|_| Error::Format(gimli::Error::BadUtf8))
    }

    /// The entry that attribute `of` names.
    pub(super) fn named(&self, entry: &Entry<'d>, of: DwAt) -> Result<Option<UnitOffset>> {
        match entry.attr_value(of) {
            None => Ok(None),
            Some(AttributeValue::UnitRef(offset)) => Ok(Some(offset)),
            Some(AttributeValue::DebugInfoRef(offset)) => {
                let within = offset.to_unit_offset(&self.unit.header);
                within.map(Some).ok_or(Error::Elsewhere)
            }
            Some(_) => Err(Error::Elsewhere),
        }
    }

    fn target(&self, entry: &Entry<'d>) -> Result<Reference> {
        let mut target = self.named(entry, gimli::DW_AT_type)?;
        while let Some(at) = target {
            let entry = self.entry(at)?;
            match entry.tag() {
                // What BTF has no word for.
                gimli::DW_TAG_atomic_type => target = self.named(&entry, gimli::DW_AT_type)?,
                gimli::DW_TAG_unspecified_type => return Ok(None),
                _ => break,
            }
        }
        Ok(target)
    }

    /// The type at `place`.
    pub(super) fn read(&self, place: UnitOffset) -> Result<Node<'d, Reference>> {
        let entry = self.entry(place)?;
        let alias = |kind| {
            Ok(Node::Alias {
                kind,
                name: self.name(&entry)?,
                of: self.target(&entry)?,
            })
        };
        match entry.tag() {
            gimli::DW_TAG_base_type => self.base(&entry),
            gimli::DW_TAG_pointer_type => Ok(Node::Pointer(self.target(&entry)?)),
            gimli::DW_TAG_typedef => alias(Alias::Typedef),
            gimli::DW_TAG_const_type => alias(Alias::Const),
            gimli::DW_TAG_volatile_type => alias(Alias::Volatile),
            gimli::DW_TAG_restrict_type => alias(Alias::Restrict),
            gimli::DW_TAG_array_type => self.array(&entry),
            gimli::DW_TAG_structure_type => self.composite(&entry, false),
            gimli::DW_TAG_union_type => self.composite(&entry, true),
            gimli::DW_TAG_enumeration_type => self.enumeration(&entry),
            gimli::DW_TAG_subroutine_type | gimli::DW_TAG_subprogram => self.prototype(&entry),
            other => Err(Error::Tag(other)),
        }
    }

    fn base(&self, entry: &Entry<'d>) -> Result<Node<'d, Reference>> {
        let (name, size) = (self.name(entry)?, size(entry));
        let encoding = match entry.attr_value(gimli::DW_AT_encoding) {
            Some(AttributeValue::Encoding(encoding)) => encoding,
            _ => return Err(Error::Encoding(name.to_owned())),
        };
        Ok(match encoding {
            gimli::DW_ATE_float | gimli::DW_ATE_complex_float => Node::Float { name, size },
            _ => Node::Int {
                name,
                size,
                signed: matches!(encoding, gimli::DW_ATE_signed | gimli::DW_ATE_signed_char),
                boolean: encoding == gimli::DW_ATE_boolean,
            },
        })
    }

    /// Of several dimensions it is one, as in kernels' BTF.
    fn array(&self, entry: &Entry<'d>) -> Result<Node<'d, Reference>> {
        let children = self.children(entry.offset())?;
        let is_range = |child: &&Entry<'d>| child.tag() == gimli::DW_TAG_subrange_type;
        let counts = children.iter().filter(is_range).map(count);
        Ok(Node::Array {
            of: self.target(entry)?,
            count: counts.reduce(u32::saturating_mul).unwrap_or(0),
        })
    }

    fn composite(&self, entry: &Entry<'d>, is_union: bool) -> Result<Node<'d, Reference>> {
        let name = self.name(entry)?;
        if entry.has_attr(gimli::DW_AT_declaration) {
            return Ok(Node::Declared { is_union, name });
        }
        let mut members = Vec::new();
        for child in self.children(entry.offset())? {
            if child.tag() == gimli::DW_TAG_member {
                members.push(self.member(&child)?);
            }
        }
        Ok(Node::Composite {
            is_union,
            name,
            size: size(entry),
            members,
        })
    }

    fn member(&self, entry: &Entry<'d>) -> Result<Member<'d, Reference>> {
        let number = |of| entry.attr(of).and_then(|attribute| attribute.udata_value());
        let bytes = number(gimli::DW_AT_data_member_location).unwrap_or(0);
        let bits = number(gimli::DW_AT_bit_size).unwrap_or(0);
        // Before version 4 bits were counted from the other end of what they are in.
        let first = match (
            number(gimli::DW_AT_data_bit_offset),
            number(gimli::DW_AT_bit_offset),
        ) {
            (Some(first), _) => first,
            (None, Some(from_end)) => {
                let unit = number(gimli::DW_AT_byte_size).unwrap_or(0) * 8;
                (bytes * 8 + unit).wrapping_sub(from_end).wrapping_sub(bits)
            }
            (None, None) => bytes * 8,
        };
        Ok(Member {
            name: self.name(entry)?,
            of: self.target(entry)?,
            first: narrow(first)?,
            bits: narrow(bits)?,
        })
    }

    fn enumeration(&self, entry: &Entry<'d>) -> Result<Node<'d, Reference>> {
        let name = self.name(entry)?;
        if entry.has_attr(gimli::DW_AT_declaration) {
            return Ok(Node::DeclaredEnum { name });
        }
        let mut values = Vec::new();
        for child in self.children(entry.offset())? {
            if child.tag() == gimli::DW_TAG_enumerator {
                let value = child.attr(gimli::DW_AT_const_value);
                let value = value.and_then(|value| match value.sdata_value() {
                    Some(signed) if matches!(value.value(), AttributeValue::Sdata(_)) => {
                        Some(signed)
                    }
                    _ => value.udata_value().map(u64::cast_signed),
                });
                values.push((self.name(&child)?, value.unwrap_or(0)));
            }
        }
        Ok(Node::Enum {
            name,
            size: size(entry),
            values,
        })
    }

    fn prototype(&self, entry: &Entry<'d>) -> Result<Node<'d, Reference>> {
        let mut params = Vec::new();
        for child in self.children(entry.offset())? {
            match child.tag() {
                gimli::DW_TAG_formal_parameter => params.push(self.target(&child)?),
                gimli::DW_TAG_unspecified_parameters => params.push(None),
                _ => {}
            }
        }
        Ok(Node::Prototype {
            result: self.target(entry)?,
            params,
        })
    }
}

fn size(entry: &Entry<'_>) -> u32 {
    let size = entry.attr(gimli::DW_AT_byte_size);
    let size = size.and_then(|size| size.udata_value());
    size.and_then(|size| u32::try_from(size).ok()).unwrap_or(0)
}

/// Elements of one dimension; a flexible array has none.
fn count(range: &Entry<'_>) -> u32 {
    let number = |of| {
        let value = range.attr(of)?.value();
        // Of `int a[0]` some compilers say that its last element is -1.
        let value = match value {
            AttributeValue::Sdata(last) => u64::try_from(last).ok(),
            other => other.udata_value(),
        };
        u32::try_from(value?).ok()
    };
    let last = || number(gimli::DW_AT_upper_bound)?.checked_add(1);
    number(gimli::DW_AT_count).or_else(last).unwrap_or(0)
}

fn narrow(value: u64) -> Result<u32> {
    u32::try_from(value).map_err(|_| Error::Large(value))
}
