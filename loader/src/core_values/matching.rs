//! Finds a local access again in a type of the target.

use bpf2wasm::btf::{Btf, essential};

use super::compat;
use super::spec::{MAX_STEPS, Spec, Step, is_composite};
use super::{Error, Kind, Result, type_match};

/// The same access in candidate `id` of `btf`; `None` if the candidate has no such thing.
pub(super) fn find<'t>(local: &Spec<'_>, btf: &'t Btf, id: u32) -> Result<Option<Spec<'t>>> {
    let spec = Spec::new(btf, local.kind, id);
    let (l, t) = ((local.btf, local.root), (btf, id));
    match local.kind {
        Kind::TypeMatches => Ok(type_match::types(l, t)?.then_some(spec)),
        kind if kind.is_enumval() => enumerator(local, spec),
        kind if kind.is_field() => path(local, spec),
        _ => Ok(compat::types(l, t, compat::MAX_DEPTH)?.then_some(spec)),
    }
}

fn enumerator<'t>(local: &Spec<'_>, mut spec: Spec<'t>) -> Result<Option<Spec<'t>>> {
    let ty = spec.btf.resolve(spec.root).ok_or(Error::Broken)?;
    let wanted = local.steps[0].name.map(essential);
    let found = ty
        .enumerators()
        .enumerate()
        .find(|(_, e)| Some(essential(e.name)) == wanted);
    Ok(found.map(|(index, e)| {
        spec.steps.push(Step {
            type_id: ty.id,
            index: index as u32,
            name: Some(e.name),
        });
        spec
    }))
}

fn path<'t>(local: &Spec<'_>, mut spec: Spec<'t>) -> Result<Option<Spec<'t>>> {
    let mut id = spec.root;
    for (i, step) in local.steps.iter().enumerate() {
        let next = match step.name {
            Some(_) => member(local.btf, step, &mut spec, id, 0)?,
            None => element(step, &mut spec, id, i == 0)?,
        };
        match next {
            Some(next) => id = next,
            None => return Ok(None),
        }
    }
    Ok(Some(spec))
}

/// Element `step.index` of the array `id`, or of an imagined array of `id` for the first step.
fn element(step: &Step<'_>, spec: &mut Spec<'_>, id: u32, first: bool) -> Result<Option<u32>> {
    let ty = spec.btf.resolve(id).ok_or(Error::Broken)?;
    let element = match ty.array() {
        _ if first => ty.id,
        None => return Ok(None),
        Some(a) if step.index >= a.count && !spec.ends_in_flexible(a.count) => return Ok(None),
        Some(a) => spec.btf.resolve(a.element).ok_or(Error::Broken)?.id,
    };
    spec.element(element, step.index).ok_or(Error::Broken)?;
    Ok(Some(element))
}

/// The member of `id` with the name of `step`, looked for inside anonymous members too; the type there.
fn member(
    local: &Btf,
    step: &Step<'_>,
    spec: &mut Spec<'_>,
    id: u32,
    depth: usize,
) -> Result<Option<u32>> {
    let ty = spec.btf.resolve(id).ok_or(Error::Broken)?;
    if !is_composite(ty.kind) || depth >= MAX_STEPS {
        return Ok(None);
    }
    for (index, m) in ty.members().enumerate() {
        let before = spec.bit_offset;
        spec.bit_offset = before.checked_add(m.bit_offset).ok_or(Error::Broken)?;
        if m.name.is_empty() {
            if let Some(found) = member(local, step, spec, m.type_id, depth + 1)? {
                return Ok(Some(found));
            }
        } else if Some(m.name) == step.name {
            spec.steps.push(Step {
                type_id: ty.id,
                index: index as u32,
                name: Some(m.name),
            });
            let field = local
                .get(step.type_id)
                .and_then(|t| t.members().nth(step.index as usize));
            let field = field.ok_or(Error::Broken)?.type_id;
            let compatible = compat::fields((local, field), (spec.btf, m.type_id))?;
            return Ok(compatible.then_some(m.type_id));
        }
        spec.bit_offset = before;
    }
    Ok(None)
}
