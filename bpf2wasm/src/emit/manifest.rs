//! The manifest: what the loader needs to know.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use abi::manifest::{Function, Lack, Manifest, Program, Refused, VERSION};

use crate::analysis::Analysed;
use crate::isa::insn::Ref;
use crate::lower::Lowered;
use crate::object::Object;
use crate::types::guarded;

/// Export names, by function; a name that repeats gets the function's appended.
pub(crate) fn exports(object: &Object<'_>) -> Vec<Option<String>> {
    let mut taken = BTreeSet::new();
    let name = |function: &crate::object::Function| {
        let export = &function.program.as_ref()?.export;
        let unique = if taken.insert(export.clone()) {
            export.clone()
        } else {
            format!("{export}#{}", function.name)
        };
        taken.insert(unique.clone());
        Some(unique)
    };
    object.functions.iter().map(name).collect()
}

/// Builds the manifest; without what is known of its code, it only describes the object.
pub(crate) fn build(
    object: &Object<'_>,
    name: &str,
    exports: &[Option<String>],
    translated: Option<(&Analysed, &[(usize, Lowered)])>,
) -> Manifest {
    let programs = object
        .functions
        .iter()
        .enumerate()
        .filter_map(|(index, function)| {
            let program = function.program.as_ref()?;
            Some(Program {
                name: function.name.clone(),
                section: function.section.clone(),
                export: exports[index].clone()?,
                attach: program.attach,
                target: program.target.clone(),
                autoload: program.autoload,
                sleepable: program.sleepable,
                context: translated.and_then(|(analysed, _)| analysed.context(index)),
                maps: translated
                    .map_or_else(Vec::new, |(analysed, _)| maps(object, analysed, index)),
                lacks: translated.map_or_else(Vec::new, |(analysed, lowered)| {
                    lacks(object, analysed, lowered, index)
                }),
            })
        });
    let refused = object.functions.iter().filter_map(|function| {
        let why = function.refused.as_ref()?.to_string();
        let (name, section) = (function.name.clone(), function.section.clone());
        Some(Refused { name, section, why })
    });
    let reached = translated
        .iter()
        .flat_map(|(analysed, _)| analysed.reached());
    let functions = reached.map(|(index, analysis)| {
        let function = &object.functions[index];
        let (name, section) = (function.name.clone(), function.section.clone());
        Function {
            name,
            section,
            site: analysis.site,
            slots: function.slots,
        }
    });
    Manifest {
        version: VERSION,
        translator: concat!("bpf2wasm ", env!("CARGO_PKG_VERSION")).to_owned(),
        object: name.to_owned(),
        license: object.license.clone(),
        programs: programs.collect(),
        refused: refused.collect(),
        maps: object.maps.clone(),
        relocations: object.relocations.clone(),
        externs: object.externs.clone(),
        functions: functions.collect(),
        stack: translated.map_or(0, |(analysed, _)| analysed.stack),
    }
}

/// The maps that program `root` uses.
fn maps(object: &Object<'_>, analysed: &Analysed, root: usize) -> Vec<u32> {
    let functions = analysed.graph.reached(root).into_iter();
    let insns = functions.flat_map(|index| &object.functions[index].insns);
    let maps = insns.filter_map(|insn| match insn.reference {
        Some(Ref::Map(map) | Ref::Value(map, _)) => Some(map as u32),
        _ => None,
    });
    maps.collect::<BTreeSet<u32>>().into_iter().collect()
}

/// What program `root` calls that this version's runtimes lack.
fn lacks(
    object: &Object<'_>,
    analysed: &Analysed,
    lowered: &[(usize, Lowered)],
    root: usize,
) -> Vec<Lack> {
    if lowered.iter().all(|(_, l)| l.lacks.is_empty()) {
        return Vec::new();
    }
    let reached: BTreeSet<usize> = analysed.graph.reached(root).into_iter().collect();
    let asked: Vec<Vec<bool>> = (0..object.functions.len())
        .map(|index| match &analysed.functions[index] {
            Some(analysis) if reached.contains(&index) => {
                let function = &object.functions[index];
                guarded(function, &analysis.blocks, |r| object.is_question(r))
            }
            _ => Vec::new(),
        })
        .collect();
    let unasked = unasked(object, &asked, root);
    let mut all = Vec::new();
    for (index, lowered) in lowered {
        let analysis = analysed.functions[*index].as_ref();
        let Some(analysis) = analysis.filter(|_| reached.contains(index)) else {
            continue;
        };
        let insns = &object.functions[*index].insns;
        all.extend(lowered.lacks.iter().map(|(slot, callee)| {
            let at = insns.binary_search_by_key(slot, |insn| insn.slot);
            Lack {
                callee: callee.clone(),
                site: analysis.site + slot,
                guarded: !unasked.contains(index) || at.is_ok_and(|at| asked[*index][at]),
            }
        }));
    }
    all
}

/// The functions that `root` reaches without a question; `asked` says of their instructions whether one comes before.
fn unasked(object: &Object<'_>, asked: &[Vec<bool>], root: usize) -> BTreeSet<usize> {
    let mut found = BTreeSet::from([root]);
    let mut pending = Vec::from([root]);
    while let Some(from) = pending.pop() {
        let insns = object.functions[from].insns.iter().zip(&asked[from]);
        for (insn, _) in insns.filter(|(_, asked)| !**asked) {
            if let Some(Ref::Function(to)) = insn.reference
                && found.insert(to)
            {
                pending.push(to);
            }
        }
    }
    found
}
