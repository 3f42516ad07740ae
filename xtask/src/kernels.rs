//! The kernels everything is tested on: Debian 12's own, unpacked under `target/vm/kernels/`, never installed.
//!
//! Installing a kernel on the machine that builds would change what it boots next; `dpkg-deb -x` does not.
//! Image, headers and kbuild tools of one kernel come from the same Debian version and lie in one tree.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::exec::{command, output, root};
use crate::image;
use crate::progress::step;
use crate::setup;

/// A kernel of the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kernel {
    /// Debian 12's standard kernel.
    #[value(name = "6.1")]
    V6_1,
    /// The same with PREEMPT_RT.
    #[value(name = "6.1-rt")]
    V6_1Rt,
    /// The newer kernel that Debian 12's security archive carries.
    #[value(name = "6.12")]
    V6_12,
}

/// Every kernel, oldest first.
pub(crate) const ALL: [Kernel; 3] = [Kernel::V6_1, Kernel::V6_1Rt, Kernel::V6_12];

/// The kernels that were asked for; all if none was.
pub(crate) fn or_all(asked: Vec<Kernel>) -> Vec<Kernel> {
    if asked.is_empty() {
        ALL.to_vec()
    } else {
        asked
    }
}

impl Kernel {
    /// Its name here.
    pub(crate) fn name(self) -> &'static str {
        self.row().0
    }

    /// Name, package of the image, package of the headers. The packages are Debian's metapackages, so that the
    /// newest version is taken.
    fn row(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Kernel::V6_1 => ("6.1", "linux-image-amd64", "linux-headers-amd64"),
            Kernel::V6_1Rt => ("6.1-rt", "linux-image-rt-amd64", "linux-headers-rt-amd64"),
            Kernel::V6_12 => ("6.12", "linux-image-6.12-amd64", "linux-headers-6.12-amd64"),
        }
    }

    /// Where its packages are unpacked.
    pub(crate) fn dir(self) -> PathBuf {
        root().join("target/vm/kernels").join(self.name())
    }

    /// What `uname -r` says on it.
    pub(crate) fn release(self) -> Result<String> {
        let path = self.dir().join("release");
        fs::read_to_string(&path).with_context(|| format!("{} (cargo xtask setup)", path.display()))
    }

    /// The kernel as QEMU boots it.
    pub(crate) fn vmlinux(self) -> PathBuf {
        self.dir().join("vmlinux")
    }

    /// The modules' directory.
    pub(crate) fn modules(self) -> Result<PathBuf> {
        Ok(self.dir().join("lib/modules").join(self.release()?))
    }

    /// The build directory that `make -C` takes.
    pub(crate) fn headers(self) -> Result<PathBuf> {
        Ok(self
            .dir()
            .join(format!("usr/src/linux-headers-{}", self.release()?)))
    }

    /// Whether it is there already.
    pub(crate) fn is_ready(self) -> bool {
        self.dir().join("release").exists()
    }

    /// The packages of its release, and those that building needs.
    pub(crate) fn packages(self) -> Result<[String; 4]> {
        let release = self.release()?;
        let release = release.trim();
        with_build_files(
            &format!("linux-image-{release}"),
            &format!("linux-headers-{release}"),
        )
    }

    /// Downloads and unpacks it. The directory appears whole or not at all.
    pub(crate) fn fetch(self) -> Result<()> {
        let (name, image, headers) = self.row();
        let image = dependency(image, "linux-image-")?;
        let headers = dependency(headers, "linux-headers-")?;
        let release = image
            .strip_prefix("linux-image-")
            .context("the image package names its release")?;
        if headers.strip_prefix("linux-headers-") != Some(release) {
            bail!("Debian's {image} and {headers} are of different releases; apt-get update?");
        }
        let packages = with_build_files(&image, &headers)?;
        let new = self.dir().with_extension("new");
        step("setup", &format!("kernel {name}: {release}"), || {
            setup::download(&packages, &new)?;
            let packed = new.join(format!("boot/vmlinuz-{release}"));
            image::unpack(&packed, &new.join("vmlinux"))?;
            output(command(["depmod", "-b"]).arg(&new).arg(release))
        })?;
        relocate(&new, &self.dir(), &headers)?;
        fs::write(new.join("release"), release)?;
        if self.dir().exists() {
            fs::remove_dir_all(self.dir())?;
        }
        fs::rename(&new, self.dir())?;
        Ok(())
    }
}

/// The headers' Makefile includes its common part by absolute path: makes that path ours.
fn relocate(new: &Path, dir: &Path, headers: &str) -> Result<()> {
    let makefile = new.join("usr/src").join(headers).join("Makefile");
    let text = fs::read_to_string(&makefile)?;
    let ours = text.replace("/usr/src/", &format!("{}/usr/src/", dir.display()));
    if ours == text {
        bail!("{}: no absolute path in it any more", makefile.display());
    }
    fs::write(&makefile, ours)?;
    Ok(())
}

/// Those packages, and what is needed of the headers' dependencies.
fn with_build_files(image: &str, headers: &str) -> Result<[String; 4]> {
    let common = dependency(headers, "linux-headers-")?;
    let kbuild = dependency(headers, "linux-kbuild-")?;
    Ok([image.to_owned(), headers.to_owned(), common, kbuild])
}

/// The first dependency of `package` whose name begins with `prefix`.
fn dependency(package: &str, prefix: &str) -> Result<String> {
    let text = output(&mut command([
        "apt-cache",
        "--no-all-versions",
        "show",
        package,
    ]))?;
    depends(&text)
        .find(|name| name.starts_with(prefix))
        .map(str::to_owned)
        .with_context(|| format!("{package} depends on no {prefix}*"))
}

/// Package names in the `Depends:` field of a Debian control paragraph, first alternatives only.
fn depends(control: &str) -> impl Iterator<Item = &str> {
    control
        .lines()
        .filter_map(|line| line.strip_prefix("Depends:"))
        .flat_map(|field| field.split(','))
        .filter_map(|dependency| dependency.split_whitespace().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_read_from_a_control_paragraph() {
        let text = "Package: x\nDepends: a (>= 1), b | c, d-1 (= 2)\nSize: 3\n";
        assert_eq!(depends(text).collect::<Vec<_>>(), ["a", "b", "d-1"]);
    }
}
