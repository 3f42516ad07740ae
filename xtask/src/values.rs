//! `cargo xtask values`: values of relocations by a kernel's debug information against those by its BTF, for every object at hand.
//!
//! Debian has the debug information of its kernels in packages of their own, of some 800 MB; those of cloud kernels are the smallest,
//! 300 MB, of which the kernel itself is kept.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};

use crate::apt::Apt;
use crate::exec::{command, output, root};
use crate::kernels::Kernel;
use crate::progress::step;
use crate::setup;

/// Compares; what differs is printed.
pub(crate) fn run(kernel: Kernel) -> Result<()> {
    setup::ensure(&[])?;
    let vmlinux = fetched(kernel)?;
    let test = [
        "cargo",
        "test",
        "--locked",
        "--workspace",
        "--test",
        "core_values",
        "--",
        "--ignored",
        "--nocapture",
        "every_relocation_has_the_same_value_by_debug_information",
    ];
    let mut test = command(test);
    test.current_dir(root()).env("KERNEL_DEBUG", &vmlinux);
    let status = test.stdin(Stdio::null()).status()?;
    ensure!(status.success(), "{}: values differ", vmlinux.display());
    Ok(())
}

/// The kernel of that row's suite with its debug information, fetched if it is missing.
fn fetched(kernel: Kernel) -> Result<PathBuf> {
    let dir = root().join("target/vm/debug").join(kernel.name());
    if dir.exists() {
        return vmlinux(&dir);
    }
    let new = dir.with_file_name(format!("{}.new", kernel.name()));
    let apt = Apt::of(kernel.suite())?;
    let meta = format!("linux-image-{}-dbg", kernel.package());
    let package = apt.dependency(&meta, "linux-image-")?;
    step("values", &format!("fetching {package}"), || {
        let debs = new.join("debs");
        apt.fetch(&[&package], &debs)?;
        // The modules' would be six times as much.
        let unpack = "dpkg-deb --fsys-tarfile \"$1\"/*.deb | tar -x -C \"$2\" --wildcards '*/boot/vmlinux-*'";
        output(command(["sh", "-c", unpack, "sh"]).arg(&debs).arg(&new))?;
        fs::remove_dir_all(debs).map_err(Into::into)
    })?;
    fs::rename(&new, &dir)?;
    vmlinux(&dir)
}

fn vmlinux(dir: &Path) -> Result<PathBuf> {
    let boot = dir.join("usr/lib/debug/boot");
    let mut files = fs::read_dir(&boot).with_context(|| boot.display().to_string())?;
    let file = files
        .next()
        .with_context(|| format!("{}: empty", boot.display()))?;
    Ok(file?.path())
}
