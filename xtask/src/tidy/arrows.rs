//! Which crate may use which: ARCHITECTURE.md, "Code map".

use anyhow::{Context, Result};
use serde_json::Value;

use crate::exec::{command, output, root};

/// A crate and the crates of this repository it may depend on, for its tests and build script too.
const ARROWS: &[(&str, &[&str])] = &[
    ("wprobe-abi", &[]),
    ("bpf2wasm", &["wprobe-abi"]),
    ("wprobe-compiler", &["wprobe-abi", "wprobe-cost"]),
    ("wprobe-cost", &[]),
    ("wprobe-helpers", &["wprobe-abi"]),
    // The translator and the compiler make what its tests check; it knows neither.
    (
        "wprobe-checker",
        &["wprobe-abi", "wprobe-cost", "bpf2wasm", "wprobe-compiler"],
    ),
    (
        "wprobe-kmod",
        &[
            "wprobe-abi",
            "wprobe-checker",
            "wprobe-compiler",
            "wprobe-cost",
            "wprobe-helpers",
        ],
    ),
    (
        "wprobe-loader",
        &[
            "wprobe-abi",
            "bpf2wasm",
            "wprobe-compiler",
            "wprobe-cost",
            "wprobe-helpers",
        ],
    ),
    (
        "wprobe-diff-tests",
        &["wprobe-abi", "bpf2wasm", "wprobe-helpers", "wprobe-loader"],
    ),
    ("xtask", &["wprobe-abi", "wprobe-helpers"]),
];

/// What else `wprobe-abi` may depend on: it is part of everything.
const ABI_ALSO: &[&str] = &["serde"];

/// Both workspaces' crates against [`ARROWS`].
pub(super) fn check() -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for manifest in ["Cargo.toml", "kmod/Cargo.toml"] {
        let mut cargo = command([
            "cargo",
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
        ]);
        let text = output(cargo.arg("--manifest-path").arg(root().join(manifest)))?;
        for package in serde_json::from_str::<Value>(&text)?["packages"]
            .as_array()
            .context("packages")?
        {
            let name = package["name"].as_str().context("a package has a name")?;
            let dependencies = package["dependencies"].as_array().context("dependencies")?;
            let dependencies: Vec<&str> = dependencies
                .iter()
                .filter_map(|one| one["name"].as_str())
                .collect();
            problems.extend(against(name, &dependencies));
        }
    }
    Ok(problems)
}

fn against(name: &str, dependencies: &[&str]) -> Vec<String> {
    let Some((_, allowed)) = ARROWS.iter().find(|(of, _)| *of == name) else {
        return vec![format!("{name}: has no row in xtask/src/tidy/arrows.rs")];
    };
    let ours = |name: &str| ARROWS.iter().any(|(of, _)| *of == name);
    dependencies
        .iter()
        // A crate whose tests want more of its features names itself.
        .filter(|on| **on != name)
        .filter(|on| match ours(on) {
            true => !allowed.contains(on),
            false => name == "wprobe-abi" && !ABI_ALSO.contains(on),
        })
        .map(|on| format!("{name}: may not depend on {on}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrows_that_are_not_drawn_are_refused() {
        assert!(against("bpf2wasm", &["wprobe-abi", "object"]).is_empty());
        assert_eq!(against("bpf2wasm", &["wprobe-helpers"]).len(), 1);
        assert_eq!(against("wprobe-helpers", &["bpf2wasm"]).len(), 1);
        assert_eq!(against("wprobe-abi", &["serde", "log"]).len(), 1);
        assert_eq!(against("newcomer", &[]).len(), 1);
    }
}
