//! CO-RE relocations: which instructions depend on the target kernel's types.
//!
//! The translator computes nothing: one import for each distinct relocation, whose value the loader
//! supplies. Kinds are `enum bpf_core_relo_kind` (`include/uapi/linux/bpf.h`).

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use abi::manifest::CoreRelocation;

use super::btf::Btf;
use super::ext::Ext;
use super::function::Function;
use crate::error::{Error, ReferenceError};
use crate::isa::insn::{Insn, Operand, Ref};
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

/// `BPF_CORE_TYPE_MATCHES`.
pub(super) const TYPE_MATCHES: u32 = 12;

/// Finds the distinct relocations and puts references to them into `functions`.
pub(super) fn resolve(btf: &Btf, ext: &Ext, functions: &mut [Function]) -> Vec<CoreRelocation> {
    let mut table = Table::default();
    for function in functions {
        for record in ext.relocations.of(btf, function) {
            let slot = record.slot(function);
            let index = function.insns.binary_search_by_key(&slot, |i| i.slot);
            let insn = index.ok().map(|i| &mut function.insns[i]);
            match table.index(btf, insn.as_deref(), record.words) {
                Ok(index) => _ = insn.map(|insn| insn.reference = Some(Ref::Core(index))),
                Err(error) => {
                    let error = Error::at(slot as usize, error).in_program(&function.name);
                    function.broken.get_or_insert(error);
                }
            }
        }
    }
    table.list
}

/// The distinct relocations so far.
#[derive(Default)]
struct Table<'a> {
    list: Vec<CoreRelocation>,
    /// By kind, type, access string and width.
    known: BTreeMap<(u32, u32, &'a str, u32), usize>,
}

impl<'a> Table<'a> {
    /// The index of the relocation that a record of these words means for `insn`.
    fn index(
        &mut self,
        btf: &'a Btf,
        insn: Option<&Insn>,
        words: [u32; 3],
    ) -> Result<usize, ReferenceError> {
        let [type_id, access, kind] = words;
        let (name, _) = KINDS
            .get(kind as usize)
            .ok_or(ReferenceError::CoreKind(kind))?;
        let mnemonic = insn.map_or("no instruction", |i| i.row.mnemonic);
        let bytes = insn
            .and_then(access_bytes)
            .ok_or(ReferenceError::CorePlace(mnemonic))?;
        let access = btf.string(access);
        let next = self.list.len();
        let index = *self
            .known
            .entry((kind, type_id, access, bytes))
            .or_insert(next);
        if index == next {
            let root = btf.get(type_id).map_or("?", |t| t.name);
            let width = if bytes == 0 {
                String::new()
            } else {
                format!("/{bytes}")
            };
            let import = format!("{name}:{root}:{access}#{type_id}{width}");
            let access = access.to_owned();
            self.list.push(CoreRelocation {
                import,
                kind,
                type_id,
                access,
                access_bytes: bytes,
            });
        }
        Ok(index)
    }
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
