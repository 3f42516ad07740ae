//! Debian's packages: those of this machine's own sources, and those of any suite, through a root of apt's own under `target/vm/apt`.
//!
//! The machine's sources, lists and packages stay as they are. Suites are fetched from the archives that the machine has anyway.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};

use crate::exec::{command, output, root};
use crate::progress::step;

/// Package lists older than this are fetched anew before anything is looked for in them.
pub(crate) const STALE: Duration = Duration::from_secs(24 * 3600);
/// Of the package debian-archive-keyring: the keys of all suites, older and newer ones than the machine's.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Where packages come from.
#[derive(Debug)]
pub(crate) struct Apt {
    /// apt's configuration, if it is not the machine's.
    config: Option<PathBuf>,
}

impl Apt {
    /// The machine's own sources.
    pub(crate) fn machine() -> Self {
        Apt { config: None }
    }

    /// A suite, with lists that are not stale.
    pub(crate) fn of(suite: &str) -> Result<Self> {
        let dir = root().join("target/vm/apt").join(suite);
        for part in ["lists/partial", "archives/partial"] {
            fs::create_dir_all(dir.join(part))?;
        }
        let lock = File::create(dir.join("lock"))?;
        lock.lock()?;
        let config = dir.join("apt.conf");
        fs::write(&config, configuration(&dir))?;
        fs::write(dir.join("sources.list"), source(suite)? + "\n")?;
        fs::write(dir.join("status"), "")?;
        let apt = Apt {
            config: Some(config),
        };
        let updated = dir.join("updated");
        let time = fs::metadata(&updated).and_then(|file| file.modified()).ok();
        let age = time.and_then(|time| SystemTime::now().duration_since(time).ok());
        if age.is_none_or(|age| age > STALE) {
            step("setup", &format!("package lists of {suite}"), || {
                output(&mut apt.command(["apt-get", "-q", "update"]))
            })
            .with_context(|| format!("cannot fetch {suite}'s lists: is this machine online?"))?;
            fs::write(updated, "")?;
        }
        Ok(apt)
    }

    fn command<const N: usize>(&self, words: [&str; N]) -> Command {
        let mut command = command(words);
        command.envs(self.config.iter().map(|config| ("APT_CONFIG", config)));
        command
    }

    /// What `package` depends on: of alternatives the first.
    pub(crate) fn depends(&self, package: &str) -> Result<Vec<String>> {
        let words = ["apt-cache", "--no-all-versions", "show", package];
        let text = output(&mut self.command(words))?;
        Ok(depends(&text).map(str::to_owned).collect())
    }

    /// The first dependency of `package` whose name begins with `prefix`.
    pub(crate) fn dependency(&self, package: &str, prefix: &str) -> Result<String> {
        let all = self.depends(package)?;
        let found = all.into_iter().find(|name| name.starts_with(prefix));
        found.with_context(|| format!("{package} depends on no {prefix}*"))
    }

    /// Downloads packages into a new directory.
    pub(crate) fn fetch<S: AsRef<OsStr>>(&self, packages: &[S], into: &Path) -> Result<()> {
        if into.exists() {
            fs::remove_dir_all(into)?;
        }
        fs::create_dir_all(into)?;
        let mut apt = self.command(["apt-get", "-q", "download"]);
        output(apt.args(packages).current_dir(into)).map(drop)
    }

    /// Downloads packages and unpacks them into a new directory.
    pub(crate) fn unpack<S: AsRef<OsStr>>(&self, packages: &[S], into: &Path) -> Result<()> {
        if into.exists() {
            fs::remove_dir_all(into)?;
        }
        let debs = into.join("debs");
        self.fetch(packages, &debs)?;
        for deb in fs::read_dir(&debs)? {
            output(command(["dpkg-deb", "-x"]).arg(deb?.path()).arg(into))?;
        }
        fs::remove_dir_all(debs).map_err(Into::into)
    }
}

/// A line of `sources.list` for `suite`, of the machine's archive that has such.
pub(crate) fn source(suite: &str) -> Result<String> {
    let format = "$(ORIGIN)|$(REPO_URI)|$(RELEASE)";
    let targets = output(&mut command([
        "apt-get",
        "indextargets",
        "--format",
        format,
    ]))?;
    let archive = archive(&targets, suite).with_context(|| {
        format!("this machine has no archive of Debian's for {suite}: a source of its own release's main, and of its security suite, are needed")
    })?;
    ensure!(Path::new(KEYRING).exists(), "no {KEYRING}");
    Ok(format!("deb [signed-by={KEYRING}] {archive} {suite} main"))
}

/// The archive that has `suite`, if `targets` has one of its kind: security's suites are in one of their own.
fn archive<'t>(targets: &'t str, suite: &str) -> Option<&'t str> {
    let is_security = |suite: &str| suite.ends_with("-security");
    targets
        .lines()
        .filter_map(|line| line.strip_prefix("Debian|"))
        .filter_map(|line| line.split_once('|'))
        .find(|(_, release)| is_security(release) == is_security(suite))
        .map(|(uri, _)| uri)
}

/// The configuration of a root of apt's own. Whatever else the machine has configured (a proxy) stays so.
fn configuration(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "Dir::State \"{dir}\";\nDir::State::lists \"lists\";\nDir::State::status \"{dir}/status\";\n\
         Dir::Cache \"{dir}\";\nDir::Cache::archives \"archives\";\n\
         Dir::Etc::sourcelist \"{dir}/sources.list\";\nDir::Etc::sourceparts \"/dev/null\";\n\
         Acquire::Languages \"none\";\nAPT::Architecture \"amd64\";\nAPT::Architectures \"amd64\";\nAPT::Sandbox::User \"root\";\n"
    )
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

    #[test]
    fn security_has_an_archive_of_its_own() {
        let targets = "Other|x:/o/|stable\nDebian|x:/s/|bookworm-security\nDebian|x:/d/|bookworm\n";
        assert_eq!(archive(targets, "bullseye-security"), Some("x:/s/"));
        assert_eq!(archive(targets, "trixie-backports"), Some("x:/d/"));
        assert_eq!(
            archive("Debian|x:/d/|bookworm\n", "bullseye-security"),
            None
        );
    }
}
