//! What a single file may be: text, of a bearable length, without names that do not belong in it.

use super::File;

/// Documents with a limit on their lines.
const LIMITS: &[(&str, usize)] = &[("README.md", 120), ("ARCHITECTURE.md", 300)];

/// Lines from which a source file gets a notice.
const LONG: usize = 500;

/// Longer files, and why that is right.
const LONG_BY_DESIGN: &[(&str, &str)] = &[
    ("helpers/abi/src/helpers.rs", "a table: one row a helper"),
    (
        "bpf2wasm/src/isa/table.rs",
        "a table: one row an instruction",
    ),
    (
        "helpers/abi/src/uapi.rs",
        "a table: every struct of the interface",
    ),
];

/// Texts no file contains: places that exist on one machine only, and hosts that belong into a machine's
/// configuration. In two halves, so that this file does not contain them.
const FORBIDDEN: &[(&str, &str)] = &[
    ("..", "/shared"),
    ("/work", "/main"),
    ("/work", "/shared"),
    ("index.crates", ".io"),
    ("static.crates", ".io"),
    ("registry.npmjs", ".org"),
    ("files.pythonhosted", ".org"),
    ("deb.debian", ".org"),
];

/// Written by cargo, not by people.
const GENERATED: &[&str] = &["Cargo.lock"];

/// Everything wrong with single files.
pub(super) fn check(files: &[File]) -> Vec<String> {
    let mut problems: Vec<String> = files.iter().flat_map(check_one).collect();
    for (path, _) in LIMITS.iter() {
        if !files.iter().any(|file| file.path == *path) {
            problems.push(format!("{path}: missing"));
        }
    }
    for (path, _) in LONG_BY_DESIGN {
        if !files.iter().any(|file| file.path == *path) {
            problems.push(format!("{path}: exempted from its length, but not there"));
        }
    }
    problems
}

fn check_one(file: &File) -> Vec<String> {
    let path = &file.path;
    if file.bytes.contains(&0) || std::str::from_utf8(&file.bytes).is_err() {
        return vec![format!("{path}: not text")];
    }
    if GENERATED.iter().any(|name| path.ends_with(name)) {
        return Vec::new();
    }
    let mut problems = Vec::new();
    let lines = file.text().lines().count();
    if let Some((_, limit)) = LIMITS
        .iter()
        .find(|(name, limit)| name == path && lines > *limit)
    {
        problems.push(format!("{path}: {lines} lines, at most {limit}"));
    }
    for (number, line) in file.text().lines().enumerate() {
        for (first, second) in FORBIDDEN {
            if line.contains(&format!("{first}{second}")) {
                problems.push(format!("{path}:{}: names {first}{second}", number + 1));
            }
        }
    }
    problems
}

/// Source files that are long without a reason given.
pub(super) fn notices(files: &[File]) -> Vec<String> {
    files
        .iter()
        .filter(|file| {
            [".rs", ".c", ".h", ".sh"]
                .iter()
                .any(|end| file.path.ends_with(end))
        })
        .filter(|file| !LONG_BY_DESIGN.iter().any(|(path, _)| *path == file.path))
        .map(|file| (file, file.text().lines().count()))
        .filter(|(_, lines)| *lines > LONG)
        .map(|(file, lines)| format!("{}: {lines} lines", file.path))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, bytes: &[u8]) -> File {
        File {
            path: path.to_owned(),
            bytes: bytes.to_owned(),
        }
    }

    #[test]
    fn blobs_are_refused() {
        assert_eq!(check_one(&file("a.bin", b"\x7fELF\0")).len(), 1);
        assert_eq!(check_one(&file("a.txt", b"\xff\xfe")).len(), 1);
        assert!(check_one(&file("a.rs", b"fn main() {}\n")).is_empty());
    }

    #[test]
    fn long_documents_are_refused_and_long_sources_noticed() {
        assert_eq!(
            check_one(&file("README.md", "x\n".repeat(121).as_bytes())).len(),
            1
        );
        assert!(check_one(&file("README.md", "x\n".repeat(120).as_bytes())).is_empty());
        assert_eq!(
            notices(&[file("a.rs", "x\n".repeat(LONG + 1).as_bytes())]).len(),
            1
        );
        assert!(
            notices(&[file(LONG_BY_DESIGN[0].0, "x\n".repeat(LONG + 1).as_bytes())]).is_empty()
        );
    }

    #[test]
    fn forbidden_names_are_refused() {
        for (first, second) in FORBIDDEN {
            assert!(
                !check_one(&file("a.md", format!("see {first}{second}/x").as_bytes())).is_empty()
            );
        }
    }
}
