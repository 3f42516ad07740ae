//! An access to a type: which member of which member, which element.

use bpf2wasm::btf::{Btf, Kind as TypeKind};

use super::{Error, Kind, Result};

/// `BPF_CORE_SPEC_MAX_LEN`: steps of an access at most.
pub(super) const MAX_STEPS: usize = 64;

/// One named member, enumerator or element.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step<'a> {
    /// The struct, union or enumeration it is in; for an element, the element's type.
    pub(super) type_id: u32,
    /// Index of the member, enumerator or element.
    pub(super) index: u32,
    /// Name of the member or enumerator; `None` for an element.
    pub(super) name: Option<&'a str>,
}

/// A whole access. Anonymous members are walked through and are no steps of their own.
#[derive(Clone, Debug)]
pub(super) struct Spec<'a> {
    pub(super) btf: &'a Btf,
    pub(super) kind: Kind,
    /// The root type, typedefs and qualifiers not resolved.
    pub(super) root: u32,
    pub(super) steps: Vec<Step<'a>>,
    pub(super) bit_offset: u32,
}

impl<'a> Spec<'a> {
    pub(super) fn new(btf: &'a Btf, kind: Kind, root: u32) -> Self {
        Spec {
            btf,
            kind,
            root,
            steps: Vec::new(),
            bit_offset: 0,
        }
    }

    /// Reads `access` (`0:1:2`) as a path from `root`.
    pub(super) fn parse(btf: &'a Btf, kind: Kind, root: u32, access: &str) -> Result<Self> {
        let mut spec = Spec::new(btf, kind, root);
        let misfit = || Error::Access(access.to_owned());
        let path: Vec<u32> = access
            .split(':')
            .map(|index| index.parse().map_err(|_| misfit()))
            .collect::<Result<_>>()?;
        let (first, rest) = path.split_first().ok_or_else(misfit)?;
        if path.len() > MAX_STEPS {
            return Err(misfit());
        }
        if kind.is_enumval() {
            return spec
                .enumerator(*first)
                .filter(|()| rest.is_empty())
                .map(|()| spec)
                .ok_or_else(misfit);
        }
        if !kind.is_field() {
            return if access == "0" {
                Ok(spec)
            } else {
                Err(misfit())
            };
        }
        let mut id = btf.resolve(root).ok_or(Error::Broken)?.id;
        spec.element(id, *first).ok_or_else(misfit)?;
        for index in rest {
            id = spec.descend(id, *index).ok_or_else(misfit)?;
        }
        Ok(spec)
    }

    /// Adds enumerator `index` of the root.
    fn enumerator(&mut self, index: u32) -> Option<()> {
        let ty = self.btf.resolve(self.root)?;
        let name = ty.enumerators().nth(index as usize)?.name;
        self.steps.push(Step {
            type_id: ty.id,
            index,
            name: Some(name),
        });
        Some(())
    }

    /// Goes to member or element `index` of type `id`; the type there.
    fn descend(&mut self, id: u32, index: u32) -> Option<u32> {
        let ty = self.btf.resolve(id)?;
        if let Some(array) = ty.array() {
            if index >= array.count && !self.ends_in_flexible(array.count) {
                return None;
            }
            let element = self.btf.resolve(array.element)?.id;
            self.element(element, index)?;
            return Some(element);
        }
        let member = ty.members().nth(index as usize)?;
        self.bit_offset = self.bit_offset.checked_add(member.bit_offset)?;
        if !member.name.is_empty() {
            self.steps.push(Step {
                type_id: ty.id,
                index,
                name: Some(member.name),
            });
        }
        Some(member.type_id)
    }

    /// Adds element `index`, whose type is `id`.
    pub(super) fn element(&mut self, id: u32, index: u32) -> Option<()> {
        let bits = self.btf.size_of(id)?.checked_mul(8)?.checked_mul(index)?;
        self.bit_offset = self.bit_offset.checked_add(bits)?;
        self.steps.push(Step {
            type_id: id,
            index,
            name: None,
        });
        Some(())
    }

    /// Whether an array of `count` elements at the end of this access is flexible: empty and the last
    /// member of its struct, so that any index is right.
    pub(super) fn ends_in_flexible(&self, count: u32) -> bool {
        let Some(step) = self.steps.last().filter(|s| s.name.is_some() && count == 0) else {
            return false;
        };
        let of = self.btf.get(step.type_id);
        of.is_some_and(|t| is_composite(t.kind) && step.index as usize + 1 == t.members().len())
    }
}

/// Whether a type has members.
pub(super) fn is_composite(kind: TypeKind) -> bool {
    matches!(kind, TypeKind::Struct | TypeKind::Union)
}
