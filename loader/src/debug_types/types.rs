//! Types of all units, each once.
//!
//! Two descriptions are of one type if they say the same: of a struct all its members, and what lies within it; of what a
//! pointer leads to, the name. They are compared by a hash of 64 bits, of which a kernel has some 100,000.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use gimli::{Dwarf, Unit, UnitOffset};

use super::die::{Entry, Reader, Reference};
use super::{Bytes, Result};

/// How deep types may lie within each other before they count as alike.
const MAX_DEPTH: u32 = 64;

/// Other names for a type, and its qualifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Alias {
    Typedef,
    Const,
    Volatile,
    Restrict,
}

/// A member of a struct or union; its type is an `R`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Member<'d, R> {
    pub(super) name: &'d str,
    pub(super) of: R,
    /// Where it begins, in bits.
    pub(super) first: u32,
    /// How many bits it has; 0 if it is no bit-field.
    pub(super) bits: u32,
}

/// A type, which refers to others by an `R`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Node<'d, R> {
    Int {
        name: &'d str,
        size: u32,
        signed: bool,
        boolean: bool,
    },
    Float {
        name: &'d str,
        size: u32,
    },
    Pointer(R),
    Array {
        of: R,
        count: u32,
    },
    Composite {
        is_union: bool,
        name: &'d str,
        size: u32,
        members: Vec<Member<'d, R>>,
    },
    /// A struct or union that is only declared.
    Declared {
        is_union: bool,
        name: &'d str,
    },
    Enum {
        name: &'d str,
        size: u32,
        values: Vec<(&'d str, i64)>,
    },
    DeclaredEnum {
        name: &'d str,
    },
    Alias {
        kind: Alias,
        name: &'d str,
        of: R,
    },
    Prototype {
        result: R,
        params: Vec<R>,
    },
    Function {
        name: &'d str,
        of: R,
    },
}

impl<'d, R> Node<'d, R> {
    /// The same with other references.
    pub(super) fn map<S>(self, mut to: impl FnMut(R) -> Result<S>) -> Result<Node<'d, S>> {
        Ok(match self {
            Node::Int {
                name,
                size,
                signed,
                boolean,
            } => Node::Int {
                name,
                size,
                signed,
                boolean,
            },
            Node::Float { name, size } => Node::Float { name, size },
            Node::Pointer(of) => Node::Pointer(to(of)?),
            Node::Array { of, count } => Node::Array { of: to(of)?, count },
            Node::Composite {
                is_union,
                name,
                size,
                members,
            } => {
                let member = |member: Member<'d, R>| {
                    Ok(Member {
                        name: member.name,
                        of: to(member.of)?,
                        first: member.first,
                        bits: member.bits,
                    })
                };
                Node::Composite {
                    is_union,
                    name,
                    size,
                    members: members.into_iter().map(member).collect::<Result<_>>()?,
                }
            }
            Node::Declared { is_union, name } => Node::Declared { is_union, name },
            Node::Enum { name, size, values } => Node::Enum { name, size, values },
            Node::DeclaredEnum { name } => Node::DeclaredEnum { name },
            Node::Alias { kind, name, of } => Node::Alias {
                kind,
                name,
                of: to(of)?,
            },
            Node::Prototype { result, params } => Node::Prototype {
                result: to(result)?,
                params: params.into_iter().map(to).collect::<Result<_>>()?,
            },
            Node::Function { name, of } => Node::Function { name, of: to(of)? },
        })
    }

    /// What stands for it where it is only referred to: its name, if that says it.
    fn brief(self) -> Self {
        match self {
            Node::Composite { is_union, name, .. } if !name.is_empty() => {
                Node::Declared { is_union, name }
            }
            Node::Enum { name, .. } if !name.is_empty() => Node::DeclaredEnum { name },
            other => other,
        }
    }
}

/// The types so far; the first has id 1.
#[derive(Default)]
pub(super) struct Types<'d> {
    nodes: Vec<Node<'d, u32>>,
    by_hash: HashMap<u64, u32>,
}

impl<'d> Types<'d> {
    /// Adds those of `unit`.
    pub(super) fn add(&mut self, dwarf: &Dwarf<Bytes<'d>>, unit: &Unit<Bytes<'d>>) -> Result<()> {
        let reader = Reader { dwarf, unit };
        if !reader.is_c()? {
            return Ok(());
        }
        let mut walk = Walk {
            reader,
            types: self,
            hashes: HashMap::new(),
            unread: Vec::new(),
        };
        reader.outermost(&mut |entry| walk.take(entry))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    pub(super) fn nodes(self) -> Vec<Node<'d, u32>> {
        self.nodes
    }

    /// The id of the type with that hash, and whether it is new.
    fn id(&mut self, hash: u64) -> (u32, bool) {
        if let Some(id) = self.by_hash.get(&hash) {
            return (*id, false);
        }
        // What it is comes when it is read.
        self.nodes.push(Node::Pointer(0));
        let id = self.nodes.len() as u32;
        self.by_hash.insert(hash, id);
        (id, true)
    }

    fn set(&mut self, id: u32, node: Node<'d, u32>) {
        if let Some(place) = self.nodes.get_mut(id as usize - 1) {
            *place = node;
        }
    }
}

/// How much of a type counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Extent {
    Whole,
    Brief,
}

/// One unit's.
struct Walk<'w, 'u, 'd> {
    reader: Reader<'u, 'd>,
    types: &'w mut Types<'d>,
    hashes: HashMap<(UnitOffset, Extent), u64>,
    /// Types that are new, and were not read.
    unread: Vec<(UnitOffset, u32)>,
}

impl<'d> Walk<'_, '_, 'd> {
    /// Takes an entry's type, and all that it refers to.
    fn take(&mut self, entry: &Entry<'d>) -> Result<()> {
        match entry.tag() {
            gimli::DW_TAG_subprogram => self.function(entry)?,
            gimli::DW_TAG_base_type
            | gimli::DW_TAG_typedef
            | gimli::DW_TAG_structure_type
            | gimli::DW_TAG_union_type
            | gimli::DW_TAG_enumeration_type => _ = self.id(Some(entry.offset()))?,
            _ => {}
        }
        while let Some((place, id)) = self.unread.pop() {
            let node = self.reader.read(place)?;
            let node = node.map(|of| self.id(of))?;
            self.types.set(id, node);
        }
        Ok(())
    }

    /// A function that is somewhere: of one that is only inlined there is nothing to attach to.
    fn function(&mut self, entry: &Entry<'d>) -> Result<()> {
        let is_somewhere =
            entry.has_attr(gimli::DW_AT_low_pc) || entry.has_attr(gimli::DW_AT_ranges);
        if !is_somewhere || entry.has_attr(gimli::DW_AT_declaration) {
            return Ok(());
        }
        let origin = self.reader.named(entry, gimli::DW_AT_abstract_origin)?;
        let described = match origin {
            Some(origin) => self.reader.entry(origin)?,
            None => entry.clone(),
        };
        let name = self.reader.name(&described)?;
        let prototype = Some(described.offset());
        let hash = hash_of(&Node::Function {
            name,
            of: self.hash(prototype, Extent::Brief, 0)?,
        });
        let (id, is_new) = self.types.id(hash);
        if is_new {
            let of = self.id(prototype)?;
            self.types.set(id, Node::Function { name, of });
        }
        Ok(())
    }

    /// The id of the type there.
    fn id(&mut self, of: Reference) -> Result<u32> {
        let Some(place) = of else {
            return Ok(0);
        };
        let hash = self.hash(of, Extent::Whole, 0)?;
        let (id, is_new) = self.types.id(hash);
        if is_new {
            self.unread.push((place, id));
        }
        Ok(id)
    }

    fn hash(&mut self, of: Reference, extent: Extent, depth: u32) -> Result<u64> {
        let Some(place) = of.filter(|_| depth < MAX_DEPTH) else {
            return Ok(0);
        };
        if let Some(hash) = self.hashes.get(&(place, extent)) {
            return Ok(*hash);
        }
        let node = self.reader.read(place)?;
        let node = match extent {
            Extent::Whole => node,
            Extent::Brief => node.brief(),
        };
        let inner = match &node {
            Node::Pointer(_) | Node::Prototype { .. } => Extent::Brief,
            Node::Composite { .. } => Extent::Whole,
            _ => extent,
        };
        let hash = hash_of(&node.map(|of| self.hash(of, inner, depth + 1))?);
        self.hashes.insert((place, extent), hash);
        Ok(hash)
    }
}

fn hash_of(node: &Node<'_, u64>) -> u64 {
    let mut hasher = DefaultHasher::new();
    node.hash(&mut hasher);
    hasher.finish()
}
