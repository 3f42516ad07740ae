//! CO-RE relocations: which instructions depend on the target kernel's types.
//!
//! The translator computes nothing: one import for each distinct relocation, whose value the loader
//! supplies. Kinds are `enum bpf_core_relo_kind` (`include/uapi/linux/bpf.h`).

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec::Vec;

use abi::manifest::CoreRelocation;

use super::btf::Btf;
use super::ext::Ext;
use super::programs::Function;
use super::reloc::Ref;
use crate::error::{Error, ReferenceError, Result};
use crate::isa::insn::{Insn, Operand};
use crate::isa::table::{Form, Shape};

/// Names of the kinds, by number, and whether a target may be unable to satisfy one.
pub(crate) const KINDS: &[(&str, bool)] = &[
    ("field_byte_off", true),
    ("field_byte_size", true),
    ("field_exists", false),
    ("field_signed", true),
    ("field_lshift_u64", true),
    ("field_rshift_u64", true),
    ("type_id_local", false),
    ("type_id_target", true),
    ("type_exists", false),
    ("type_size", true),
    ("enumval_exists", false),
    ("enumval_value", true),
    ("type_matches", false),
];

/// Finds the distinct relocations and puts references to them into `functions`.
pub(super) fn resolve(
    btf: &Btf,
    ext: &Ext,
    functions: &mut [Function],
) -> Result<Vec<CoreRelocation>> {
    let mut all: Vec<CoreRelocation> = Vec::new();
    let mut known = BTreeMap::new();
    for function in functions {
        let mut refs = Vec::new();
        for (slot, record) in Ext::of(&ext.relocations, btf, function) {
            let at = |error| Error::at(slot as usize, error).in_program(&function.name);
            let [type_id, access, kind] = record.words;
            let (name, _) = *KINDS
                .get(kind as usize)
                .ok_or_else(|| at(ReferenceError::CoreKind(kind)))?;
            let index = function.insns.binary_search_by_key(&slot, |i| i.slot);
            let insn = index.ok().map(|i| &function.insns[i]);
            let access_bytes = insn.and_then(access_bytes);
            let mnemonic = insn.map_or("no instruction", |i| i.row.mnemonic);
            let access_bytes =
                access_bytes.ok_or_else(|| at(ReferenceError::CorePlace(mnemonic)))?;
            let access = btf.string(access);
            let next = all.len();
            let index = *known
                .entry((kind, type_id, access, access_bytes))
                .or_insert(next);
            if index == next {
                let root = btf.get(type_id).map_or("?", |t| t.name);
                let width = if access_bytes == 0 {
                    "".to_owned()
                } else {
                    format!("/{access_bytes}")
                };
                let import = format!("{name}:{root}:{access}#{type_id}{width}");
                let access = access.to_owned();
                all.push(CoreRelocation {
                    import,
                    kind,
                    type_id,
                    access,
                    access_bytes,
                });
            }
            refs.push((slot, Ref::Core(index)));
        }
        function.refs.extend(refs);
    }
    Ok(all)
}

/// The bytes that a relocated load or store accesses, 0 for an instruction with a relocated
/// immediate, nothing for one that cannot be relocated.
fn access_bytes(insn: &Insn) -> Option<u32> {
    match (insn.row.form, &insn.row.shape) {
        (Form::Load | Form::StoreImm | Form::StoreReg, _) => Some(insn.bytes()),
        (Form::Wide, _) => Some(0),
        (Form::Binary, Shape::Binary(..) | Shape::Move) => {
            matches!(insn.operand(), Operand::Imm(_)).then_some(0)
        }
        _ => None,
    }
}
