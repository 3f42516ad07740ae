//! Addresses and ports of the network, which C's types do not tell from other numbers: names of types and members do.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bpf2wasm::btf::{Btf, Kind};

use super::Record;

/// Linux's numbers of address families.
const AF_INET: i64 = 2;
const AF_INET6: i64 = 10;

/// Whether addresses have 4 bytes or 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    /// As another field of the same value says: a family, a version of IP, or a family in the upper half of `proto`.
    pub(super) fn of(record: &Record) -> Option<Self> {
        record.fields.iter().find_map(|field| {
            let leaf = field.name.rsplit('.').next()?;
            let number = record.number(&field.name)?;
            let number = match leaf {
                "af" | "family" | "ver" | "ip_version" => number,
                "proto" => number >> 16,
                _ => return None,
            };
            match number {
                4 | AF_INET => Some(Family::V4),
                6 | AF_INET6 => Some(Family::V6),
                _ => None,
            }
        })
    }
}

/// An address of type `id` in a member `name`: 4 bytes in the network's order, or 16.
pub(super) fn of(btf: &Btf, id: u32, name: &str, bytes: &[u8]) -> Option<[u8; 16]> {
    let leaf = name.rsplit('.').next().unwrap_or(name);
    if !leaf.contains("addr") {
        return None;
    }
    let mut address = [0; 16];
    let is_word = bytes.len() == 4 && is_big_endian(btf, id);
    if bytes.len() != 16 && !is_word {
        return None;
    }
    address[..bytes.len()].copy_from_slice(bytes);
    Some(address)
}

/// Whether a type is called one in the network's order.
pub(super) fn is_big_endian(btf: &Btf, mut id: u32) -> bool {
    while let Some(ty) = btf.get(id) {
        if ty.name.starts_with("__be") {
            return true;
        }
        if !matches!(
            ty.kind,
            Kind::Typedef | Kind::Const | Kind::Volatile | Kind::Var
        ) {
            return false;
        }
        let Some(target) = ty.target() else {
            return false;
        };
        id = target;
    }
    false
}

/// The address in `bytes`; of a family that is not known, the shorter if all but 4 bytes are zeros.
pub(super) fn read(bytes: Ipv6Addr, family: Option<Family>) -> IpAddr {
    let octets = bytes.octets();
    let (first, rest) = octets.split_at(4);
    let is_short = family.is_none() && rest.iter().all(|byte| *byte == 0);
    match family {
        Some(Family::V4) => {}
        _ if is_short => {}
        _ => return bytes.to_canonical(),
    }
    let first: [u8; 4] = first.try_into().unwrap_or_default();
    Ipv4Addr::from(first).into()
}
