//! Bytes as values of a BTF type, in JSON's terms, and scalars and arrays of them as bytes.
//!
//! Structs and unions are objects, arrays are arrays (of `char`: strings, where the bytes are text), enumerations are
//! their enumerators' names, pointers are hexadecimal text. Bytes that the type does not cover give null.

use bpf2wasm::btf::{Btf, Kind, Member, Type};
use serde_json::{Map, Value, json};

/// Whether a member has neither a name nor members.
pub(crate) fn is_padding(btf: &Btf, member: &Member<'_>) -> bool {
    let kind = btf.resolve(member.type_id).map(|ty| ty.kind);
    member.name.is_empty() && !matches!(kind, Some(Kind::Struct | Kind::Union))
}

/// How deep values may nest.
const MAX_DEPTH: usize = 32;

/// The value of type `id` at the start of `bytes`.
pub fn decode(btf: &Btf, id: u32, bytes: &[u8]) -> Value {
    inner(btf, id, bytes, 0)
}

fn inner(btf: &Btf, id: u32, bytes: &[u8], depth: usize) -> Value {
    let Some(ty) = btf.resolve(id).filter(|_| depth < MAX_DEPTH) else {
        return Value::Null;
    };
    match ty.kind {
        Kind::Struct | Kind::Union => Value::Object(members(btf, &ty, bytes, depth)),
        Kind::Array => array(btf, &ty, bytes, depth),
        Kind::Var => inner(btf, ty.target().unwrap_or(0), bytes, depth + 1),
        Kind::Float => float(&ty, bytes),
        _ => match raw(bytes, ty.size().unwrap_or(0)) {
            Some(raw) => scalar(&ty, raw),
            None => Value::Null,
        },
    }
}

fn members(btf: &Btf, ty: &Type<'_>, bytes: &[u8], depth: usize) -> Map<String, Value> {
    let mut object = Map::new();
    for member in ty.members() {
        let at = bytes
            .get(member.bit_offset as usize / 8..)
            .unwrap_or_default();
        let value = match member.bit_size {
            0 => inner(btf, member.type_id, at, depth + 1),
            _ => bitfield(btf, &member, bytes),
        };
        match value {
            // Members of an anonymous member are named as if they were the struct's own.
            Value::Object(own) if member.name.is_empty() => object.extend(own),
            value => drop(object.insert(member.name.to_owned(), value)),
        }
    }
    object
}

/// The value of bit-field `member` of the struct at the start of `bytes`.
pub(crate) fn bitfield(btf: &Btf, member: &Member<'_>, bytes: &[u8]) -> Value {
    let Some(ty) = btf.resolve(member.type_id) else {
        return Value::Null;
    };
    let mut bits = 0u64;
    for i in 0..member.bit_size.min(64) {
        let at = (member.bit_offset + i) as usize;
        let Some(byte) = bytes.get(at / 8) else {
            return Value::Null;
        };
        bits |= u64::from(byte >> (at % 8) & 1) << i;
    }
    let unused = 64 - member.bit_size.min(64);
    let signed = ty.is_signed();
    scalar(
        &ty,
        if signed {
            ((bits << unused) as i64 >> unused) as u64
        } else {
            bits
        },
    )
}

fn array(btf: &Btf, ty: &Type<'_>, bytes: &[u8], depth: usize) -> Value {
    let Some(array) = ty.array() else {
        return Value::Null;
    };
    let is_char = |t: Type<'_>| t.kind == Kind::Int && t.name == "char";
    if btf.resolve(array.element).is_some_and(is_char) {
        let bytes = &bytes[..bytes.len().min(array.count as usize)];
        if let Some(text) = text(bytes) {
            return Value::String(text);
        }
    }
    let size = btf.size_of(array.element).unwrap_or(0) as usize;
    let element = |i: usize| {
        bytes
            .get(i * size..)
            .map(|b| inner(btf, array.element, b, depth + 1))
    };
    (0..array.count as usize).map_while(element).collect()
}

/// Printable text up to a NUL with nothing but NULs behind it.
fn text(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    let (text, rest) = bytes.split_at(end);
    let text = std::str::from_utf8(text).ok()?;
    (rest.iter().all(|b| *b == 0) && !text.chars().any(char::is_control)).then(|| text.to_owned())
}

fn float(ty: &Type<'_>, bytes: &[u8]) -> Value {
    match (ty.size(), raw(bytes, ty.size().unwrap_or(0))) {
        (Some(4), Some(bits)) => json!(f32::from_bits(bits as u32)),
        (Some(8), Some(bits)) => json!(f64::from_bits(bits)),
        _ => Value::Null,
    }
}

/// `size` bytes, little-endian, sign not extended.
fn raw(bytes: &[u8], size: u32) -> Option<u64> {
    let mut word = [0; 8];
    let bytes = bytes
        .get(..size as usize)
        .filter(|b| (1..=8).contains(&b.len()))?;
    word[..bytes.len()].copy_from_slice(bytes);
    Some(u64::from_le_bytes(word))
}

fn scalar(ty: &Type<'_>, raw: u64) -> Value {
    let unused = 64 - 8 * ty.size().unwrap_or(8).clamp(1, 8);
    let signed = (raw << unused) as i64 >> unused;
    match ty.kind {
        Kind::Ptr => Value::String(format!("{raw:#x}")),
        Kind::Int if ty.is_bool() => json!(raw != 0),
        Kind::Enum | Kind::Enum64 => {
            let value = if ty.is_signed() { signed as u64 } else { raw };
            match ty.enumerators().find(|e| e.value == value) {
                Some(e) => json!(e.name),
                None => json!(raw),
            }
        }
        _ if ty.is_signed() => json!(signed),
        _ => json!(raw),
    }
}

/// The bytes of a value of type `id` that a person wrote: a number (`0x` for hexadecimal), `true`, an enumerator, text for
/// an array of `char`, and `1,2,3` for other arrays, whose rest is zeros.
pub fn encode(btf: &Btf, id: u32, text: &str) -> Result<Vec<u8>, String> {
    let ty = btf.resolve(id).ok_or("its type is unknown")?;
    let Some(array) = ty.array() else {
        return encode_scalar(btf, &ty, text);
    };
    let element = btf.resolve(array.element).ok_or("its type is unknown")?;
    let size = btf.size_of(array.element).unwrap_or(0) as usize;
    let is_text = element.kind == Kind::Int && element.name == "char";
    let mut bytes = match is_text {
        true => [text.as_bytes(), &[0]].concat(),
        false => {
            let elements = text.split(',').map(str::trim);
            let elements = elements.map(|text| encode_scalar(btf, &element, text));
            elements.collect::<Result<Vec<_>, _>>()?.concat()
        }
    };
    let room = array.count as usize * size;
    if bytes.len() > room {
        return Err(format!("{text}: longer than its {room} bytes"));
    }
    bytes.resize(room, 0);
    Ok(bytes)
}

fn encode_scalar(btf: &Btf, ty: &Type<'_>, text: &str) -> Result<Vec<u8>, String> {
    if ty.kind == Kind::Var {
        return encode(btf, ty.target().unwrap_or(0), text);
    }
    let size = ty.size().filter(|size| (1..=8).contains(size));
    let (Kind::Int | Kind::Enum | Kind::Enum64, Some(size)) = (ty.kind, size) else {
        return Err("only numbers, enumerators, texts and arrays of these can be set".to_owned());
    };
    let enumerator = ty.enumerators().find(|e| e.name == text);
    let value = match (text, enumerator) {
        (_, Some(e)) if ty.is_signed() => i128::from(e.value as i64),
        (_, Some(e)) => i128::from(e.value),
        ("true", _) if ty.is_bool() => 1,
        ("false", _) if ty.is_bool() => 0,
        _ => integer(text).ok_or_else(|| format!("{text}: not a number"))?,
    };
    let bits = if ty.is_bool() { 1 } else { 8 * size };
    let range = match ty.is_signed() {
        true => -(1i128 << (bits - 1))..1 << (bits - 1),
        false => 0..1 << bits,
    };
    if !range.contains(&value) {
        return Err(format!("{text}: does not fit {} bits", bits));
    }
    Ok(value.to_le_bytes()[..size as usize].to_vec())
}

fn integer(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let value = match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => digits.parse(),
    };
    let value = i128::from(value.ok()?);
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::btf_builder::{Builder, STRUCT, UNION};

    #[test]
    fn values_read_as_c_means_them() {
        let mut b = Builder::default();
        let int = b.int("int", 4, true);
        let char = b.int("char", 1, true);
        let name = b.array(char, 4);
        let numbers = b.array(int, 2);
        let pointer = b.pointer(0);
        let state = b.enumeration("state", 4, &[("RUNNING", 1)]);
        let inside = b.composite(UNION, "", 4, &[("u", int, 0)]);
        let bits = b.bitfields(
            STRUCT,
            "bits",
            4,
            &[("low", int, 0, 3), ("high", int, 3, 2)],
        );
        let members = [
            ("name", name, 0),
            ("numbers", numbers, 32),
            ("pointer", pointer, 96),
            ("state", state, 160),
            ("", inside, 192),
            ("bits", bits, 224),
        ];
        let all = b.structure("all", 32, &members);
        let mut bytes = b"ab\0\0".to_vec();
        bytes.extend([0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0]);
        bytes.extend(0xffff_0000_0000_1000u64.to_le_bytes());
        bytes.extend([1, 0, 0, 0, 7, 0, 0, 0, 0b01_101, 0, 0, 0]);
        assert_eq!(
            decode(&b.build(), all, &bytes),
            json!({
                "name": "ab", "numbers": [-1, 2], "pointer": "0xffff000000001000",
                "state": "RUNNING", "u": 7, "bits": { "low": -3, "high": 1 },
            })
        );
    }

    #[test]
    fn bytes_that_are_missing_or_no_text_are_shown_as_such() {
        let mut b = Builder::default();
        let char = b.int("char", 1, true);
        let name = b.array(char, 2);
        let btf = b.build();
        assert_eq!(decode(&btf, name, &[1, 2]), json!([1, 2]));
        assert_eq!(decode(&btf, char, &[]), Value::Null);
        assert_eq!(decode(&btf, 99, &[1]), Value::Null);
    }

    #[test]
    fn what_a_person_writes_becomes_bytes_or_an_error() {
        let mut b = Builder::default();
        let short = b.int("short", 2, true);
        let char = b.int("char", 1, true);
        let name = b.array(char, 4);
        let ports = b.array(short, 3);
        let state = b.enumeration("state", 4, &[("RUNNING", 7)]);
        let pointer = b.pointer(0);
        let btf = b.build();
        let encode = |id, text| encode(&btf, id, text);
        assert_eq!(encode(short, "-2").unwrap(), [0xfe, 0xff]);
        assert_eq!(encode(short, "0x7fff").unwrap(), [0xff, 0x7f]);
        assert_eq!(encode(name, "abc").unwrap(), *b"abc\0");
        assert_eq!(encode(ports, "1, 2").unwrap(), [1, 0, 2, 0, 0, 0]);
        assert_eq!(encode(state, "RUNNING").unwrap(), [7, 0, 0, 0]);
        for (id, text, why) in [
            (short, "32768", "32768: does not fit 16 bits"),
            (short, "x", "x: not a number"),
            (name, "abcd", "abcd: longer than its 4 bytes"),
            (ports, "1,2,3,4", "1,2,3,4: longer than its 6 bytes"),
            (
                pointer,
                "1",
                "only numbers, enumerators, texts and arrays of these can be set",
            ),
            (99, "1", "its type is unknown"),
        ] {
            assert_eq!(encode(id, text).unwrap_err(), why);
        }
    }
}
