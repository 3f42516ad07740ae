//! The guest that tests run in: its kernel module, and the commands built beside this one.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use abi::uapi::{Kind, Resource};
use anyhow::{Context, Result, bail, ensure};
use loader::device::{self, Device};

use crate::cases::rights;

/// Refuses to run anywhere but in a QEMU guest: what follows attaches probes and loads a kernel module.
pub fn check() -> Result<()> {
    let vendor = fs::read_to_string("/sys/class/dmi/id/sys_vendor").unwrap_or_default();
    ensure!(
        vendor.trim() == "QEMU",
        "this is no QEMU guest; run it with `cargo xtask vm -- {}`",
        env::args().collect::<Vec<_>>().join(" ")
    );
    Ok(())
}

/// Loads `wprobe.ko`, unless it is loaded.
pub fn insmod() -> Result<()> {
    if fs::metadata(device::PATH).is_ok() {
        return Ok(());
    }
    insmod_with(&[])
}

/// Loads it with `parameters`.
pub fn insmod_with(parameters: &[&str]) -> Result<()> {
    succeed(Command::new("insmod").arg(module()?).args(parameters)).map(drop)
}

/// Unloads it.
pub fn rmmod() -> Result<()> {
    succeed(Command::new("rmmod").arg("wprobe")).map(drop)
}

/// `$WPROBE_KO`, or what `cargo xtask kmod` built for the kernel that `cargo xtask vm` booted (`$WPROBE_GUEST`).
fn module() -> Result<PathBuf> {
    if let Some(path) = env::var_os("WPROBE_KO") {
        return Ok(path.into());
    }
    let kernel = env::var("WPROBE_GUEST").context("neither WPROBE_KO nor WPROBE_GUEST is set")?;
    let name = format!("kmod/{kernel}/wprobe.ko");
    let exe = env::current_exe()?;
    let path = exe
        .ancestors()
        .map(|dir| dir.join(&name))
        .find(|path| path.exists());
    path.with_context(|| format!("no {name} above {} (cargo xtask kmod)", exe.display()))
}

/// The device, with nothing in it but what the tests put there.
pub fn device() -> Result<Device> {
    Ok(Device::open()?)
}

/// Checks that nothing is left of what was loaded, and that no probe ever allocated.
pub fn check_clean() -> Result<()> {
    if rights::is_locked_down() {
        // The device cannot be opened any more; the test that did that looked.
        return Ok(());
    }
    let device = device()?;
    device.flush()?;
    for kind in [
        Kind::Sandbox,
        Kind::Map,
        Kind::Module,
        Kind::Link,
        Kind::Ring,
        Kind::Timing,
    ] {
        let left = device.ids(kind)?;
        ensure!(left.is_empty(), "left behind: {kind:?} {left:?}");
    }
    for resource in Resource::ALL {
        let used = device.limit(*resource)?.used;
        ensure!(used == 0, "{used} of {} charged", resource.name());
    }
    let about = device.about()?;
    let (allocations, frees) = (about.allocations, about.frees);
    ensure!(
        allocations == frees,
        "{allocations} allocations, {frees} frees"
    );
    let in_probes = about.probe_allocations;
    ensure!(in_probes == 0, "{in_probes} allocations inside probes");
    Ok(())
}

/// How long anything may take on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `is_so`, which is looked at again and again.
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    while !is_so()? {
        ensure!(Instant::now() < end, "{what}: not within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// The command `wprobe`, built beside this one.
pub fn wprobe() -> Result<PathBuf> {
    let path = env::current_exe()?.with_file_name("wprobe");
    ensure!(path.exists(), "{} is not built", path.display());
    Ok(path)
}

/// Runs a command that must succeed.
pub fn succeed(command: &mut Command) -> Result<Output> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        bail!("{command:?}: {}\n{out}{err}", output.status);
    }
    Ok(output)
}

/// The BPF objects in Debian's libbpf-tools, with the names of the tools. Links to a tool are left out.
pub fn libbpf_tools() -> Result<Vec<(String, Vec<u8>)>> {
    let files = succeed(Command::new("dpkg-query").args(["-L", "libbpf-tools"]))?;
    let files = String::from_utf8(files.stdout)?;
    let mut tools = Vec::new();
    for path in files.lines().filter(|p| p.starts_with("/usr/sbin/")) {
        if fs::symlink_metadata(path)?.is_symlink() {
            continue;
        }
        let file = fs::read(path)?;
        let Ok(objects) = bpf2wasm::embedded_objects(&file) else {
            continue;
        };
        let name = path.rsplit('/').next().unwrap_or(path);
        tools.extend(objects.iter().map(|o| (name.to_owned(), o.bytes.to_vec())));
    }
    Ok(tools)
}

/// A directory of the tests' own, in memory.
pub fn scratch(name: &str) -> Result<PathBuf> {
    let path = env::temp_dir().join(format!("wprobe-{name}"));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path)?;
    Ok(path)
}
