//! When a type of the object and a type of the kernel may be the same thing.

use bpf2wasm::btf::{Btf, Kind, essential};

use super::spec::is_composite;
use super::{Error, Result};

/// How deep types may refer to types, as in libbpf.
pub(super) const MAX_DEPTH: u32 = 32;

/// Whether kinds agree; 32- and 64-bit enumerations do.
pub(super) fn kinds(local: Kind, target: Kind) -> bool {
    let is_enum = |k| matches!(k, Kind::Enum | Kind::Enum64);
    local == target || is_enum(local) && is_enum(target)
}

/// Whether members of these types may stand for each other: integers of any size, pointers to anything,
/// structs of any name.
pub(super) fn fields(local: (&Btf, u32), target: (&Btf, u32)) -> Result<bool> {
    let (mut local_id, mut target_id) = (local.1, target.1);
    for _ in 0..MAX_DEPTH {
        let l = local.0.resolve(local_id).ok_or(Error::Broken)?;
        let t = target.0.resolve(target_id).ok_or(Error::Broken)?;
        if is_composite(l.kind) && is_composite(t.kind) {
            return Ok(true);
        }
        if !kinds(l.kind, t.kind) {
            return Ok(false);
        }
        match (l.array(), t.array()) {
            (Some(l), Some(t)) => (local_id, target_id) = (l.element, t.element),
            _ => {
                return Ok(match l.kind {
                    Kind::Ptr | Kind::Float => true,
                    Kind::Int => l.int_bits().1 == 0 && t.int_bits().1 == 0,
                    Kind::Fwd | Kind::Enum | Kind::Enum64 => {
                        let (l, t) = (essential(l.name), essential(t.name));
                        l.is_empty() || t.is_empty() || l == t
                    }
                    _ => false,
                });
            }
        }
    }
    Err(Error::Broken)
}

/// Whether a whole type may stand for another (`bpf_core_type_exists`): structs by kind alone.
pub(super) fn types(local: (&Btf, u32), target: (&Btf, u32), depth: u32) -> Result<bool> {
    let depth = depth.checked_sub(1).ok_or(Error::Broken)?;
    let l = local.0.resolve(local.1).ok_or(Error::Broken)?;
    let t = target.0.resolve(target.1).ok_or(Error::Broken)?;
    if !kinds(l.kind, t.kind) {
        return Ok(false);
    }
    let inner = |l_id, t_id| types((local.0, l_id), (target.0, t_id), depth);
    match l.kind {
        Kind::Void | Kind::Struct | Kind::Union | Kind::Enum | Kind::Enum64 | Kind::Fwd => Ok(true),
        Kind::Int => Ok(l.int_bits().1 == 0 && t.int_bits().1 == 0),
        Kind::Ptr => inner(l.target().unwrap_or(0), t.target().unwrap_or(0)),
        Kind::Array => match (l.array(), t.array()) {
            (Some(l), Some(t)) => inner(l.element, t.element),
            _ => Ok(false),
        },
        Kind::FuncProto => {
            if l.params().len() != t.params().len() {
                return Ok(false);
            }
            for (l, t) in l.params().zip(t.params()) {
                if !inner(l.type_id, t.type_id)? {
                    return Ok(false);
                }
            }
            inner(l.target().unwrap_or(0), t.target().unwrap_or(0))
        }
        _ => Ok(false),
    }
}
