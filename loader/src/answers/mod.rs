//! What a module asks of a kernel's BTF, answered somewhere else: for hosts that have none.
//!
//! A module's questions are its relocations, the arguments of the functions and tracepoints that its programs are for, and whether
//! functions are declared as the kernel has them. The answers of one kernel are a kilobyte, where its BTF is 5 MB. They are
//! kept in files (`wprobe values`), or in a section of the module, for any number of kernels, each with its release and build id.

mod file;
mod host;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use abi::manifest::{ExternKind, Manifest};
use abi::sections::{self, Attach};
use bpf2wasm::btf::essential;
use serde::{Deserialize, Serialize};

use crate::attach::kernel::Kernel;
use crate::cache;
use crate::debug_types;
use crate::open::Input;
use crate::profile::Profile;
use crate::values::{self, KERNEL_BTF};

pub use file::{File, embed};
pub use host::{Host, of_debug, of_file};

/// Where files of answers are looked for.
pub const PLACE: &str = "/usr/lib/wprobe/values";

/// An answer: what was asked for, or why there is none.
pub type Answer<T> = Result<T, String>;

/// The answers of one kernel to one module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answers {
    /// Whose they are.
    #[serde(flatten)]
    pub host: Host,
    /// Values of relocations, in the manifest's order.
    #[serde(with = "compact::list")]
    pub relocations: Vec<Answer<u64>>,
    /// Sizes of functions' arguments.
    #[serde(default, with = "compact::map")]
    pub functions: BTreeMap<String, Answer<Vec<u8>>>,
    /// Sizes of tracepoints' arguments.
    #[serde(default, with = "compact::map")]
    pub tracepoints: BTreeMap<String, Answer<Vec<u8>>>,
    /// Whether functions that programs may call are as the module declares them.
    #[serde(default)]
    pub declared: BTreeMap<String, bool>,
}

/// An answer as a value, or as the text of why there is none.
mod compact {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Compact<T> {
        Value(T),
        None(String),
    }

    impl<T> Compact<T> {
        fn answer(self) -> super::Answer<T> {
            match self {
                Self::Value(value) => Ok(value),
                Self::None(why) => Err(why),
            }
        }

        fn of(answer: super::Answer<T>) -> Self {
            answer.map_or_else(Self::None, Self::Value)
        }
    }

    pub(super) mod list {
        use super::{Compact, Deserialize, Deserializer, Serializer};

        pub(in super::super) fn serialize<S: Serializer>(
            answers: &[super::super::Answer<u64>],
            to: S,
        ) -> Result<S::Ok, S::Error> {
            to.collect_seq(answers.iter().cloned().map(Compact::of))
        }

        pub(in super::super) fn deserialize<'d, D: Deserializer<'d>>(
            from: D,
        ) -> Result<Vec<super::super::Answer<u64>>, D::Error> {
            let all = Vec::<Compact<u64>>::deserialize(from)?;
            Ok(all.into_iter().map(Compact::answer).collect())
        }
    }

    pub(super) mod map {
        use std::collections::BTreeMap;

        use super::{Compact, Deserialize, Deserializer, Serializer};

        type Map = BTreeMap<String, super::super::Answer<Vec<u8>>>;

        pub(in super::super) fn serialize<S: Serializer>(
            answers: &Map,
            to: S,
        ) -> Result<S::Ok, S::Error> {
            to.collect_map(answers.iter().map(|(k, v)| (k, Compact::of(v.clone()))))
        }

        pub(in super::super) fn deserialize<'d, D: Deserializer<'d>>(
            from: D,
        ) -> Result<Map, D::Error> {
            let all = BTreeMap::<String, Compact<Vec<u8>>>::deserialize(from)?;
            Ok(all.into_iter().map(|(k, v)| (k, v.answer())).collect())
        }
    }
}

/// Where a kernel's types are from.
#[derive(Clone, Debug, Default)]
pub enum Source {
    /// The running kernel says itself.
    #[default]
    Running,
    /// A file of BTF, raw or in an ELF file.
    Btf(PathBuf),
    /// A kernel's debug information: its file, and what BTF of it would be. That kernel itself has none, so its types have no ids.
    Debug(PathBuf, Arc<[u8]>),
    /// They are not needed.
    Answers(Arc<Answers>),
}

/// Why there are no answers.
#[derive(Debug)]
pub enum Error {
    /// A file of them cannot be read.
    Read(PathBuf, io::Error),
    /// It is none.
    Format(PathBuf, String),
    /// It has none of this module, but of others.
    Module(PathBuf, String, Vec<String>),
    /// It has none of this kernel, but of others.
    Kernel(PathBuf, Host, Vec<Host>),
    /// It is not known which kernel a file of BTF is of.
    Whose(PathBuf),
    /// A kernel's debug information cannot be read.
    Debug(PathBuf, debug_types::Error),
    /// What a module asks cannot be found out.
    Value(values::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |names: &mut dyn Iterator<Item = String>| names.collect::<Vec<_>>().join(", ");
        match self {
            Error::Read(path, e) => write!(f, "{}: {e}", path.display()),
            Error::Format(path, why) => write!(f, "{}: no file of values: {why}", path.display()),
            Error::Module(path, name, others) => write!(
                f,
                "{}: no values of {name} as it is here, but of: {} (make them of this very object: `wprobe values`)",
                path.display(),
                list(&mut others.iter().cloned())
            ),
            Error::Kernel(path, host, others) => write!(
                f,
                "{}: no values for this kernel, {host}, but for: {}",
                path.display(),
                list(&mut others.iter().map(Host::to_string))
            ),
            Error::Whose(path) => write!(
                f,
                "{}: of which kernel is it? Say RELEASE=FILE, or name the file RELEASE.btf",
                path.display()
            ),
            Error::Debug(path, e) => write!(f, "{}: {e}", path.display()),
            Error::Value(e) => e.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

impl From<values::Error> for Error {
    fn from(error: values::Error) -> Self {
        Error::Value(error)
    }
}

impl Source {
    /// `btf`, or `values`, if somebody says so; else the running kernel's own types; where it has none, answers that the module
    /// carries or that are installed.
    ///
    /// # Errors
    ///
    /// That `values` cannot be read, or do not fit.
    pub fn find(input: &Input, btf: Option<&Path>, values: Option<&Path>) -> Result<Self, Error> {
        let host = Host::running;
        match (btf, values, &input.manifest) {
            (_, _, None) => Ok(Source::Running),
            (Some(btf), ..) => Ok(Source::Btf(btf.to_owned())),
            (None, Some(path), Some(manifest)) => {
                let files = File::all(path)?;
                let found = file::pick(
                    &files,
                    path,
                    &input.name,
                    &questions(input, manifest),
                    &host(),
                );
                Ok(Source::Answers(Arc::new(found?.clone())))
            }
            (None, None, Some(manifest)) if !Path::new(KERNEL_BTF).exists() => {
                let asked = questions(input, manifest);
                let carried = file::carried(&input.wasm)?;
                let place = Path::new(PLACE);
                let installed = if place.exists() {
                    File::all(place)?
                } else {
                    Vec::new()
                };
                let mut files = carried.into_iter().chain(installed);
                let fits = |file: File| file.answers(&asked, &host()).cloned();
                Ok(files
                    .find_map(fits)
                    .map_or(Source::Running, |found| Source::Answers(Arc::new(found))))
            }
            (None, None, Some(_)) => Ok(Source::Running),
        }
    }
}

/// The modules of which there are values for the running kernel in [`PLACE`]; none if there is no such place.
///
/// # Errors
///
/// That what is there cannot be read.
pub fn installed() -> Result<Vec<String>, Error> {
    let (host, place) = (Host::running(), Path::new(PLACE));
    if !place.exists() {
        return Ok(Vec::new());
    }
    let files = File::all(place)?.into_iter();
    let here = files.filter(|file| file.is_for(&host));
    Ok(here.map(|file| file.module).collect())
}

/// What stands for all that `input` asks: answers are for no other module.
pub fn questions(input: &Input, manifest: &Manifest) -> String {
    let relocations = serde_json::to_vec(&manifest.relocations).unwrap_or_default();
    let types = bpf2wasm::custom_section(&input.wasm, abi::manifest::BTF_SECTION);
    cache::key([relocations.as_slice(), types.unwrap_or_default()])
}

/// The answers of the kernel `host`, whose types are at `source`.
///
/// # Errors
///
/// That its types cannot be read, or that the module has none.
pub fn answer(input: &Input, source: &Source, host: Host) -> Result<Answers, Error> {
    let mut answers = Answers {
        host,
        relocations: values::relocated(input, source)?,
        functions: BTreeMap::new(),
        tracepoints: BTreeMap::new(),
        declared: BTreeMap::new(),
    };
    let Some(manifest) = &input.manifest else {
        return Ok(answers);
    };
    let kernel = Kernel::of(source.clone());
    for (attach, target) in places(input, manifest) {
        match attach {
            Attach::Fentry | Attach::Fexit | Attach::FmodRet => {
                let sizes = kernel.function(&target).map(trimmed);
                answers.functions.insert(target, sizes);
            }
            Attach::RawTracepoint | Attach::TpBtf => {
                let sizes = kernel.tracepoint(&target).map(trimmed);
                answers.tracepoints.insert(target, sizes);
            }
            _ => {}
        }
    }
    for external in &manifest.externs {
        if external.kind == ExternKind::Kfunc && external.weak {
            let name = essential(&external.name);
            let declared = values::declared(input, source, external)?;
            answers.declared.insert(name.to_owned(), declared);
        }
    }
    Ok(answers)
}

/// Where programs may be attached: where their sections say, or their tool's profile.
fn places(input: &Input, manifest: &Manifest) -> Vec<(Attach, String)> {
    let own = manifest.programs.iter();
    let own = own.filter_map(|program| Some((program.attach, program.target.clone()?)));
    let profile = Profile::of(input);
    let others = profile.places.values().flatten();
    let others = others.filter_map(|name| {
        let (section, target) = sections::find(name)?;
        Some((section.attach, target?.to_owned()))
    });
    own.chain(others).collect()
}

/// Without the words that are not there.
fn trimmed(sizes: impl AsRef<[u8]>) -> Vec<u8> {
    let sizes = sizes.as_ref();
    let end = sizes
        .iter()
        .rposition(|size| *size != 0)
        .map_or(0, |last| last + 1);
    sizes[..end].to_vec()
}

#[cfg(test)]
mod tests;
