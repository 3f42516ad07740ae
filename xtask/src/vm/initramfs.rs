//! The guest's first file system: busybox, the modules that reach the host's file system, and `init.sh`.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::exec::{command, output};
use crate::kernels::Kernel;

const INIT: &str = include_str!("init.sh");

/// What a guest needs before it has a root file system; built-in ones fall out.
const MODULES: [&str; 2] = ["virtio_pci", "virtio_console"];
/// What brings it there.
const BY_9P: [&str; 2] = ["9pnet_virtio", "9p"];
const BY_VIRTIOFS: [&str; 2] = ["fuse", "virtiofs"];

fn modules(kernel: Kernel) -> Vec<&'static str> {
    let share = if kernel.has_9p() { BY_9P } else { BY_VIRTIOFS };
    MODULES.into_iter().chain(share).collect()
}

/// The archive for `kernel`, made when it is missing or older than what it is made from.
pub(super) fn ensure(kernel: Kernel) -> Result<PathBuf> {
    // Guests boot at the same time, from threads of one task and from several tasks: whoever comes second finds it made.
    let lock = File::create(kernel.dir().join("initramfs.lock"))?;
    lock.lock()?;
    let path = kernel.dir().join("initramfs");
    let recipe = kernel.dir().join("initramfs.recipe");
    let modules = modules(kernel);
    let inputs = format!("{}\n{modules:?}\n{INIT}", kernel.release()?);
    if path.exists() && fs::read_to_string(&recipe).is_ok_and(|old| old == inputs) {
        return Ok(path);
    }
    let tree = kernel.dir().join("initramfs.new");
    // What a task left that was killed.
    if tree.exists() {
        fs::remove_dir_all(&tree)?;
    }
    fs::create_dir_all(tree.join("modules"))?;
    fs::create_dir_all(tree.join("bin"))?;
    fs::copy("/bin/busybox", tree.join("bin/busybox"))?;
    fs::write(tree.join("init"), INIT)?;
    fs::set_permissions(tree.join("init"), fs::Permissions::from_mode(0o755))?;
    let mut order = String::new();
    let dep = fs::read_to_string(kernel.modules()?.join("modules.dep"))?;
    for module in in_load_order(&dep, &modules) {
        let name = unpack(&kernel.modules()?.join(&module), &tree.join("modules"))?;
        order += &format!("{name}\n");
    }
    fs::write(tree.join("modules/order"), order)?;
    let new = kernel.dir().join("initramfs.cpio");
    let pack = "find . -print0 | cpio --null --quiet -o -H newc >\"$1\"";
    output(
        command(["sh", "-c", pack, "sh"])
            .arg(&new)
            .current_dir(&tree),
    )?;
    fs::rename(&new, &path)?;
    fs::write(&recipe, inputs)?;
    fs::remove_dir_all(&tree)?;
    Ok(path)
}

/// Puts the module file into `dir`, decompressed; its name there.
fn unpack(file: &Path, dir: &Path) -> Result<String> {
    let name = file
        .file_name()
        .context("a module has a name")?
        .to_string_lossy();
    let plain = name.trim_end_matches(".xz").to_owned();
    fs::copy(file, dir.join(&*name)).with_context(|| file.display().to_string())?;
    if plain != name {
        output(command(["xz", "-d"]).arg(dir.join(&*name)))?;
    }
    Ok(plain)
}

/// Paths of `modules` and all they need, in an order that loads, from depmod's `modules.dep`.
fn in_load_order(dep: &str, modules: &[&str]) -> Vec<String> {
    let mut order = Vec::new();
    let mut seen = BTreeSet::new();
    for wanted in modules {
        let row = dep
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(path, _)| {
                let name = path.rsplit('/').next().unwrap_or(path);
                name.split('.').next() == Some(wanted)
            });
        // depmod lists needs with the one to load first last.
        let Some((path, needs)) = row else { continue };
        for path in needs.split_whitespace().rev().chain([path]) {
            if seen.insert(path) {
                order.push(path.to_owned());
            }
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needs_come_first_and_once() {
        let dep = "fs/9p/9p.ko.xz: net/9p/9pnet.ko.xz fs/netfs.ko.xz\nnet/9p/9pnet.ko.xz:\n\
                   net/9p/9pnet_virtio.ko.xz: net/9p/9pnet.ko.xz\nfs/netfs.ko.xz:\n";
        assert_eq!(
            in_load_order(dep, &["virtio_pci", "9pnet_virtio", "9p"]),
            [
                "net/9p/9pnet.ko.xz",
                "net/9p/9pnet_virtio.ko.xz",
                "fs/netfs.ko.xz",
                "fs/9p/9p.ko.xz"
            ]
        );
    }
}
