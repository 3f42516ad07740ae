//! `cargo xtask dist`: Debian packages, into `target/dist/`.
//!
//! * `wprobe`: the commands, their manual pages and completions.
//! * `wprobe-dkms`: the kernel module's source for DKMS, which builds it for each kernel that is installed. Only the C shim
//!   depends on the kernel and is compiled there; the Rust half is the same for all and comes as an object.

pub(crate) mod install;
mod tree;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tree::Tree;

use crate::exec::{PROGRAMS, cargo_target, command, output, root};
use crate::kernels::Kernel;
use crate::progress::{say, step};
use crate::{kmod, setup};

const VERSION: &str = env!("CARGO_PKG_VERSION");
const MAINTAINER: &str = "bpf2wasm contributors <bpf2wasm@localhost>";
/// The commands, by the packages they are built from.
const COMMANDS: &[(&str, &str)] = &[("bpf2wasm", "bpf2wasm"), ("wprobe-loader", "wprobe")];
/// Where the completions of a command lie.
type PlaceOf = fn(&str) -> String;
/// A shell, and where Debian looks for completions for it.
const SHELLS: &[(&str, PlaceOf)] = &[
    ("bash", |name| {
        format!("usr/share/bash-completion/completions/{name}")
    }),
    ("zsh", |name| {
        format!("usr/share/zsh/vendor-completions/_{name}")
    }),
    ("fish", |name| {
        format!("usr/share/fish/vendor_completions.d/{name}.fish")
    }),
];

const RELEASE: [&str; 7] = [
    "cargo",
    "build",
    "--locked",
    "--release",
    "--bins",
    "-pbpf2wasm",
    "-pwprobe-loader",
];

const POSTINST: &str = include_str!("postinst.sh");
const PRERM: &str = include_str!("prerm.sh");

/// How the commands are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Profile {
    /// As the tests have them.
    Debug,
    /// As users get them.
    Release,
}

/// The packages.
#[derive(Debug)]
pub(crate) struct Packages {
    /// The commands.
    pub(crate) wprobe: PathBuf,
    /// The kernel module.
    pub(crate) dkms: PathBuf,
}

/// The task itself.
pub(crate) fn run(profile: Profile, test: bool) -> Result<()> {
    let packages = build(profile)?;
    for path in [&packages.wprobe, &packages.dkms] {
        let size = fs::metadata(path)?.len() / 1024;
        let shown = path.strip_prefix(root()).unwrap_or(path);
        say("dist", format_args!("{} ({size} KiB)", shown.display()));
    }
    if test {
        install::check(&packages)?;
    }
    Ok(())
}

/// Builds the packages.
pub(crate) fn build(profile: Profile) -> Result<Packages> {
    // Which kernel does not matter: it is for the Rust half.
    let kernel = Kernel::V6_12;
    setup::ensure(&[kernel])?;
    kmod::build(kernel)?;
    let (words, built): (&[&str], _) = match profile {
        Profile::Debug => (&PROGRAMS, "debug"),
        Profile::Release => (&RELEASE, "release"),
    };
    step("dist", &format!("cargo build, {built}"), || {
        output(command(words).current_dir(root()))
    })?;
    Ok(Packages {
        wprobe: commands(&cargo_target().join(built))?,
        dkms: module()?,
    })
}

/// The package of the commands, which lie in `built`.
fn commands(built: &Path) -> Result<PathBuf> {
    let tree = Tree::new("wprobe")?;
    let pages = dir().join("man");
    if pages.exists() {
        fs::remove_dir_all(&pages)?;
    }
    for (_, name) in COMMANDS {
        let program = built.join(name);
        let installed = tree.path(&format!("usr/bin/{name}"))?;
        output(command(["strip", "-o"]).args([&installed, &program]))?;
        for (shell, path) in SHELLS {
            let script = output(command([&program]).args(["completions", shell]))?;
            tree.file(&path(name), &script)?;
        }
        output(command([&program]).arg("man").arg(&pages))?;
    }
    for page in fs::read_dir(&pages)? {
        let page = page?;
        let name = page.file_name().to_string_lossy().into_owned();
        tree.compressed(&format!("usr/share/man/man1/{name}"), &page.path())?;
    }
    tree.file("usr/share/doc/wprobe/crates", &crates()?)?;
    copyright(&tree, "wprobe", "MIT or Apache-2.0, at your choice", true)?;
    let control = format!(
        "Architecture: amd64\nDepends: {}\nRecommends: wprobe-dkms (= {VERSION})\nSuggests: libbpf-tools\nSection: admin\n\
         Description: run eBPF tools as WebAssembly on kernel probes\n \
         bpf2wasm translates eBPF objects, or tools that embed one, to WebAssembly.\n \
         wprobe runs them: by the kernel module of wprobe-dkms, or natively.\n",
        needs(&tree)?
    );
    tree.package(&control, &[])
}

/// The package of the kernel module's source.
fn module() -> Result<PathBuf> {
    let tree = Tree::new("wprobe-dkms")?;
    let source = format!("usr/src/wprobe-{VERSION}");
    let kmod = root().join("kmod");
    let shim = fs::read_dir(kmod.join("shim"))?.map(|entry| entry.map(|entry| entry.path()));
    let mut files = shim.collect::<Result<Vec<PathBuf>, _>>()?;
    files.extend(["Kbuild", "Makefile", "configure.sh"].map(|name| kmod.join(name)));
    for file in files {
        let name = file.file_name().context("a file has a name")?;
        let name = name.to_string_lossy();
        fs::copy(&file, tree.path(&format!("{source}/{name}"))?)?;
    }
    let object = tree.path(&format!("{source}/wprobe_rs.o_shipped"))?;
    fs::copy(root().join("target/kmod/wprobe_rs.o"), object)?;
    let conf = fs::read_to_string(kmod.join("dkms.conf"))?;
    tree.file(
        &format!("{source}/dkms.conf"),
        &conf.replace("@VERSION@", VERSION),
    )?;
    copyright(&tree, "wprobe-dkms", "MIT and GPL-2.0", false)?;
    let control = "Architecture: amd64\nDepends: dkms (>= 2.1.0.0), libelf1\nRecommends: linux-headers-amd64\nSection: kernel\n\
                   Description: kernel module that runs eBPF tools as WebAssembly (DKMS)\n \
                   The module wprobe, with its WebAssembly engine. It is built for each kernel whose\n \
                   headers are installed. Load it with `modprobe wprobe`.\n";
    tree.package(control, &[("postinst", POSTINST), ("prerm", PRERM)])
}

/// The libraries that the commands are linked with, as `Depends:` has them.
fn needs(tree: &Tree) -> Result<String> {
    // It reads the control file of a source package, of which it wants the names only.
    let source = dir().join("source");
    fs::create_dir_all(source.join("debian"))?;
    let control = "Source: wprobe\n\nPackage: wprobe\nArchitecture: amd64\n";
    fs::write(source.join("debian/control"), control)?;
    let mut shlibdeps = command(["dpkg-shlibdeps", "-O"]);
    for (_, name) in COMMANDS {
        shlibdeps
            .arg("-e")
            .arg(tree.path(&format!("usr/bin/{name}"))?);
    }
    let found = output(shlibdeps.current_dir(&source))?;
    let found = found.trim().strip_prefix("shlibs:Depends=");
    found.map(str::to_owned).context("dpkg-shlibdeps")
}

/// The crates that are linked into the commands, with their licences.
fn crates() -> Result<String> {
    let format = "{p} {l}";
    let mut tree = command([
        "cargo", "tree", "--locked", "--edges", "normal", "--prefix", "none",
    ]);
    tree.args(["--no-dedupe", "--format", format]);
    for (package, _) in COMMANDS {
        tree.args(["--package", package]);
    }
    let listed = output(tree.current_dir(root()))?;
    let here = root().display().to_string();
    let mut lines: Vec<&str> = listed
        .lines()
        .filter(|line| !line.contains(&here))
        .collect();
    lines.sort_unstable();
    lines.dedup();
    Ok(lines.join("\n").trim_start().to_owned() + "\n")
}

fn copyright(tree: &Tree, package: &str, terms: &str, is_rust: bool) -> Result<()> {
    let mut text = format!("Licence: {terms}.\n\n");
    text += &fs::read_to_string(root().join("LICENSE-MIT"))?;
    if is_rust {
        text += "\nThe Apache licence is /usr/share/common-licenses/Apache-2.0. What is linked in besides is in the file `crates` here.\n";
    } else {
        text +=
            "\nThe GNU General Public Licence, version 2, is /usr/share/common-licenses/GPL-2.\n";
    }
    tree.file(&format!("usr/share/doc/{package}/copyright"), &text)
}

/// The lines of the control file that all packages have.
fn control(package: &str, more: &str, kib: u64) -> String {
    format!(
        "Package: {package}\nVersion: {VERSION}\nMaintainer: {MAINTAINER}\nPriority: optional\nInstalled-Size: {kib}\n{more}"
    )
}

/// A maintainer script, with the version in it.
fn script(text: &str) -> String {
    text.replace("@VERSION@", VERSION)
}

/// Where packages are made.
fn dir() -> PathBuf {
    root().join("target/dist")
}

/// The sum of the sizes of the files under `dir`, in KiB.
fn size(dir: &Path) -> Result<u64> {
    let listed = output(command(["du", "-sk", "--apparent-size"]).arg(dir))?;
    let words = listed.split_whitespace().next();
    words
        .and_then(|word| word.parse().ok())
        .context("du prints a number")
}
