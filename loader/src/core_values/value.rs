//! What a relocation is worth, once the access is found (or known to be missing).

use abi::imports::resized;
use bpf2wasm::btf::{Btf, Kind as TypeKind};

use super::spec::Spec;
use super::{Error, Kind, Result};

/// The value for `there`, the access found in the target; `None` is poison.
pub(super) fn of(
    kind: Kind,
    local: &Spec<'_>,
    there: Option<&Spec<'_>>,
    access_bytes: u32,
) -> Result<Option<u64>> {
    let Some(there) = there else {
        return Ok(match kind {
            Kind::FieldExists
            | Kind::EnumvalExists
            | Kind::TypeExists
            | Kind::TypeMatches
            | Kind::TypeIdTarget
            | Kind::TypeSize => Some(0),
            _ => None,
        });
    };
    match kind {
        Kind::FieldExists | Kind::EnumvalExists | Kind::TypeExists | Kind::TypeMatches => {
            Ok(Some(1))
        }
        Kind::TypeIdLocal | Kind::TypeIdTarget => Ok(Some(u64::from(there.root))),
        Kind::TypeSize => {
            let size = there.btf.size_of(there.root).ok_or(Error::Broken)?;
            Ok(Some(u64::from(size)))
        }
        Kind::EnumvalValue => enumerator(there).map(Some).ok_or(Error::Broken),
        _ => field(kind, local, there, access_bytes),
    }
}

/// A 32-bit enumerator is sign-extended even where it is unsigned: what libbpf does.
fn enumerator(there: &Spec<'_>) -> Option<u64> {
    let step = there.steps.first()?;
    let ty = there.btf.get(step.type_id)?;
    let value = ty.enumerators().nth(step.index as usize)?.value;
    Some(if ty.kind == TypeKind::Enum {
        i64::from(value as i32) as u64
    } else {
        value
    })
}

fn field(kind: Kind, local: &Spec<'_>, there: &Spec<'_>, access_bytes: u32) -> Result<Option<u64>> {
    let place = Place::of(there)?;
    Ok(Some(match kind {
        Kind::FieldByteOffset if access_bytes != 0 => {
            return Ok(access(&Place::of(local)?, &place, access_bytes));
        }
        Kind::FieldByteOffset => u64::from(place.byte_offset),
        Kind::FieldByteSize => u64::from(place.bytes),
        // An element has no width in bits and no signedness of its own.
        _ if place.element => return Err(Error::Access("an array element".to_owned())),
        Kind::FieldSigned => u64::from(place.signed),
        Kind::FieldLshift => 64u64.wrapping_sub(u64::from(
            place.bit_offset + place.bits - place.byte_offset * 8,
        )),
        _ => 64u64.wrapping_sub(u64::from(place.bits)),
    }))
}

/// The value for a load or store of `bytes`. It may take another width if both fields are unsigned integers: `bool` and `char`
/// count, enumerations do not.
fn access(local: &Place, there: &Place, bytes: u32) -> Option<u64> {
    if local.access == there.access {
        return Some(u64::from(there.byte_offset));
    }
    let fits = local.unsigned && there.unsigned && local.access == bytes;
    let width = matches!(there.access, 1 | 2 | 4 | 8);
    (fits && width).then(|| resized(there.byte_offset, there.access))
}

/// Where a field lies and how it is read.
struct Place {
    /// Whether it is an array element rather than a named member.
    element: bool,
    bit_offset: u32,
    bits: u32,
    /// Where the load begins: for a bit-field, of the smallest integer that holds all of it.
    byte_offset: u32,
    bytes: u32,
    /// Bytes of one scalar of it: of an array's innermost element. 0 for a bit-field.
    access: u32,
    /// Whether that scalar is an unsigned integer.
    unsigned: bool,
    signed: bool,
}

impl Place {
    fn of(spec: &Spec<'_>) -> Result<Self> {
        let step = spec.steps.last().ok_or(Error::Broken)?;
        let of = spec.btf.get(step.type_id).ok_or(Error::Broken)?;
        let member = step
            .name
            .and_then(|_| of.members().nth(step.index as usize));
        let ty = spec.btf.resolve(member.map_or(step.type_id, |m| m.type_id));
        let ty = ty.ok_or(Error::Broken)?;
        let place = Place {
            element: step.name.is_none(),
            bit_offset: spec.bit_offset,
            bits: 0,
            byte_offset: spec.bit_offset / 8,
            bytes: 0,
            access: 0,
            unsigned: false,
            signed: ty.is_signed(),
        };
        match member.map_or(0, |m| m.bit_size) {
            0 => place.whole(spec.btf, ty.id),
            bits => place.bitfield(bits, ty.size().unwrap_or(0)),
        }
    }

    fn whole(mut self, btf: &Btf, id: u32) -> Result<Self> {
        self.bytes = btf.size_of(id).ok_or(Error::Broken)?;
        self.bits = self.bytes.wrapping_mul(8);
        let mut scalar = btf.resolve(id).ok_or(Error::Broken)?;
        while let Some(array) = scalar.array() {
            scalar = btf.resolve(array.element).ok_or(Error::Broken)?;
        }
        self.access = btf.size_of(scalar.id).ok_or(Error::Broken)?;
        self.unsigned = scalar.kind == TypeKind::Int && !scalar.is_signed();
        Ok(self)
    }

    fn bitfield(mut self, bits: u32, declared: u32) -> Result<Self> {
        self.bits = bits;
        self.bytes = declared;
        loop {
            let unit = self
                .bytes
                .checked_mul(8)
                .filter(|b| *b != 0)
                .ok_or(Error::Broken)?;
            self.byte_offset = self.bit_offset / unit * self.bytes;
            if self.bit_offset + bits - self.byte_offset * 8 <= unit {
                return Ok(self);
            }
            if self.bytes >= 8 {
                return Err(Error::WideBitfield);
            }
            self.bytes *= 2;
        }
    }
}
