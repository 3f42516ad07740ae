//! `cargo xtask kmod`: builds `wprobe.ko` for the kernels of the matrix, into `target/kmod/<kernel>/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result};

use crate::exec::{command, output, root};
use crate::kernels::Kernel;
use crate::progress::{say, step};
use crate::setup;

/// What the module is made from.
const INPUTS: &[&str] = &["kmod", "helpers", "cost"];

/// The task itself.
pub(crate) fn run(kernels: &[Kernel]) -> Result<()> {
    setup::ensure(kernels)?;
    for &kernel in kernels {
        let module = build(kernel)?;
        let size = fs::metadata(&module)?.len() / 1024;
        let shown = module.strip_prefix(root()).unwrap_or(&module);
        say(
            "kmod",
            format_args!("{:7} {} ({size} KiB)", kernel.name(), shown.display()),
        );
    }
    Ok(())
}

/// Where the module for `kernel` is once it is built.
pub(crate) fn path(kernel: Kernel) -> PathBuf {
    root()
        .join("target/kmod")
        .join(kernel.name())
        .join("wprobe.ko")
}

/// The module for `kernel`, built if it is older than what it is made from.
pub(crate) fn build(kernel: Kernel) -> Result<PathBuf> {
    let module = path(kernel);
    let out = module.parent().context("the module lies in a directory")?;
    let built = fs::metadata(&module).and_then(|file| file.modified()).ok();
    if built.is_some_and(|built| newest_input(kernel).is_ok_and(|input| input < built)) {
        return Ok(module);
    }
    step("kmod", &format!("building for {}", kernel.name()), || {
        let mut build = command(["kmod/build.sh", &kernel.release()?]);
        output(
            build
                .arg(out)
                .current_dir(root())
                .env("WPROBE_KERNEL_HEADERS", kernel.headers()?),
        )
    })
    .with_context(|| format!("wprobe.ko for {}", kernel.name()))?;
    Ok(module)
}

fn newest_input(kernel: Kernel) -> Result<SystemTime> {
    let mut newest = fs::metadata(kernel.dir().join("release"))?.modified()?;
    for input in INPUTS {
        visit(&root().join(input), &mut |path| {
            newest = newest.max(fs::metadata(path)?.modified()?);
            Ok(())
        })?;
    }
    Ok(newest)
}

fn visit(dir: &Path, file: &mut dyn FnMut(&Path) -> Result<()>) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            if !path.ends_with("target") {
                visit(&path, file)?;
            }
        } else {
            file(&path)?;
        }
    }
    Ok(())
}
