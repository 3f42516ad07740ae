//! `bpf_core_type_matches`: whether a type has all that the local one names, with the same meaning.

use bpf2wasm::btf::{Btf, Kind, Type, essential};

use super::compat::{MAX_DEPTH, kinds};
use super::{Error, Result};

/// Whether the target's type has everything the local one has.
pub(super) fn types(local: (&Btf, u32), target: (&Btf, u32)) -> Result<bool> {
    Match {
        local: local.0,
        target: target.0,
    }
    .types(local.1, target.1, false, MAX_DEPTH)
}

struct Match<'a> {
    local: &'a Btf,
    target: &'a Btf,
}

impl Match<'_> {
    fn types(&self, local: u32, target: u32, behind_pointer: bool, depth: u32) -> Result<bool> {
        let depth = depth.checked_sub(1).ok_or(Error::Broken)?;
        let l = self.local.resolve(local).ok_or(Error::Broken)?;
        let t = self.target.resolve(target).ok_or(Error::Broken)?;
        if essential(l.name) != essential(t.name) {
            return Ok(false);
        }
        let same = l.kind == t.kind;
        match l.kind {
            Kind::Void => Ok(same),
            Kind::Fwd | Kind::Struct | Kind::Union if behind_pointer => Ok(named(&l) == named(&t)),
            Kind::Fwd => Ok(same && l.flag == t.flag),
            Kind::Enum | Kind::Enum64 => Ok(kinds(l.kind, t.kind) && enumerators(&l, &t)),
            Kind::Struct | Kind::Union => Ok(same && self.members(&l, &t, depth)?),
            Kind::Int => Ok(same && l.size() == t.size() && l.is_signed() == t.is_signed()),
            Kind::Ptr if same => self.types(
                l.target().unwrap_or(0),
                t.target().unwrap_or(0),
                true,
                depth,
            ),
            Kind::Array => match (l.array(), t.array()) {
                (Some(l), Some(t)) if l.count == t.count => {
                    self.types(l.element, t.element, behind_pointer, depth)
                }
                _ => Ok(false),
            },
            Kind::FuncProto if same => self.prototypes(&l, &t, behind_pointer, depth),
            _ => Ok(false),
        }
    }

    fn members(&self, l: &Type<'_>, t: &Type<'_>, depth: u32) -> Result<bool> {
        'local: for lm in l.members() {
            for tm in t
                .members()
                .filter(|tm| essential(tm.name) == essential(lm.name))
            {
                if self.types(lm.type_id, tm.type_id, false, depth)? {
                    continue 'local;
                }
            }
            return Ok(false);
        }
        Ok(l.members().len() <= t.members().len())
    }

    fn prototypes(&self, l: &Type<'_>, t: &Type<'_>, behind: bool, depth: u32) -> Result<bool> {
        if l.params().len() != t.params().len() {
            return Ok(false);
        }
        for (lp, tp) in l.params().zip(t.params()) {
            if !self.types(lp.type_id, tp.type_id, behind, depth)? {
                return Ok(false);
            }
        }
        self.types(
            l.target().unwrap_or(0),
            t.target().unwrap_or(0),
            behind,
            depth,
        )
    }
}

/// What a forward declaration stands for: `true` for a union, `None` for what is neither struct nor union.
fn named(ty: &Type<'_>) -> Option<bool> {
    match ty.kind {
        Kind::Fwd => Some(ty.flag),
        Kind::Struct => Some(false),
        Kind::Union => Some(true),
        _ => None,
    }
}

fn enumerators(l: &Type<'_>, t: &Type<'_>) -> bool {
    let has = |name| {
        t.enumerators()
            .any(|e| essential(e.name) == essential(name))
    };
    l.size() == t.size()
        && l.enumerators().len() <= t.enumerators().len()
        && l.enumerators().all(|e| has(e.name))
}
