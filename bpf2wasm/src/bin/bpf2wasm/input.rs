//! The input that most verbs take: a BPF object, or an executable that embeds some.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use bpf2wasm::{Embedded, Options, embedded_objects, pick};

/// Which object, and how to read it.
#[derive(clap::Args)]
pub(crate) struct Input {
    /// A BPF object, or an executable that embeds some; `-` is standard input
    pub(crate) input: PathBuf,
    /// Which of several embedded objects
    #[arg(long, value_name = "NAME|INDEX")]
    object: Option<String>,
    /// Treat section SECTION as if it were called AS (e.g. `mysection=kprobe/vfs_read`)
    #[arg(long = "type", value_name = "SECTION=AS", value_parser = section_type)]
    types: Vec<(String, String)>,
    /// Translate calls of unknown helpers to traps
    #[arg(long)]
    stub_unknown_helpers: bool,
}

fn section_type(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').ok_or("expected SECTION=AS")?;
    Ok((pair.0.to_owned(), pair.1.to_owned()))
}

/// The bytes of `path`.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin()
            .read_to_end(&mut bytes)
            .context("standard input")?;
        return Ok(bytes);
    }
    std::fs::read(path).with_context(|| path.display().to_string())
}

impl Input {
    /// Calls `f` with the chosen object and what to call it: the file's name, and the object's if there are several.
    pub(crate) fn with<T>(&self, f: impl FnOnce(&Embedded<'_>, &str) -> Result<T>) -> Result<T> {
        let bytes = read(&self.input)?;
        let file = self
            .input
            .file_name()
            .unwrap_or(self.input.as_os_str())
            .to_string_lossy()
            .into_owned();
        let objects = embedded_objects(&bytes).with_context(|| file.clone())?;
        let several = objects.len() > 1;
        let object = pick(objects, self.object.as_deref()).with_context(|| file.clone())?;
        let name = if several {
            format!("{file}:{}", object.name)
        } else {
            file
        };
        f(&object, &name)
    }

    /// The translator's options.
    pub(crate) fn options(&self) -> Options {
        let mut options = Options::default();
        options.section_types.clone_from(&self.types);
        options.stub_unknown_helpers = self.stub_unknown_helpers;
        options
    }
}
