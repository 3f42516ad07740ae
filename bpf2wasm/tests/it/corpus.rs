//! Every BPF object of Debian's packages: converted, or refused for the reason given here.

use std::path::{Path, PathBuf};
use std::process::Command;

use bpf2wasm::{Options, convert, embedded_objects};

/// The files of a Debian package: unpacked by `cargo xtask setup`, or installed.
fn files(package: &str) -> Vec<PathBuf> {
    let unpacked = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/vm/objects");
    let unpacked = unpacked.join(package);
    if unpacked.exists() {
        let mut files = Vec::new();
        collect(&unpacked, &mut files);
        return files;
    }
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

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        match path.symlink_metadata().expect("metadata").file_type() {
            kind if kind.is_dir() => collect(&path, files),
            kind if kind.is_file() => files.push(path),
            _ => {}
        }
    }
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

/// How many objects are refused, and the end of the message.
type Refusals = &'static [(usize, &'static str)];

/// Packages with BPF objects, how many convert, and what is refused, by the end of the message.
const PACKAGES: &[(&str, usize, Refusals)] = &[
    ("xdp-tools", 31, &[]),
    ("libxdp1", 15, &[]),
    ("xdp-tests", 7, &[]),
    ("pcp", 14, &[]),
    ("ir-keytable", 9, &[]),
    // QEMU says the program type in code, not in the section's name: `--type tun_rss_steering=socket`.
    (
        "qemu-system-x86",
        0,
        &[(
            2,
            "section \"tun_rss_steering\" is of no supported program type",
        )],
    ),
    ("libknot13", 1, &[]),
    (
        "golang-github-cilium-ebpf-dev",
        15,
        &[
            // GPL-only helpers, and another licence.
            (
                1,
                "bpf_trace_printk is for programs under a GPL-compatible licence, and this one's is \"MIT\"",
            ),
            (17, "big-endian BPF is not supported"),
            // A function that another object is to define.
            (
                1,
                "relocation against \"fwd\", which is no map, data or function",
            ),
        ],
    ),
];

#[test]
fn other_packages_convert_or_are_refused_for_a_reason() {
    let mut wrong = Vec::new();
    for (package, converted, refused) in PACKAGES {
        let outcomes = outcomes(package);
        assert!(
            !outcomes.is_empty(),
            "no objects of {package}: cargo xtask setup fetches them"
        );
        let good = outcomes
            .iter()
            .filter(|(_, outcome)| outcome.is_ok())
            .count();
        println!("{package}: {good} of {} objects convert", outcomes.len());
        let count = |reason: &str| {
            let with =
                |o: &&(String, Result<_, String>)| o.1.as_ref().is_err_and(|e| e.ends_with(reason));
            outcomes.iter().filter(with).count()
        };
        let expected: usize = refused.iter().map(|(n, _)| n).sum();
        if good != *converted
            || expected + good != outcomes.len()
            || refused.iter().any(|(n, reason)| count(reason) != *n)
        {
            for (name, outcome) in &outcomes {
                println!("  {name}: {}", outcome.as_ref().err().map_or("ok", |e| e));
            }
            wrong.push(*package);
        }
    }
    assert!(wrong.is_empty(), "not as listed: {wrong:?}");
}
