//! Where an object's source refers to its maps and variables: what a person looks at when these differ.

use std::collections::BTreeMap;

use crate::open::Input;

/// Lines that are shown of one map or variable.
const SHOWN: usize = 3;

/// Source lines by what they refer to: `map NAME`, or a section's `.bss NAME`.
#[derive(Default)]
pub(super) struct Sources(BTreeMap<String, Vec<String>>);

impl Sources {
    /// Of `programs` of `input`; empty where the object has no line information.
    pub(super) fn of(input: &Input, programs: &[&str]) -> Self {
        let mut sources = Sources::default();
        let object = input.object.as_deref().unwrap_or_default();
        // What was translated can be listed, and a hand-written module has no object.
        let functions = bpf2wasm::list(object, &input.name, &Default::default());
        for function in functions.unwrap_or_default() {
            // Others' lines are those of functions that programs call.
            if !programs.contains(&function.function.as_str()) && function.section != ".text" {
                continue;
            }
            let mut line = None;
            for insn in function.lines {
                if let Some((file, number, text)) = insn.source {
                    let file = file.rsplit('/').next().unwrap_or_default();
                    line = Some(format!("{file}:{number}: {text}"));
                }
                if let (Some(reference), Some(line)) = (insn.reference, &line) {
                    sources.add(&reference, line);
                }
            }
        }
        sources
    }

    fn add(&mut self, reference: &str, line: &str) {
        let name = reference.split('+').next().unwrap_or_default();
        let lines = self.0.entry(name.to_owned()).or_default();
        if !lines.iter().any(|known| known == line) {
            lines.push(line.to_owned());
        }
    }

    /// The first lines that refer to what `place` is part of: `start[7].ts`, `events event 3 of CPU 0.pid`, `.bss.hists[2]`.
    pub(super) fn at(&self, place: &str) -> Vec<String> {
        let name = match place.strip_prefix('.') {
            Some(section) => match section.split_once('.') {
                Some((section, variable)) => format!(".{section} {}", word(variable)),
                None => return Vec::new(),
            },
            None => format!("map {}", word(place)),
        };
        let lines = self.0.get(&name).into_iter().flatten();
        lines.take(SHOWN).cloned().collect()
    }
}

/// What `text` begins with.
fn word(text: &str) -> &str {
    text.split(['[', '.', ' ']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_leads_to_the_lines_of_its_map_or_variable() {
        let mut sources = Sources::default();
        sources.add("map start", "a.c:1: x");
        sources.add("map start", "a.c:1: x");
        sources.add(".bss hists+8", "a.c:2: y");
        assert_eq!(sources.at("start[7].ts"), ["a.c:1: x"]);
        assert_eq!(sources.at("start event 3 of CPU 0.pid"), ["a.c:1: x"]);
        assert_eq!(sources.at(".bss.hists[2].slots"), ["a.c:2: y"]);
        assert!(sources.at("other[1]").is_empty());
        assert!(sources.at(".bss").is_empty());
    }
}
