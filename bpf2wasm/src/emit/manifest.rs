//! The manifest: what the loader needs to know.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use abi::manifest::{Function, Manifest, Program, VERSION};

use crate::analysis::Analysed;
use crate::object::Object;

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

/// Builds the manifest.
pub(crate) fn build(
    object: &Object<'_>,
    name: &str,
    exports: &[Option<String>],
    analysed: &Analysed,
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
                context: analysed.context(index),
            })
        });
    let functions = analysed.reached().map(|(index, analysis)| {
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
        maps: object.maps.clone(),
        relocations: object.relocations.clone(),
        externs: object.externs.clone(),
        functions: functions.collect(),
        stack: analysed.stack,
    }
}
