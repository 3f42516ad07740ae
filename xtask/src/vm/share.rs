//! Folders of this machine that a guest sees: by 9p, which QEMU serves itself; where a kernel has none, as cloud kernels, by virtiofs,
//! which a program beside QEMU serves for each folder, and which wants a guest's memory to be shared with it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::exec::command;

/// Where Debian's releases have the program.
const DAEMONS: [&str; 2] = ["/usr/lib/qemu/virtiofsd", "/usr/libexec/virtiofsd"];
/// It listens at once.
const PATIENCE: Duration = Duration::from_secs(20);

/// How a guest gets at folders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    NineP,
    Virtiofs,
}

impl Way {
    /// As `init.sh` has it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Way::NineP => "9p",
            Way::Virtiofs => "virtiofs",
        }
    }

    /// What a node of the guest's memory is for QEMU.
    pub(super) fn memory(self, id: &str, mebibytes: u32) -> String {
        match self {
            Way::NineP => format!("memory-backend-ram,id={id},size={mebibytes}M"),
            Way::Virtiofs => format!("memory-backend-memfd,id={id},size={mebibytes}M,share=on"),
        }
    }
}

/// A folder, and what the guest calls it. A guest writes to it only if it mounts it so.
pub(super) struct Folder<'p> {
    pub(super) tag: &'static str,
    pub(super) path: &'p Path,
    pub(super) is_written: bool,
}

/// What serves folders, until this is dropped.
#[derive(Default)]
pub(super) struct Served {
    daemons: Vec<Child>,
    /// Sockets, and what the daemons say: as a guest ends they complain about it.
    files: Vec<PathBuf>,
}

impl Drop for Served {
    fn drop(&mut self) {
        for daemon in &mut self.daemons {
            // They end by themselves when QEMU does.
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        for file in &self.files {
            let _ = fs::remove_file(file);
        }
    }
}

/// Has `qemu` offer `folders` to the boot `id`.
pub(super) fn serve(
    way: Way,
    folders: &[Folder<'_>],
    id: &str,
    qemu: &mut Command,
) -> Result<Served> {
    let mut served = Served::default();
    for folder in folders {
        let (tag, path) = (folder.tag, folder.path.display());
        match way {
            Way::NineP => {
                let readonly = if folder.is_written {
                    ""
                } else {
                    ",readonly=on"
                };
                qemu.arg("-virtfs").arg(format!(
                    "local,path={path},mount_tag={tag},security_model=none{readonly},multidevs=remap"
                ));
            }
            Way::Virtiofs => {
                let socket = served.start(folder, id)?;
                let socket = socket.display();
                qemu.arg("-chardev")
                    .arg(format!("socket,id={tag},path={socket}"))
                    .arg("-device")
                    .arg(format!("vhost-user-fs-pci,chardev={tag},tag={tag}"));
            }
        }
    }
    Ok(served)
}

impl Served {
    /// Starts what serves `folder`; where it listens.
    fn start(&mut self, folder: &Folder<'_>, id: &str) -> Result<PathBuf> {
        let program = DAEMONS.iter().find(|path| Path::new(path).exists());
        let program = program.with_context(|| {
            let places = DAEMONS.join(", ");
            format!("no virtiofsd ({places}), by which kernels without 9p see this machine's files")
        })?;
        // A socket's path must be short, and those of checkouts are not.
        let socket = std::env::temp_dir().join(format!("wprobe-vm-{id}-{}", folder.tag));
        let log = socket.with_extension("log");
        let mut daemon = command(["setpriv", "--pdeathsig", "KILL", program]);
        daemon
            .arg(format!("--socket-path={}", socket.display()))
            .args([
                "-f",
                "-o",
                "log_level=err",
                "-o",
                "sandbox=chroot",
                "-o",
                "cache=auto",
                "-o",
            ])
            .arg(format!("source={}", folder.path.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?);
        self.files.extend([socket.clone(), log.clone()]);
        self.daemons
            .push(daemon.spawn().context("cannot run virtiofsd")?);
        let start = Instant::now();
        while !socket.exists() {
            let ended = match self.daemons.last_mut() {
                Some(daemon) => daemon.try_wait()?,
                None => None,
            };
            if let Some(status) = ended {
                let said = fs::read_to_string(&log).unwrap_or_default();
                bail!("virtiofsd ended: {status}: {}", said.trim());
            }
            if start.elapsed() > PATIENCE {
                bail!("virtiofsd does not listen at {}", socket.display());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(socket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_written_to_can_be() {
        let folders = [("rootfs", "/", false), ("out", "/o", true)];
        let folders = folders.map(|(tag, path, is_written)| Folder {
            tag,
            path: Path::new(path),
            is_written,
        });
        let mut qemu = command(["qemu"]);
        serve(Way::NineP, &folders, "1", &mut qemu).unwrap();
        let words: Vec<_> = qemu.get_args().map(|word| word.to_string_lossy()).collect();
        assert!(words[1].contains("path=/,") && words[1].contains("readonly=on"));
        assert!(words[3].contains("path=/o,") && !words[3].contains("readonly"));
    }
}
