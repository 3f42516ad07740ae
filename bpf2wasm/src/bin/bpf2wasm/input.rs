//! The input that most verbs take: a BPF object, or an executable that embeds some.

use std::fs::File;
use std::io::{self, Read};
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
    /// Treat a section, or a program, as if its section were called AS (e.g. `mysection=kprobe/vfs_read`)
    #[arg(long = "type", value_name = "SECTION=AS", value_parser = section_type)]
    types: Vec<(String, String)>,
    /// Only this program, and others that are named so
    #[arg(long = "program", value_name = "NAME")]
    programs: Vec<String>,
    /// Not this program
    #[arg(long, value_name = "NAME")]
    skip: Vec<String>,
}

fn section_type(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').ok_or("expected SECTION=AS")?;
    Ok((pair.0.to_owned(), pair.1.to_owned()))
}

/// The bytes of `path`.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    let bytes = match path == Path::new("-") {
        true => all(io::stdin()),
        false => File::open(path).and_then(all),
    };
    bytes.with_context(|| label(path))
}

/// What messages call an input.
fn label(path: &Path) -> String {
    match path == Path::new("-") {
        true => "standard input".to_owned(),
        false => path.display().to_string(),
    }
}

/// All bytes of an ELF file or a wasm module. Of anything else, which may be as long as it likes, the first ones: they
/// are enough to say that it is neither.
fn all(mut source: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.by_ref().take(4).read_to_end(&mut bytes)?;
    if bytes == b"\x7fELF" || bytes == b"\0asm" {
        source.read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

impl Input {
    /// Calls `f` with the chosen object and what to call it: the file's name, and the object's if there are several.
    pub(crate) fn with<T>(&self, f: impl FnOnce(&Embedded<'_>, &str) -> Result<T>) -> Result<T> {
        let bytes = read(&self.input)?;
        let label = label(&self.input);
        let objects = embedded_objects(&bytes).with_context(|| label.clone())?;
        let several = objects.len() > 1;
        let object = pick(objects, self.object.as_deref()).with_context(|| label.clone())?;
        let file = self.input.file_name().unwrap_or(self.input.as_os_str());
        let with = |file: &str| match several {
            true => format!("{file}:{}", object.name),
            false => file.to_owned(),
        };
        let (name, label) = (with(&file.to_string_lossy()), with(&label));
        // The manifest has the file's name; messages have the path.
        f(&object, &name).map_err(|error| match error.downcast::<bpf2wasm::Error>() {
            Ok(error) => bpf2wasm::Error {
                object: Some(label),
                ..error
            }
            .into(),
            Err(other) => other,
        })
    }

    /// The translator's options.
    pub(crate) fn options(&self) -> Options {
        let mut options = Options::default();
        options.section_types.clone_from(&self.types);
        options.programs.clone_from(&self.programs);
        options.skip.clone_from(&self.skip);
        options
    }
}
