//! What a comparison comes to in a word, and whether its rules are about anything.

use std::fmt;

use anyhow::{Result, bail};
use serde::Serialize;

use super::fields::{Shape, join};
use super::rules::Rule;
use super::{Compared, Outcome};

/// What a comparison came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Everything that was compared is equal.
    Equal,
    /// What differs, rules allow: so many of them were needed.
    EqualWithin(usize),
    /// Something differs that must not.
    Differs,
    /// No program ran, so nothing was compared.
    NotExercised,
}

impl Verdict {
    /// Whether both runtimes saw something, and the same.
    pub fn is_good(self) -> bool {
        matches!(self, Verdict::Equal | Verdict::EqualWithin(_))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Equal => f.write_str("equal"),
            Verdict::EqualWithin(1) => f.write_str("equal within 1 rule"),
            Verdict::EqualWithin(rules) => write!(f, "equal within {rules} rules"),
            Verdict::Differs => f.write_str("DIFFERS"),
            Verdict::NotExercised => f.write_str("NOT EXERCISED"),
        }
    }
}

impl Outcome {
    /// What it came to. Where programs ran under one runtime only, that is a difference of its own.
    pub fn verdict(&self) -> Verdict {
        let ran = [self.native.timed, self.wasm.timed].map(|runs| runs > 0);
        match (self.findings.differences.is_empty(), ran) {
            (false, _) | (true, [true, false] | [false, true]) => Verdict::Differs,
            (true, [false, false]) => Verdict::NotExercised,
            (true, [true, true]) => match self.findings.rules.len() {
                0 => Verdict::Equal,
                rules => Verdict::EqualWithin(rules),
            },
        }
    }
}

/// Refuses rules that are about no field of what is compared: a name that is misspelt would else allow nothing, or hide that
/// what it was written for has gone.
pub(super) fn check_rules(
    rules: &[Rule],
    maps: &[Compared],
    streams: &[(String, Option<Shape>)],
) -> Result<()> {
    let mut fields = Vec::new();
    let mut add = |name: &str, shape: &Shape| {
        fields.extend(shape.fields.iter().map(|field| join(name, &field.path)));
    };
    for map in maps {
        add(&format!("{}.key", map.name), &map.key);
        add(&map.name, &map.value);
    }
    for (name, shape) in streams {
        match shape {
            Some(shape) => add(name, shape),
            // Of events without a known type there is one field, all of it.
            None => add(name, &Shape::of(None, 0, 1)),
        }
    }
    let is_about_nothing = |rule: &&Rule| !fields.iter().any(|field| rule.is_about(field));
    let about_nothing = rules.iter().filter(is_about_nothing);
    let about_nothing: Vec<_> = about_nothing.map(|rule| rule.field.as_str()).collect();
    if !about_nothing.is_empty() {
        let mut names: Vec<_> = maps.iter().map(|map| map.name.as_str()).collect();
        names.extend(streams.iter().map(|(name, _)| name.as_str()));
        bail!(
            "rules about what is no field of what is compared: {} (maps: {})",
            about_nothing.join(", "),
            names.join(", ")
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diff::{Difference, Findings};
    use crate::session::Cost;

    fn outcome(native: u64, wasm: u64, rules: &[&str], differences: usize) -> Outcome {
        let cost = |timed| Cost {
            timed,
            ..Cost::default()
        };
        let difference = || Difference {
            place: "a".to_owned(),
            native: "1".to_owned(),
            wasm: "2".to_owned(),
            sources: Vec::new(),
        };
        Outcome {
            programs: Vec::new(),
            runs: wasm,
            events: 0,
            native: cost(native),
            wasm: cost(wasm),
            traps: 0,
            stacks: Vec::new(),
            stacks_lost: false,
            findings: Findings {
                rules: rules.iter().map(|rule| rule.to_string()).collect(),
                differences: std::iter::repeat_with(difference)
                    .take(differences)
                    .collect(),
                ..Findings::default()
            },
        }
    }

    #[test]
    fn what_nobody_saw_is_not_equal() {
        let verdict =
            |native, wasm, rules, differences| outcome(native, wasm, rules, differences).verdict();
        assert_eq!(verdict(0, 0, &[], 0), Verdict::NotExercised);
        assert_eq!(verdict(0, 3, &[], 0), Verdict::Differs);
        assert_eq!(verdict(3, 0, &[], 0), Verdict::Differs);
        assert_eq!(verdict(3, 3, &[], 0), Verdict::Equal);
        assert_eq!(verdict(3, 3, &["a", "b"], 0), Verdict::EqualWithin(2));
        assert_eq!(verdict(3, 3, &["a"], 1), Verdict::Differs);
        assert!(!Verdict::NotExercised.is_good() && Verdict::EqualWithin(1).is_good());
    }

    #[test]
    fn a_rule_is_about_something() {
        let number = Shape::of(None, 0, 8);
        let maps = [Compared {
            name: "start".to_owned(),
            key: number.clone(),
            value: number,
            removable: true,
            changes: true,
            of_loaders: false,
        }];
        let streams = [("events".to_owned(), None)];
        let check = |field| check_rules(&[Rule::of(field, "test")], &maps, &streams);
        assert!(check("start").is_ok() && check("start.key").is_ok() && check("events").is_ok());
        for field in ["strat", "start.ts", "events.ts", ""] {
            let said = check(field).unwrap_err().to_string();
            assert!(
                said.ends_with(&format!(": {field} (maps: start, events)")),
                "{said}"
            );
        }
    }
}
