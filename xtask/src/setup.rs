//! `cargo xtask setup`: the Debian packages, kernels and BPF objects that the other tasks need.
//!
//! The others call [`ensure`], which costs well under a second when nothing is missing.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};

use crate::apt::{self, Apt};
use crate::exec::{command, output, root};
use crate::kernels::{self, Kernel, made};
use crate::progress::{say, step};

/// What is installed, and for what. Kernels are unpacked, not installed (see [`kernels`]).
const PACKAGES: &[(&str, &[&str])] = &[
    (
        "guests",
        &[
            "qemu-system-x86",
            "busybox-static",
            "cpio",
            "kmod",
            "xz-utils",
            "zstd",
        ],
    ),
    // Debian's newer toolchain: the one with the library's source, for `-Z build-std`.
    (
        "the kernel module",
        &[
            "rustc-web",
            "cargo-web",
            "rust-web-src",
            "lld-19",
            "llvm-19",
            "gcc",
            "make",
            "libelf1",
            "dwarves",
        ],
    ),
    (
        "packages, and a system to install them on",
        &["dpkg-dev", "mmdebstrap"],
    ),
    ("the corpus", &["clang-19", "libbpf-dev"]),
    (
        "workloads of tools",
        &["e2fsprogs", "mdadm", "openjdk-17-jre-headless"],
    ),
    // The last three are for libbpf, which is built with the tests.
    (
        "native eBPF beside it",
        &[
            "bpftool",
            "libbpf-tools",
            "libelf-dev",
            "zlib1g-dev",
            "pkg-config",
        ],
    ),
];

/// Packages with BPF objects that the translator is tested with, and a server for a workload. They are unpacked under `target/vm/objects/` and not installed:
/// some would start services.
const OBJECTS: &[&str] = &[
    "golang-github-cilium-ebpf-dev",
    "ir-keytable",
    "libknot13",
    "libxdp1",
    "nginx",
    "pcp",
    "xdp-tests",
    "xdp-tools",
];

/// Installs whatever is missing for `kernels`.
pub(crate) fn ensure(kernels: &[Kernel]) -> Result<()> {
    let missing = missing_packages(kernels)?;
    let kernels: Vec<Kernel> = kernels.iter().copied().filter(|k| !k.is_ready()).collect();
    if missing.is_empty() && kernels.is_empty() && OBJECTS.iter().all(|p| objects(p).exists()) {
        return Ok(());
    }
    // Another task may be at it: whoever comes second finds it done.
    let lock = root().join("target/vm/setup.lock");
    fs::create_dir_all(lock.parent().context("a file lies in a directory")?)?;
    let lock = File::create(lock)?;
    lock.lock()?;
    let kernels: Vec<Kernel> = kernels.into_iter().filter(|k| !k.is_ready()).collect();
    refresh_lists()?;
    if !missing.is_empty() {
        install(&missing)?;
    }
    for kernel in kernels {
        kernel.fetch()?;
    }
    for package in OBJECTS.iter().filter(|p| !objects(p).exists()) {
        step("setup", &format!("objects of {package}"), || {
            let new = objects(package).with_extension("new");
            Apt::machine().unpack(&[package], &new)?;
            fs::rename(&new, objects(package)).map_err(Into::into)
        })?;
    }
    Ok(())
}

/// Where the files of a package with BPF objects lie.
fn objects(package: &str) -> PathBuf {
    root().join("target/vm/objects").join(package)
}

/// The task itself.
pub(crate) fn run() -> Result<()> {
    ensure(&kernels::usual())?;
    for kernel in kernels::usual() {
        say(
            "setup",
            format_args!("kernel {:9} {}", kernel.name(), kernel.release()?),
        );
    }
    say("setup", "everything is there");
    Ok(())
}

fn wanted() -> impl Iterator<Item = &'static str> {
    PACKAGES
        .iter()
        .flat_map(|(_, packages)| packages.iter().copied())
}

fn missing_packages(kernels: &[Kernel]) -> Result<Vec<&'static str>> {
    let makes = kernels.iter().any(|k| k.is_made() && !k.is_ready());
    let made = made::PACKAGES.iter().copied().filter(|_| makes);
    let wanted = || wanted().chain(made.clone());
    let mut query = command(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n"]);
    // Unknown names make it fail and still print the known ones.
    let listed = query
        .args(wanted())
        .output()
        .context("cannot run dpkg-query: these tasks need Debian 12")?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let there: BTreeSet<&str> = listed
        .lines()
        .filter_map(|line| line.strip_suffix(" installed"))
        .collect();
    Ok(wanted()
        .filter(|package| !there.contains(package))
        .collect())
}

fn refresh_lists() -> Result<()> {
    let newest = fs::read_dir("/var/lib/apt/lists")
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().contains("_Packages"))
        .filter_map(|entry| entry.metadata().ok()?.modified().ok())
        .max();
    let age = newest.and_then(|time| SystemTime::now().duration_since(time).ok());
    if age.is_some_and(|age| age < apt::STALE) {
        return Ok(());
    }
    need_root("update the package lists")?;
    step("setup", "apt-get update", || {
        output(&mut command(["apt-get", "-q", "update"]))
    })
    .context("cannot fetch Debian's package lists: is this machine online?")?;
    Ok(())
}

fn install(missing: &[&str]) -> Result<()> {
    need_root(&format!("install {}", missing.join(" ")))?;
    let text = format!("apt-get install {}", missing.join(" "));
    step("setup", &text, || {
        let mut apt = command(["apt-get", "-q", "-y", "--no-install-recommends", "install"]);
        output(apt.args(missing).env("DEBIAN_FRONTEND", "noninteractive"))
    })
    .context("cannot install packages: is this machine online, with Debian 12's main and security archives?")?;
    Ok(())
}

fn need_root(what: &str) -> Result<()> {
    if output(&mut command(["id", "-u"]))?.trim() == "0" {
        return Ok(());
    }
    let cargo = if Path::new("/usr/bin/sudo").exists() {
        "sudo -E "
    } else {
        ""
    };
    bail!("root is needed to {what}; run `{cargo}cargo xtask setup` as root once");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_named_once() {
        let unique: BTreeSet<&str> = wanted().collect();
        assert_eq!(unique.len(), wanted().count());
    }
}
