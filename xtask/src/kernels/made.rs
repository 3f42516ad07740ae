//! Kernels that Debian does not have, made from its source: with checks of memory, locks and lives of objects, which no kernel that is
//! sold has for what they cost.
//!
//! It takes a core 40 minutes and 4 GB under `target/vm/kernels`, once. The tree stays: it is what modules are built against.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, ensure};

use crate::apt::Apt;
use crate::exec::{command, output, root};
use crate::progress::step;

/// What such kernels are built with, besides what modules are.
pub(crate) const PACKAGES: [&str; 4] = ["bc", "bison", "flex", "libelf-dev"];
/// How they are configured: what this says, and nothing else that can be left out.
const CONFIG: &str = "xtask/kernels/debug.config";
/// Sanitized functions need more stack than the warning has room for; the stacks are larger, too.
const FLAGS: &str = "KCFLAGS=-Wno-frame-larger-than";

/// Makes the kernel of `package`, a source of Debian's, in the new directory `into`; its release.
pub(super) fn make(apt: &Apt, package: &str, into: &Path) -> Result<String> {
    let source = into.join("usr/src").join(package);
    step("setup", &format!("{package}: Debian's source"), || {
        apt.unpack(&[package], into)?;
        let packed = source.with_extension(extension(&source));
        let mut unpack = command(["tar", "--extract", "--file"]);
        output(unpack.arg(&packed).current_dir(into.join("usr/src")))?;
        fs::remove_file(packed)?;
        configure(&source)
    })?;
    let jobs = thread::available_parallelism()?.to_string();
    step(
        "setup",
        &format!("{package}: compiling, the better part of an hour"),
        || output(in_tree(&source, &["-j", &jobs, "vmlinux", "modules"]).arg(FLAGS)),
    )?;
    let release = output(&mut in_tree(&source, &["kernelrelease"]))?;
    let release = release.trim().to_owned();
    step("setup", &format!("{package}: installing"), || {
        let place = format!("INSTALL_MOD_PATH={}", into.display());
        output(in_tree(&source, &["modules_install"]).arg(place))?;
        // Without what only debuggers read.
        let mut strip = command(["objcopy", "--strip-debug"]);
        output(strip.arg(source.join("vmlinux")).arg(into.join("vmlinux")))
    })?;
    fs::rename(&source, headers(into, &release))?;
    Ok(release)
}

/// The tree that modules for `release` are built against.
pub(super) fn headers(dir: &Path, release: &str) -> PathBuf {
    dir.join(format!("usr/src/linux-headers-{release}"))
}

/// Whatever is behind the last dot of a version, and how Debian packs it: `linux-source-6.12` is `linux-source-6.12.tar.xz`.
fn extension(source: &Path) -> String {
    let last = source.extension().unwrap_or_default().to_string_lossy();
    format!("{last}.tar.xz")
}

/// `make` in the tree, which leaves the machine to others.
fn in_tree(source: &Path, words: &[&str]) -> Command {
    let mut make = command(["nice", "-n", "19", "make", "-s", "-C"]);
    make.arg(source).args(words);
    make
}

/// Configures it, and sees that it took all it was told.
fn configure(source: &Path) -> Result<()> {
    let config = root().join(CONFIG);
    let all = format!("KCONFIG_ALLCONFIG={}", config.display());
    output(in_tree(source, &["allnoconfig"]).arg(all))?;
    let asked = fs::read_to_string(&config)?;
    let made = source.join(".config");
    let got = fs::read_to_string(&made).with_context(|| made.display().to_string())?;
    let refused = refused(&asked, &got);
    ensure!(
        refused.is_empty(),
        "this source does not take of {CONFIG}: {}",
        refused.join(", ")
    );
    Ok(())
}

/// The lines of `asked` that `got` has not.
fn refused<'c>(asked: &'c str, got: &str) -> Vec<&'c str> {
    let takes = |line: &str| match line.strip_suffix("=n") {
        Some(option) => !got.lines().any(|got| {
            let got = got.strip_prefix(option);
            got.is_some_and(|rest| rest.starts_with('='))
        }),
        None => got.lines().any(|got| got == line),
    };
    let options = asked.lines().filter(|line| line.starts_with("CONFIG_"));
    options.filter(|line| !takes(line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_source_does_not_take_is_said() {
        let asked = "# CONFIG_C=y\nCONFIG_A=y\nCONFIG_B=n\nCONFIG_D=y\nCONFIG_E=n\nCONFIG_F=n\n";
        let got = "CONFIG_A=y\nCONFIG_D=m\n# CONFIG_B is not set\nCONFIG_E=y\nCONFIG_FF=y\n";
        assert_eq!(refused(asked, got), ["CONFIG_D=y", "CONFIG_E=n"]);
    }

    #[test]
    fn a_source_is_packed_under_its_own_name() {
        let source = Path::new("/s/linux-source-6.12");
        let packed = source.with_extension(extension(source));
        assert_eq!(packed, Path::new("/s/linux-source-6.12.tar.xz"));
    }
}
