//! Names of things that are lists of files or tables: those that were asked for must be there, before anything is built or booted.

use std::fs;

use anyhow::{Result, ensure};

use crate::exec::root;

/// Where cases of tools lie.
const CASES: &str = "diff-tests/cases";

/// The cases that were asked for, once each; all if none was.
pub(crate) fn wanted(asked: &[String]) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(root().join(CASES))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        all.extend(name.strip_suffix(".toml").map(str::to_owned));
    }
    all.sort();
    ensure!(!all.is_empty(), "no case in {CASES}");
    if asked.is_empty() {
        return Ok(all);
    }
    let mut wanted: Vec<String> = Vec::new();
    for name in asked {
        ensure!(
            all.contains(name),
            "no case {name} in {CASES}; there are {}",
            all.join(", ")
        );
        if !wanted.contains(name) {
            wanted.push(name.clone());
        }
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_case_is_an_error() {
        let words = |words: &[&str]| words.iter().map(|w| w.to_string()).collect::<Vec<_>>();
        assert!(wanted(&[]).unwrap().len() >= 52);
        let twice = words(&["vfsstat", "opensnoop", "vfsstat"]);
        assert_eq!(wanted(&twice).unwrap(), ["vfsstat", "opensnoop"]);
        let said = wanted(&words(&["vfsstat", "openssnoop"])).unwrap_err();
        assert!(said.to_string().starts_with("no case openssnoop"), "{said}");
    }
}
