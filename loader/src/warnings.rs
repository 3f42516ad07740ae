//! What of a module will not work, said before it runs: programs that were not translated, calls and maps that this version's
//! runtimes lack.

use bpf2wasm::lacking;
use serde::Serialize;

use crate::attach::Decision;
use crate::open::Input;

/// What is wrong with a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// Its name.
    pub program: String,
    /// Its export; `None` if it was not translated.
    #[serde(skip)]
    pub export: Option<String>,
    /// Whether it is about a map, and the program is not attached.
    #[serde(skip)]
    pub is_map: bool,
    /// What will not work: `will trap: bpf_get_func_ip (main, insn 3, x.bpf.c:17)`.
    pub what: String,
}

impl Warning {
    /// Whether it matters where `decisions` were taken: its program is attached, or is not for this reason.
    pub fn concerns(&self, decisions: &[Decision]) -> bool {
        let Some(export) = &self.export else {
            return true;
        };
        let is_it = |d: &&Decision| d.program == *export || d.program == self.program;
        let decision = decisions.iter().find(is_it);
        decision.is_some_and(|d| d.attached) || self.is_map
    }
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.program, self.what)
    }
}

/// All there is to say of `input`, in the object's order.
pub fn of(input: &Input) -> Vec<Warning> {
    let Some(manifest) = &input.manifest else {
        return Vec::new();
    };
    let mut warnings = Vec::new();
    for program in &manifest.programs {
        let maps = manifest.lacking_maps(program).into_iter();
        let maps = maps.map(|map| {
            let what = format!("will not attach: the runtime has no such map: {map}");
            (what, true)
        });
        let calls = lacking(&input.wasm, program).into_iter();
        let calls = calls.map(|call| match call.guarded {
            true => (format!("traps if reached: {call}"), false),
            false => (format!("will trap: {call}"), false),
        });
        warnings.extend(maps.chain(calls).map(|(what, is_map)| Warning {
            program: program.name.clone(),
            export: Some(program.export.clone()),
            is_map: is_map && program.autoload,
            what,
        }));
    }
    warnings.extend(manifest.refused.iter().map(|refused| Warning {
        program: refused.name.clone(),
        export: None,
        is_map: false,
        what: format!("not translated: {}", refused.why),
    }));
    warnings
}
