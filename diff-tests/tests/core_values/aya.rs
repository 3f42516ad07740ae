//! What aya-obj makes of CO-RE relocations, from the instructions it patches.

use abi::imports::{POISON, resized};
use abi::manifest::CoreRelocation;
use aya_obj::btf::Btf;
use aya_obj::generated::bpf_insn;
use bpf2wasm::{Listing, ListingLine};

/// The immediate of what it puts in the place of an instruction without a match.
const POISONED: i32 = 0x0bad_2310;

/// An object after relocation; an error says why it serves for nothing.
pub(crate) fn relocated(elf: &[u8], target: &Btf) -> Result<aya_obj::Object, String> {
    let mut object = aya_obj::Object::parse(elf).map_err(|e| format!("parse: {}", source(&e)))?;
    object
        .relocate_btf(target)
        .map_err(|e| format!("relocate: {}", source(&e)))?;
    Ok(object)
}

/// What lies under an error.
fn source(error: &dyn std::error::Error) -> String {
    error.source().map_or(error.to_string(), source)
}

/// The value that `object` has for the relocation of one instruction, and the bits of it that an instruction has room for.
pub(crate) fn value(
    object: &aya_obj::Object,
    listing: &Listing,
    line: &ListingLine,
    relocation: &CoreRelocation,
) -> Option<(u64, u64)> {
    let mut functions = object
        .functions
        .values()
        .filter(|f| f.name == listing.function && f.instructions.len() >= listing.lines.len());
    let function = functions.next().filter(|_| functions.next().is_none())?;
    let insn = function.instructions.get(line.slot as usize)?;
    if insn.imm == POISONED && insn.code == 0x85 {
        return Some((POISON as u64, u64::MAX));
    }
    Some(match (insn.code & 7, relocation.access_bytes) {
        (0, _) => {
            let high = function.instructions.get(line.slot as usize + 1)?.imm;
            (
                u64::from(high as u32) << 32 | u64::from(insn.imm as u32),
                u64::MAX,
            )
        }
        (4 | 7, _) => (u64::from(insn.imm as u32), u64::from(u32::MAX)),
        (_, compiled) => {
            let (offset, bytes) = (insn.off as u32, bytes(insn));
            let changed = bytes != compiled;
            let value = if changed {
                resized(offset, bytes)
            } else {
                u64::from(offset)
            };
            (value, u64::MAX)
        }
    })
}

/// How many bytes a load or store accesses.
fn bytes(insn: &bpf_insn) -> u32 {
    match insn.code & 0x18 {
        0x00 => 4,
        0x08 => 2,
        0x10 => 1,
        _ => 8,
    }
}
