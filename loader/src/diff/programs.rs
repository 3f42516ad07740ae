//! Whether the programs that are attached are the ones that libbpf, or the tool, would attach.
//!
//! Which programs those are is found out without the runtime's own policy: by what was asked for, or else by what libbpf says of the
//! object. One of these that the runtime leaves out is tried natively, by itself: only what libbpf cannot attach here either may be missing.

use anyhow::Result;

use super::compare::Difference;
use crate::attach::{Choice, Decision};
use crate::open::Input;
use crate::session::native::{Native, autoloaded};
use crate::settings::Settings;

/// In what the programs that `decisions` attach are others than those that are wanted.
pub(super) fn differences(
    input: &Input,
    choice: &Choice,
    settings: &Settings,
    decisions: &[Decision],
) -> Result<Vec<Difference>> {
    let programs = input.manifest.as_ref().map_or(&[][..], |m| &m.programs);
    let wanted = wanted(input, choice)?;
    let decision = |export: &str| decisions.iter().find(|d| d.export == export);
    let is_attached = |export: &str| decision(export).is_some_and(|d| d.attached);
    let attached: Vec<&str> = programs
        .iter()
        .filter(|program| is_attached(&program.export))
        .map(|program| &program.name[..])
        .collect();
    let mut differences = Vec::new();
    for program in programs {
        let (name, export) = (&program.name, &program.export);
        let is_wanted = wanted
            .iter()
            .any(|wanted| wanted == name || wanted == export);
        let (native, wasm) = match (is_wanted, is_attached(export)) {
            (false, true) => ("not wanted".to_owned(), "attached".to_owned()),
            (true, false) if !has_better(&choice.alternatives, name, &attached) => {
                let mut alone = match Native::choose(input, &[name], choice, settings) {
                    Ok(alone) => alone,
                    Err(_) => continue,
                };
                if alone.attach_chosen(choice).is_err() {
                    continue;
                }
                let why = decision(export).map(|d| d.reason.clone());
                let why = why.unwrap_or_else(|| "it is not there".to_owned());
                ("attached".to_owned(), format!("not attached: {why}"))
            }
            _ => continue,
        };
        differences.push(Difference {
            place: format!("program {name}"),
            native,
            wasm,
            sources: Vec::new(),
        });
    }
    Ok(differences)
}

/// The programs, or exports, that are to be attached.
fn wanted(input: &Input, choice: &Choice) -> Result<Vec<String>> {
    if !choice.programs.is_empty() {
        return Ok(choice.programs.clone());
    }
    if !choice.usual.is_empty() {
        return Ok(choice.usual.clone());
    }
    let mut wanted = autoloaded(input)?;
    wanted.extend(choice.sections.iter().map(|(program, _)| program.clone()));
    Ok(wanted)
}

/// Whether a tool leaves `name` out because it has attached what it prefers.
fn has_better(alternatives: &[Vec<String>], name: &str, attached: &[&str]) -> bool {
    alternatives.iter().any(|list| {
        let before = list.iter().take_while(|other| *other != name);
        let is_in = list.iter().any(|other| other == name);
        is_in
            && before
                .into_iter()
                .any(|other| attached.contains(&&other[..]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_does_without_what_it_likes_less() {
        let lists = [["a", "b", "c"].map(str::to_owned).to_vec()];
        assert!(has_better(&lists, "b", &["a"]) && has_better(&lists, "c", &["b"]));
        assert!(!has_better(&lists, "a", &["b"]) && !has_better(&lists, "b", &[]));
        assert!(!has_better(&lists, "d", &["a"]));
    }
}
