//! The files of one package, as they will lie under `/`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{VERSION, control, dir, script, size};
use crate::exec::{command, output};

/// A directory that is packed.
#[derive(Debug)]
pub(super) struct Tree {
    package: String,
    dir: PathBuf,
}

impl Tree {
    /// An empty one for `package`.
    pub(super) fn new(package: &str) -> Result<Self> {
        let dir = dir().join(package);
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        fs::create_dir_all(&dir)?;
        let package = package.to_owned();
        Ok(Tree { package, dir })
    }

    /// Where the file is made that will be `path`; its directory is there.
    pub(super) fn path(&self, path: &str) -> Result<PathBuf> {
        let path = self.dir.join(path);
        fs::create_dir_all(path.parent().context("a file lies in a directory")?)?;
        Ok(path)
    }

    /// Writes a file.
    pub(super) fn file(&self, path: &str, text: &str) -> Result<()> {
        fs::write(self.path(path)?, text).with_context(|| path.to_owned())
    }

    /// Writes `from`, compressed, the same each time.
    pub(super) fn compressed(&self, path: &str, from: &Path) -> Result<()> {
        let copy = self.path(path)?;
        fs::copy(from, &copy)?;
        output(command(["gzip", "-9nf"]).arg(copy)).map(drop)
    }

    /// Packs it, with `more` lines of its control file and maintainer scripts; the package.
    pub(super) fn package(&self, more: &str, scripts: &[(&str, &str)]) -> Result<PathBuf> {
        let text = control(&self.package, more, size(&self.dir)?);
        self.file("DEBIAN/control", &text)?;
        for (name, text) in scripts {
            let path = self.path(&format!("DEBIAN/{name}"))?;
            fs::write(&path, script(text))?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        }
        let package = dir().join(format!("{}_{VERSION}_amd64.deb", self.package));
        // Whatever the umask here is.
        output(command(["chmod", "-R", "u=rwX,go=rX"]).arg(&self.dir))?;
        output(command(["dpkg-deb", "--root-owner-group", "--build"]).args([&self.dir, &package]))?;
        Ok(package)
    }
}
