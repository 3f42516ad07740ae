//! Every BPF object of Debian's packages: converted, or refused for the reason given here.

use std::path::{Path, PathBuf};
use std::process::Command;

use bpf2wasm::{Options, convert, embedded_objects};

/// The files of a Debian package.
fn files(package: &str) -> Vec<PathBuf> {
    let output = Command::new("dpkg")
        .args(["-L", package])
        .output()
        .expect("dpkg");
    let list = String::from_utf8(output.stdout).expect("paths");
    list.lines()
        .map(PathBuf::from)
        .filter(|p| p.is_file() && !p.is_symlink())
        .collect()
}

/// Objects of a package: name and outcome.
fn outcomes(package: &str) -> Vec<(String, Result<bpf2wasm::Converted, String>)> {
    let mut outcomes = Vec::new();
    for path in files(package) {
        let bytes = std::fs::read(&path).unwrap_or_default();
        for object in embedded_objects(&bytes).unwrap_or_default() {
            let file = path
                .file_name()
                .unwrap_or(Path::new("").as_os_str())
                .to_string_lossy();
            let name = format!("{file}:{}", object.name);
            let converted = convert(object.bytes, &name, &Options::default());
            outcomes.push((name, converted.map_err(|e| e.to_string())));
        }
    }
    outcomes
}

#[test]
fn all_of_libbpf_tools_converts() {
    let outcomes = outcomes("libbpf-tools");
    assert_eq!(outcomes.len(), 52, "package libbpf-tools 0.26 is needed");
    let (mut slots, mut code, mut checked, mut accesses) = (0, 0, 0, 0);
    for (name, outcome) in outcomes {
        let converted = outcome.unwrap_or_else(|error| panic!("{error}"));
        let summary = converted.summary;
        assert_eq!(
            bpf2wasm::read_manifest(&converted.wasm).as_ref(),
            Ok(&converted.manifest),
            "{name}"
        );
        assert!(summary.dispatch.is_empty(), "{name}: irreducible");
        slots += summary.slots;
        code += summary.code_bytes;
        checked += summary.accesses.checked;
        let a = summary.accesses;
        accesses += a.frame + a.guest + a.kernel + a.checked;
    }
    let ratio = code as f64 / (slots * 8) as f64;
    println!(
        "{slots} slots, code {ratio:.2}x, {checked} of {accesses} accesses checked at run time"
    );
    assert!(ratio < 2.0, "code grew to {ratio:.2}x");
    assert!(
        checked * 100 < accesses,
        "{checked} of {accesses} accesses are unproven"
    );
}
