//! The kernels everything is tested on: Debian's own, unpacked under `target/vm/kernels/`, never installed.
//!
//! Installing a kernel on the machine that builds would change what it boots next; `dpkg-deb -x` does not.
//! Image, headers and kbuild tools of one kernel come from the same Debian version and lie in one tree. A kernel is a row of
//! [`ROWS`]; whatever it needs is made when it is asked for.

pub(crate) mod made;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use clap::builder::PossibleValue;

use crate::apt::Apt;
use crate::exec::{command, output, root};
use crate::image;
use crate::progress::step;

/// A kernel that Debian has.
#[derive(Debug)]
struct Row {
    /// Its name here: the version, where its suite stays with one; else the suite, whose version moves on.
    name: &'static str,
    /// Where its packages are: by the suite, they do not vanish.
    suite: &'static str,
    /// The package that depends on the newest image of that suite, but for `linux-image-`; the headers' has the same name. Or
    /// `source-` and a version: that of Debian's source, of which it is [`made`].
    package: &'static str,
    /// The release whose compiler and libraries a module for it is built with, if it is not the machine's own.
    built_on: Option<&'static str>,
    /// Whether it is among those that tasks take if nobody says which.
    usual: bool,
    /// Whether it has 9p, by which a guest sees the machine's files; else it does so by virtiofs.
    has_9p: bool,
}

/// All of them, oldest first. (Of 5.10's real-time kernel the security suite names an image that its archive has not.)
#[rustfmt::skip]
static ROWS: [Row; 16] = [
    Row { name: "5.10", suite: "bullseye-security", package: "amd64", built_on: Some("bullseye"), usual: true, has_9p: true },
    Row { name: "5.10-rt", suite: "bullseye", package: "rt-amd64", built_on: Some("bullseye"), usual: false, has_9p: true },
    Row { name: "5.10-cloud", suite: "bullseye-security", package: "cloud-amd64", built_on: Some("bullseye"), usual: false, has_9p: false },
    Row { name: "6.1", suite: "bookworm-security", package: "amd64", built_on: None, usual: true, has_9p: true },
    Row { name: "6.1-rt", suite: "bookworm-security", package: "rt-amd64", built_on: None, usual: true, has_9p: true },
    Row { name: "6.1-cloud", suite: "bookworm-security", package: "cloud-amd64", built_on: None, usual: false, has_9p: false },
    Row { name: "6.12", suite: "bookworm-security", package: "6.12-amd64", built_on: None, usual: true, has_9p: true },
    Row { name: "6.12-rt", suite: "bookworm-security", package: "6.12-rt-amd64", built_on: None, usual: false, has_9p: true },
    Row { name: "6.12-cloud", suite: "bookworm-security", package: "6.12-cloud-amd64", built_on: None, usual: false, has_9p: false },
    Row { name: "6.12-debug", suite: "bookworm-security", package: "source-6.12", built_on: None, usual: false, has_9p: true },
    Row { name: "sid", suite: "sid", package: "amd64", built_on: Some("sid"), usual: false, has_9p: true },
    Row { name: "sid-rt", suite: "sid", package: "rt-amd64", built_on: Some("sid"), usual: false, has_9p: true },
    Row { name: "sid-cloud", suite: "sid", package: "cloud-amd64", built_on: Some("sid"), usual: false, has_9p: false },
    Row { name: "backports", suite: "trixie-backports", package: "amd64", built_on: Some("trixie"), usual: true, has_9p: true },
    Row { name: "backports-rt", suite: "trixie-backports", package: "rt-amd64", built_on: Some("trixie"), usual: false, has_9p: true },
    Row { name: "backports-cloud", suite: "trixie-backports", package: "cloud-amd64", built_on: Some("trixie"), usual: false, has_9p: false },
];

static ALL: [Kernel; ROWS.len()] = {
    let mut all = [Kernel(&ROWS[0]); ROWS.len()];
    let mut at = 0;
    while at < all.len() {
        all[at] = Kernel(&ROWS[at]);
        at += 1;
    }
    all
};

/// The packages of a kernel that are unpacked: those that its image and its headers depend on, by how their names begin. Since
/// 7.x the image is two.
const PARTS: [&str; 4] = [
    "linux-binary-",
    "linux-modules-",
    "linux-headers-",
    "linux-kbuild-",
];

/// A kernel of the matrix.
#[derive(Clone, Copy)]
pub(crate) struct Kernel(&'static Row);

/// Every kernel of Debian's, oldest first.
pub(crate) fn matrix() -> impl DoubleEndedIterator<Item = Kernel> {
    ALL.iter().copied().filter(|kernel| !kernel.is_made())
}

/// Those that tasks take if nobody says which.
pub(crate) fn usual() -> Vec<Kernel> {
    ALL.iter().copied().filter(|k| k.is_usual()).collect()
}

/// The kernels that were asked for; the usual ones if none was.
pub(crate) fn or_usual(asked: Vec<Kernel>) -> Vec<Kernel> {
    if asked.is_empty() { usual() } else { asked }
}

impl PartialEq for Kernel {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for Kernel {}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name)
    }
}

impl ValueEnum for Kernel {
    fn value_variants<'a>() -> &'a [Self] {
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.0.name))
    }
}

impl Kernel {
    /// The one whose debug information is the smallest.
    pub(crate) const WITH_DEBUG: Kernel = Kernel::named("6.1-cloud");
    /// The one that most is tested on.
    pub(crate) const V6_12: Kernel = Kernel::named("6.12");
    /// The one before.
    pub(crate) const V6_1: Kernel = Kernel::named("6.1");
    /// The oldest that is supported.
    pub(crate) const OLDEST: Kernel = Kernel::named("5.10");
    /// The newest that Debian has for a stable release.
    pub(crate) const NEWEST: Kernel = Kernel::named("backports");

    /// The row of that name, which there must be.
    const fn named(name: &str) -> Kernel {
        let mut at = 0;
        while at < ROWS.len() {
            if is_equal(ROWS[at].name, name) {
                return Kernel(&ROWS[at]);
            }
            at += 1;
        }
        panic!("no such kernel");
    }

    /// Its name here.
    pub(crate) fn name(self) -> &'static str {
        self.0.name
    }

    /// Whether it is among those that tasks take if nobody says which.
    pub(crate) fn is_usual(self) -> bool {
        self.0.usual
    }

    /// The release that a module for it is built on, if it is not the machine's own.
    pub(crate) fn built_on(self) -> Option<&'static str> {
        self.0.built_on
    }

    /// Debian's suite that it is from.
    pub(crate) fn suite(self) -> &'static str {
        self.0.suite
    }

    /// The package that depends on its newest image, but for `linux-image-`.
    pub(crate) fn package(self) -> &'static str {
        self.0.package
    }

    /// Whether it has 9p.
    pub(crate) fn has_9p(self) -> bool {
        self.0.has_9p
    }

    /// Whether it is one of ours, which watches itself: for who asks for it by name, and not part of any matrix.
    pub(crate) fn is_made(self) -> bool {
        self.0.package.starts_with("source-")
    }

    /// Memory in MiB of a guest that boots it: one that watches itself needs a byte for eight, and keeps what was freed for a while.
    pub(crate) fn memory(self) -> u32 {
        if self.is_made() { 4096 } else { 2048 }
    }

    /// How many times as long as others it may take for all it does.
    pub(crate) fn slowness(self) -> u32 {
        if self.is_made() { 6 } else { 1 }
    }

    /// Where its packages are unpacked.
    pub(crate) fn dir(self) -> PathBuf {
        root().join("target/vm/kernels").join(self.name())
    }

    /// What `uname -r` says on it.
    pub(crate) fn release(self) -> Result<String> {
        self.read("release", "cargo xtask setup")
    }

    /// The packages that a module for it is built with: its build tools, and a compiler.
    pub(crate) fn tools(self) -> Result<String> {
        self.read("tools", "remove its directory, and run this again")
    }

    fn read(self, name: &str, remedy: &str) -> Result<String> {
        let path = self.dir().join(name);
        let text = fs::read_to_string(&path);
        text.with_context(|| format!("{} ({remedy})", path.display()))
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
        let dir = self.dir();
        let headers = made::headers(&dir, &self.release()?);
        if !self.is_made() {
            relocate(&headers.join("Makefile"), &dir)?;
        }
        Ok(headers)
    }

    /// Whether it is there already.
    pub(crate) fn is_ready(self) -> bool {
        self.dir().join("release").exists()
    }

    /// The packages of its release, and those that building needs.
    pub(crate) fn packages(self, apt: &Apt) -> Result<Vec<String>> {
        let release = self.release()?;
        let release = release.trim();
        parts(
            apt,
            &format!("linux-image-{release}"),
            &format!("linux-headers-{release}"),
        )
    }

    /// Downloads and unpacks it. The directory appears whole or not at all.
    pub(crate) fn fetch(self) -> Result<()> {
        let (name, suite, package) = (self.0.name, self.0.suite, self.0.package);
        let apt = Apt::of(suite)?;
        let new = self.dir().with_file_name(format!("{name}.new"));
        if self.is_made() {
            let release = made::make(&apt, &format!("linux-{package}"), &new)?;
            return self.put(&new, &release);
        }
        let image = apt.dependency(&format!("linux-image-{package}"), "linux-image-")?;
        let headers = apt.dependency(&format!("linux-headers-{package}"), "linux-headers-")?;
        let release = image
            .strip_prefix("linux-image-")
            .context("the image package names its release")?;
        if headers.strip_prefix("linux-headers-") != Some(release) {
            bail!("{suite}'s {image} and {headers} are of different releases; apt-get update?");
        }
        let packages = parts(&apt, &image, &headers)?;
        step("setup", &format!("kernel {name}: {release}"), || {
            apt.unpack(&packages, &new)?;
            modules_where_expected(&new)?;
            image::unpack(&packed(&new, release)?, &new.join("vmlinux"))?;
            output(command(["depmod", "-b"]).arg(&new).arg(release))
        })?;
        fs::write(new.join("tools"), tools(&apt, &headers)?)?;
        self.put(&new, release)
    }

    /// Puts the tree that was made at `new` in its place.
    fn put(self, new: &Path, release: &str) -> Result<()> {
        fs::write(new.join("release"), release)?;
        if self.dir().exists() {
            fs::remove_dir_all(self.dir())?;
        }
        fs::rename(new, self.dir())?;
        Ok(())
    }
}

const fn is_equal(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut at = 0;
    while at < a.len() && at < b.len() && a[at] == b[at] {
        at += 1;
    }
    at == a.len() && at == b.len()
}

/// Those packages, and what is needed of their dependencies.
fn parts(apt: &Apt, image: &str, headers: &str) -> Result<Vec<String>> {
    let mut parts = vec![image.to_owned(), headers.to_owned()];
    for package in [image, headers] {
        for needed in apt.depends(package)? {
            if PARTS.iter().any(|part| needed.starts_with(part)) && !parts.contains(&needed) {
                parts.push(needed);
            }
        }
    }
    Ok(parts)
}

/// What modules are built with, of what the headers depend on: the build tools and the compiler.
fn tools(apt: &Apt, headers: &str) -> Result<String> {
    let kinds = ["linux-kbuild-", "linux-compiler-", "gcc-"];
    let needed = apt.depends(headers)?;
    let tools = needed
        .into_iter()
        .filter(|name| kinds.iter().any(|kind| name.starts_with(kind)));
    Ok(tools.collect::<Vec<_>>().join(","))
}

/// Packages of newer releases have `/usr/lib` for `/lib`.
fn modules_where_expected(tree: &Path) -> Result<()> {
    if !tree.join("lib").exists() {
        std::os::unix::fs::symlink("usr/lib", tree.join("lib"))?;
    }
    Ok(())
}

/// The bootable image.
fn packed(tree: &Path, release: &str) -> Result<PathBuf> {
    let places = [
        format!("boot/vmlinuz-{release}"),
        format!("lib/modules/{release}/vmlinuz"),
    ];
    let found = places
        .iter()
        .map(|place| tree.join(place))
        .find(|path| path.exists());
    found.with_context(|| format!("no image in {}: {}", tree.display(), places.join(", ")))
}

/// The headers' Makefile includes its common part by absolute path: makes that one of `tree`, wherever that was before.
fn relocate(makefile: &Path, tree: &Path) -> Result<()> {
    let text = fs::read_to_string(makefile).with_context(|| makefile.display().to_string())?;
    let ours = relocated(&text, &tree.display().to_string());
    if !ours.contains("/usr/src/") {
        bail!("{}: no absolute path in it any more", makefile.display());
    }
    if ours != text {
        fs::write(makefile, ours)?;
    }
    Ok(())
}

/// `text`, with paths that have `/usr/src/` in them below `tree`.
fn relocated(text: &str, tree: &str) -> String {
    const PLACE: &str = "/usr/src/";
    let path = |path: &str| match path.find(PLACE) {
        Some(at) => format!("{tree}{}", &path[at..]),
        None => path.to_owned(),
    };
    let word = |word: &str| match word.split_once('=') {
        Some((name, value)) => format!("{name}={}", path(value)),
        None => path(word),
    };
    let line = |line: &str| line.split(' ').map(word).collect::<Vec<_>>().join(" ");
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unlike() {
        for (at, row) in ROWS.iter().enumerate() {
            assert!(
                ROWS[..at].iter().all(|other| other.name != row.name),
                "{}",
                row.name
            );
        }
    }

    #[test]
    fn a_copied_tree_has_its_own_paths() {
        let packed = "KBUILD_OUTPUT=/usr/src/h\ninclude /usr/src/c/Makefile\n";
        let first = relocated(packed, "/a/k");
        assert_eq!(
            first,
            "KBUILD_OUTPUT=/a/k/usr/src/h\ninclude /a/k/usr/src/c/Makefile\n"
        );
        let moved = "KBUILD_OUTPUT=/b/usr/src/h\ninclude /b/usr/src/c/Makefile\n";
        assert_eq!(relocated(&first, "/b"), moved);
        assert_eq!(relocated(moved, "/b"), moved);
    }
}
