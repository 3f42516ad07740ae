//! What only programs under a GPL-compatible licence may call. The kernel's verifier refuses others; so does this.

use alloc::borrow::ToOwned;
use alloc::format;

use abi::helpers::{by_id, is_gpl_compatible};

use crate::analysis::Analysed;
use crate::error::{Error, ReferenceError, Result};
use crate::isa::insn::{Insn, Ref};
use crate::isa::table::Shape;
use crate::object::Object;

/// Refuses calls that the object's licence does not allow.
pub(crate) fn check(object: &Object<'_>, analysed: &Analysed) -> Result<()> {
    if is_gpl_compatible(&object.license) {
        return Ok(());
    }
    for (index, analysis) in analysed.reached() {
        let function = &object.functions[index];
        // What is not reached is not looked at, as by the verifier.
        let blocks = analysis.blocks.list.iter();
        for insn in blocks.flat_map(|block| &function.insns[block.first..block.end]) {
            let callee = match (&insn.row.shape, insn.reference) {
                (Shape::Helper | Shape::Kfunc | Shape::Local, Some(Ref::Extern(index))) => {
                    object.externs[index].name.clone()
                }
                (Shape::Helper, None) => match gpl_only(insn) {
                    Some(name) => format!("bpf_{name}"),
                    None => continue,
                },
                _ => continue,
            };
            let error = ReferenceError::Licence(callee, object.license.to_owned());
            return Err(Error::at(insn.slot as usize, error).in_program(&function.name));
        }
    }
    Ok(())
}

/// The name of the helper that `insn` calls, if it is for GPL-compatible programs only.
fn gpl_only(insn: &Insn) -> Option<&'static str> {
    let row = by_id(u32::try_from(insn.imm).ok()?)?;
    row.gpl_only.then_some(row.name)
}
