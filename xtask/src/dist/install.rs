//! `cargo xtask dist --test`, and a phase of `cargo xtask test`: the packages on a Debian of their own that has DKMS and a compiler, but no Rust.
//!
//! They are installed in a chroot, which loads nothing, and used in guests: on 6.1, on which the module is built when the package
//! is installed, and on 6.12, for which it is built when that kernel is.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context, Result, bail, ensure};

use super::Packages;
use crate::apt::Apt;
use crate::exec::{command, output, root, tail};
use crate::kernels::Kernel;
use crate::progress::step;
use crate::setup;
use crate::vm::Guest;

/// The kernel that is there first, and the one that comes later.
const KERNELS: [Kernel; 2] = [Kernel::V6_1, Kernel::V6_12];
/// What is there besides Debian's essential packages and the first kernel's headers. The last four are what the later kernel needs.
const PACKAGES: &str = "dkms,libelf1,libbpf-tools,linux-base,initramfs-tools,gcc-12,pahole";
/// Uses what is installed, in a guest.
const USE: &str = include_str!("installed.sh");

/// Installs `packages`, uses them, changes the kernel, uses them, and removes them.
pub(crate) fn check(packages: &Packages) -> Result<()> {
    setup::ensure(&KERNELS)?;
    let [first, later] = KERNELS;
    let system = System::new(first)?;
    ensure!(
        system.run(&["sh", "-c", "command -v rustc cargo"]).is_err(),
        "there is Rust in {}",
        system.0.display()
    );
    step("install", "on 6.1", || {
        system.install(&[&packages.dkms, &packages.wprobe])
    })?;
    system.has_module(first, true)?;
    system.has_module(later, false)?;
    system.used_on(first)?;
    step("install", "upgrade to 6.12", || {
        system.install(&kernel_packages(later)?)
    })?;
    system.has_module(later, true)?;
    system.used_on(later)?;
    system.run(&["dpkg", "--remove", "wprobe", "wprobe-dkms"])?;
    for kernel in KERNELS {
        system.has_module(kernel, false)?;
    }
    Ok(())
}

/// Where this phase's files are.
fn dir() -> PathBuf {
    root().join("target/vm/install")
}

/// A system's root directory.
struct System(PathBuf);

impl System {
    /// A copy of [`base`].
    fn new(kernel: Kernel) -> Result<Self> {
        let base = base(kernel)?;
        let copy = dir().join("root");
        if copy.exists() {
            fs::remove_dir_all(&copy)?;
        }
        step("install", "copying the system", || {
            output(command(["cp", "-a"]).args([&base, &copy]))
        })?;
        Ok(System(copy))
    }

    /// Runs a command in it; what it said.
    fn run(&self, words: &[&str]) -> Result<String> {
        let mut unshare = command(["unshare", "--mount", "--pid", "--fork", "--kill-child"]);
        unshare.arg("--mount-proc").arg("--root").arg(&self.0);
        // The initial ramdisk of the later kernel would be made for nothing.
        let env = [
            ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
            ("DEBIAN_FRONTEND", "noninteractive"),
            ("INITRD", "No"),
            ("LC_ALL", "C"),
        ];
        output(unshare.args(words).env_clear().envs(env))
    }

    fn install(&self, packages: &[impl AsRef<Path>]) -> Result<()> {
        // Nobody minds if the machine loses this system when its power fails.
        let mut words = ["dpkg", "--force-unsafe-io", "--install"]
            .map(str::to_owned)
            .to_vec();
        for package in packages {
            let package = package.as_ref();
            let name = package.file_name().context("a package has a name")?;
            fs::copy(package, self.0.join("var/tmp").join(name))?;
            words.push(format!("/var/tmp/{}", name.to_string_lossy()));
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.run(&words).map(drop)
    }

    fn has_module(&self, kernel: Kernel, expected: bool) -> Result<()> {
        let release = kernel.release()?;
        let path = format!("lib/modules/{}/updates/dkms/wprobe.ko", release.trim());
        // Where the kernel's own modules are compressed, it is.
        let names = [path.clone(), format!("{path}.xz")];
        let found = names.iter().any(|name| self.0.join(name).exists());
        ensure!(
            found == expected,
            "{path}: there: {found}, expected: {expected}"
        );
        Ok(())
    }

    /// Boots `kernel` and uses the commands on it.
    fn used_on(&self, kernel: Kernel) -> Result<()> {
        let said = Mutex::new(String::new());
        let root = self.0.display().to_string();
        let words = ["sh", "-c", USE, "installed", &root].map(str::to_owned);
        let guest = Guest::new(kernel, words.to_vec());
        let outcome = step("install", &format!("use on {}", kernel.name()), || {
            guest.boot(&|line, _| {
                let mut said = said.lock().expect("nothing panics here");
                *said += line;
                said.push('\n');
            })
        })?;
        if !outcome.is_good() {
            outcome.explain("install");
            let said = said.into_inner().expect("nothing panics here");
            bail!("on {}:\n{}", kernel.name(), tail(&said, 30));
        }
        Ok(())
    }
}

/// Debian with what the packages depend on and the headers of `kernel`, made if it is missing.
fn base(kernel: Kernel) -> Result<PathBuf> {
    let release = kernel.release()?;
    let packages = PACKAGES.replace(',', "+");
    let base = dir().join(format!("base-{}-{packages}", release.trim()));
    let new = dir().join("base.new");
    if base.exists() {
        return Ok(base);
    }
    fs::create_dir_all(dir())?;
    if new.exists() {
        fs::remove_dir_all(&new)?;
    }
    step("install", "mmdebstrap: a system to install on", || {
        let mut make = command(["mmdebstrap", "--quiet", "--mode=root", "--variant=apt"]);
        make.arg(format!(
            "--include={PACKAGES},linux-headers-{}",
            release.trim()
        ));
        output(make.arg("bookworm").arg(&new).args(sources()?))
    })?;
    fs::rename(&new, &base)?;
    Ok(base)
}

/// Lines of Debian's archives, as this machine has them.
fn sources() -> Result<Vec<String>> {
    let targets = output(&mut command([
        "apt-get",
        "indextargets",
        "--format",
        "$(ORIGIN)|deb $(REPO_URI) $(RELEASE) main",
    ]))?;
    let debian = targets
        .lines()
        .filter_map(|line| line.strip_prefix("Debian|"));
    let mut lines: Vec<String> = debian.map(str::to_owned).collect();
    lines.sort();
    lines.dedup();
    ensure!(!lines.is_empty(), "apt knows no archive of Debian's");
    Ok(lines)
}

/// The packages of `kernel`, downloaded if they are missing.
fn kernel_packages(kernel: Kernel) -> Result<Vec<PathBuf>> {
    let release = kernel.release()?;
    let into = dir().join(format!("debs-{}", release.trim()));
    if !into.exists() {
        let new = dir().join("debs.new");
        let apt = Apt::of(kernel.suite())?;
        apt.fetch(&kernel.packages(&apt)?, &new)?;
        fs::rename(&new, &into)?;
    }
    let files = fs::read_dir(&into)?.map(|entry| entry.map(|entry| entry.path()));
    Ok(files.collect::<Result<_, _>>()?)
}
