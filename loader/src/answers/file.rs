//! Files of answers: JSON, a module each, or a section of the module itself.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use wasm_encoder::{CustomSection, Encode, Section};
use wasmparser::{Parser, Payload};

use super::{Answers, Error, Host};

/// How files of a directory are called.
const EXTENSION: &str = "values";
/// The section of a module that carries its own.
const SECTION: &str = "bpf2wasm.values";
/// Of the format.
const VERSION: u32 = 1;

/// The answers of any number of kernels to one module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    version: u32,
    /// The module's name.
    pub module: String,
    /// [`super::questions`].
    pub questions: String,
    /// A kernel each.
    pub kernels: Vec<Answers>,
}

impl File {
    /// Of the module that asks `questions`.
    pub fn new(module: &str, questions: String, kernels: Vec<Answers>) -> Self {
        File {
            version: VERSION,
            module: module.to_owned(),
            questions,
            kernels,
        }
    }

    /// As text.
    pub fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }

    /// Those at `path`: one, or all of a directory.
    ///
    /// # Errors
    ///
    /// That one cannot be read, or is none.
    pub fn all(path: &Path) -> Result<Vec<Self>, Error> {
        let read = |path: &PathBuf| {
            let text = fs::read(path).map_err(|e| Error::Read(path.clone(), e))?;
            Self::parse(&text, path)
        };
        if !path.is_dir() {
            return Ok(vec![read(&path.to_owned())?]);
        }
        let entries = fs::read_dir(path).map_err(|e| Error::Read(path.to_owned(), e))?;
        let paths = entries.flatten().map(|entry| entry.path());
        let mut paths: Vec<_> = paths
            .filter(|path| {
                path.extension()
                    .is_some_and(|extension| extension == EXTENSION)
            })
            .collect();
        paths.sort();
        paths.iter().map(read).collect()
    }

    fn parse(text: &[u8], path: &Path) -> Result<Self, Error> {
        let format = |why: String| Error::Format(path.to_owned(), why);
        let file: Self = serde_json::from_slice(text).map_err(|e| format(e.to_string()))?;
        match file.version {
            VERSION => Ok(file),
            other => Err(format(format!("of version {other}, and not {VERSION}"))),
        }
    }

    /// Whether `host` is among its kernels.
    pub(super) fn is_for(&self, host: &Host) -> bool {
        self.kernels.iter().any(|answers| answers.host.is(host))
    }

    /// The answers of `host` to these questions.
    pub fn answers(&self, questions: &str, host: &Host) -> Option<&Answers> {
        let mut kernels = self.kernels.iter().filter(|_| self.questions == questions);
        kernels.find(|answers| answers.host.is(host))
    }
}

/// The answers of `host` among `files`, which are those of `path`.
pub(super) fn pick<'f>(
    files: &'f [File],
    path: &Path,
    module: &str,
    questions: &str,
    host: &Host,
) -> Result<&'f Answers, Error> {
    if let Some(found) = files.iter().find_map(|file| file.answers(questions, host)) {
        return Ok(found);
    }
    let of_module: Vec<_> = files
        .iter()
        .filter(|file| file.questions == questions)
        .collect();
    if of_module.is_empty() {
        let others = files.iter().map(|file| file.module.clone()).collect();
        return Err(Error::Module(path.to_owned(), module.to_owned(), others));
    }
    let hosts = of_module.iter().flat_map(|file| &file.kernels);
    let hosts = hosts.map(|answers| answers.host.clone()).collect();
    Err(Error::Kernel(path.to_owned(), host.clone(), hosts))
}

/// What `wasm` carries.
pub(super) fn carried(wasm: &[u8]) -> Result<Option<File>, Error> {
    let section = bpf2wasm::custom_section(wasm, SECTION);
    let parse = |text| File::parse(text, Path::new(SECTION));
    section.map(parse).transpose()
}

/// `wasm` with `file` in it, in the place of what it carried.
///
/// # Errors
///
/// What is wrong with the module.
pub fn embed(wasm: &[u8], file: &File) -> Result<Vec<u8>, String> {
    let mut kept = Vec::with_capacity(wasm.len());
    let mut from = 0;
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload.map_err(|e| e.to_string())?;
        if let Payload::CustomSection(section) = &payload
            && section.name() == SECTION
        {
            // The section's id and length come before its range.
            let [start, end] = [section.range().start, section.range().end].map(|at| at as usize);
            let mut header = vec![0];
            ((end - start) as u32).encode(&mut header);
            kept.extend(&wasm[from..start - header.len()]);
            from = end;
        }
    }
    kept.extend(&wasm[from..]);
    let section = CustomSection {
        name: SECTION.into(),
        data: file.text().into_bytes().into(),
    };
    section.append_to(&mut kept);
    Ok(kept)
}
