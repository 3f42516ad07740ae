//! Every Rust file is part of a crate: a file that no `mod` names is dead, and the compiler does not say so.

use std::collections::{BTreeMap, BTreeSet};

use super::File;

/// The `.rs` files that no crate root leads to.
pub(super) fn check(files: &[File]) -> Vec<String> {
    let sources: BTreeMap<&str, &str> = files
        .iter()
        .filter(|file| file.path.ends_with(".rs"))
        .map(|file| (file.path.as_str(), file.text()))
        .collect();
    let mut reached = BTreeSet::new();
    let mut open: Vec<String> = sources
        .keys()
        .filter(|path| is_root(path))
        .map(|path| (*path).to_owned())
        .collect();
    while let Some(path) = open.pop() {
        let Some(text) = sources.get(path.as_str()) else {
            continue;
        };
        if reached.insert(path.clone()) {
            open.extend(named(&path, text));
        }
    }
    let dead = sources.keys().filter(|path| !reached.contains(**path));
    dead.map(|path| format!("{path}: no `mod` leads to it"))
        .collect()
}

/// Files that cargo takes for a crate's root without being told.
fn is_root(path: &str) -> bool {
    let parts: Vec<&str> = path.rsplit('/').collect();
    match parts.as_slice() {
        ["build.rs", ..] | ["lib.rs" | "main.rs", "src", ..] => true,
        ["main.rs", _, "bin", "src", ..] | [_, "bin", "src", ..] => true,
        ["main.rs", _, "tests" | "examples" | "benches", ..] => true,
        [_, "tests" | "examples" | "benches" | "fuzz_targets", up, ..] => *up != "src",
        _ => false,
    }
}

/// The files that a source file may mean with its `mod` and `include!` lines.
fn named(path: &str, text: &str) -> Vec<String> {
    let (dir, file) = path.rsplit_once('/').unwrap_or(("", path));
    let stem = file.trim_end_matches(".rs");
    let owns_its_dir = stem == "mod" || is_root(path);
    let inner = if owns_its_dir {
        dir.to_owned()
    } else {
        format!("{dir}/{stem}")
    };
    let mut found = Vec::new();
    let mut attribute = None;
    for line in text.lines().map(str::trim) {
        if let Some(path) =
            between(line, "#[path = \"", "\"]").or_else(|| between(line, "include!(\"", "\")"))
        {
            found.push(format!("{dir}/{path}"));
            attribute = Some(path);
        } else if let Some(name) = declared(line).filter(|_| attribute.take().is_none()) {
            found.push(format!("{inner}/{name}.rs"));
            found.push(format!("{inner}/{name}/mod.rs"));
        }
    }
    found
}

/// The module that a line `[pub…] mod NAME;` declares.
fn declared(line: &str) -> Option<&str> {
    let (before, name) = line.strip_suffix(';')?.rsplit_once("mod ")?;
    let visible = before.is_empty() || before.starts_with("pub") || before.starts_with("#[");
    (visible && name.chars().all(|c| c.is_alphanumeric() || c == '_')).then_some(name)
}

fn between<'a>(line: &'a str, before: &str, after: &str) -> Option<&'a str> {
    line.strip_prefix(before)?
        .split_once(after)
        .map(|(inner, _)| inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File {
            path: path.to_owned(),
            bytes: text.into(),
        }
    }

    #[test]
    fn modules_are_followed_to_their_files() {
        let tree = [
            file(
                "a/src/lib.rs",
                "pub mod x;\nmod y;\n#[path = \"odd.rs\"]\nmod z;\n",
            ),
            file("a/src/x.rs", "mod inner;"),
            file("a/src/x/inner.rs", ""),
            file("a/src/y/mod.rs", "pub(crate) mod deep;"),
            file("a/src/y/deep.rs", ""),
            file("a/src/odd.rs", ""),
            file("a/src/bin/tool.rs", ""),
            file("a/tests/it.rs", "mod common_case;"),
            file("a/build.rs", ""),
        ];
        let problems = check(&tree);
        assert!(problems.is_empty(), "{problems:?}");
    }

    #[test]
    fn a_file_that_nothing_names_is_dead() {
        let tree = [
            file("a/src/lib.rs", "// mod lost;\n"),
            file("a/src/lost.rs", ""),
        ];
        assert_eq!(check(&tree), ["a/src/lost.rs: no `mod` leads to it"]);
    }
}
