//! Other releases' compilers: a kernel module wants the compiler that its kernel was built with, and its build tools want the
//! libraries of their release. So there is a root directory of each such release, made on demand, in which `make` runs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use crate::apt;
use crate::exec::{command, output, root};
use crate::kernels::Kernel;
use crate::progress::step;

/// What every build needs, besides a kernel's own tools.
const PACKAGES: &str = "make,binutils";

/// The `make` that builds modules for `kernel`: the machine's own, or one in a root of another release, which sees this
/// repository's `target/` at the same path.
pub(crate) fn make(kernel: Kernel) -> Result<PathBuf> {
    let Some(release) = kernel.built_on() else {
        return Ok("make".into());
    };
    let dir = ensure(kernel, release)?;
    let script = kernel.dir().join("make");
    let text = script_of(&dir, &root().join("target"));
    if fs::read_to_string(&script).ok().as_ref() != Some(&text) {
        fs::write(&script, text)?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    }
    Ok(script)
}

/// The root directory, made if it is missing.
fn ensure(kernel: Kernel, release: &str) -> Result<PathBuf> {
    let tools = kernel.tools()?;
    let roots = root().join("target/vm/roots");
    let dir = roots.join(format!("{release}-{}", tools.replace(',', "+")));
    if dir.exists() {
        return Ok(dir);
    }
    ensure!(
        output(&mut command(["id", "-u"]))?.trim() == "0",
        "root is needed to make a build root of {release}, which modules for {} are built in",
        kernel.name()
    );
    fs::create_dir_all(&roots)?;
    // Another task may be at it: whoever comes second finds it done.
    let lock = fs::File::create(roots.join("lock"))?;
    lock.lock()?;
    if dir.exists() {
        return Ok(dir);
    }
    let new = roots.join("new");
    if new.exists() {
        fs::remove_dir_all(&new)?;
    }
    step(
        "setup",
        &format!("a build root of {release}: {tools}"),
        || {
            let mut make = command([
                "mmdebstrap",
                "--quiet",
                "--mode=root",
                "--variant=essential",
            ]);
            make.arg(format!("--include={PACKAGES},{tools}"));
            make.arg(release).arg(&new).arg(apt::source(release)?);
            if kernel.suite() != release {
                make.arg(apt::source(kernel.suite())?);
            }
            output(&mut make)
        },
    )?;
    fs::rename(&new, &dir)?;
    Ok(dir)
}

/// Runs `make` in `dir`, with `shared` at the place it has outside.
fn script_of(dir: &Path, shared: &Path) -> String {
    format!(
        r#"#!/bin/sh
# make, in a root of the release that this kernel was built on. Made by cargo xtask.
root='{}' shared='{}'
export root shared
mkdir -p "$root$shared"
exec unshare --mount --pid --fork --kill-child sh -c '
    mount --bind "$shared" "$root$shared" && mount -t proc proc "$root/proc" || exit
    exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C chroot "$root" make "$@"
' make "$@"
"#,
        dir.display(),
        shared.display()
    )
}
