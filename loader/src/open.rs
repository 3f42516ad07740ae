//! Input of any kind as a wasm module: a module, a BPF object, or an executable that embeds objects.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use abi::manifest::{Lines, Manifest, Sent};
use abi::uapi::NAME_SIZE;
use sha2::{Digest, Sha256};

use crate::interface::Interface;

/// A module to load.
#[derive(Clone, Debug)]
pub struct Input {
    /// What to call it: the file's name without extensions.
    pub name: String,
    /// Its bytes.
    pub wasm: Vec<u8>,
    /// What it says about itself; `None` for a hand-written module.
    pub manifest: Option<Manifest>,
    /// Its imports and exports.
    pub interface: Interface,
    /// The BPF object it was made from just now.
    pub object: Option<Vec<u8>>,
    /// Why the object was not translated: then `wasm` has no code, and only native eBPF can run it.
    pub refusal: Option<String>,
}

/// Why a file is no input.
#[derive(Debug)]
pub enum Error {
    /// It cannot be read.
    Read(PathBuf, io::Error),
    /// It is neither wasm nor ELF.
    Kind(PathBuf),
    /// It holds no object that can be translated.
    Convert(PathBuf, Box<bpf2wasm::Error>),
    /// It looks like wasm, and is not.
    Wasm(PathBuf, String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Read(path, e) => write!(f, "{}: {e}", path.display()),
            Error::Kind(path) => write!(
                f,
                "{}: neither a wasm module nor an ELF file",
                path.display()
            ),
            Error::Convert(path, e) => write!(f, "{}: {e}", path.display()),
            Error::Wasm(path, e) => write!(f, "{}: {e}", path.display()),
        }
    }
}

impl std::error::Error for Error {}

impl Input {
    /// Reads `path`; `object` picks one of several embedded objects.
    pub fn open(path: &Path, object: Option<&str>) -> Result<Self, Error> {
        let bytes = read(path).map_err(|e| Error::Read(path.to_owned(), e))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let stem = name.split('.').find(|part| !part.is_empty());
        let stem = stem.unwrap_or("module");
        Input::from_bytes(&bytes, stem, path, object)
    }

    /// As [`Input::open`], of bytes at hand; `path` is for messages.
    pub fn from_bytes(
        bytes: &[u8],
        name: &str,
        path: &Path,
        object: Option<&str>,
    ) -> Result<Self, Error> {
        let convert = |e| Error::Convert(path.to_owned(), Box::new(e));
        if bytes.starts_with(WASM) {
            return Input::from_wasm(bytes.to_vec(), name)
                .map_err(|e| Error::Wasm(path.to_owned(), e));
        }
        if !bytes.starts_with(ELF) {
            return Err(Error::Kind(path.to_owned()));
        }
        let objects = bpf2wasm::embedded_objects(bytes).map_err(convert)?;
        let object = bpf2wasm::pick(objects, object).map_err(convert)?;
        let options = bpf2wasm::Options::default();
        let (wasm, refusal) = match bpf2wasm::convert(object.bytes, name, &options) {
            Ok(converted) => (converted.wasm, None),
            Err(why) => {
                let described = bpf2wasm::describe(object.bytes, name, &options);
                let Ok(described) = described else {
                    return Err(convert(why));
                };
                (described, Some(convert(why).to_string()))
            }
        };
        let input = Input::from_wasm(wasm, name);
        let mut input = input.map_err(|e| Error::Wasm(path.to_owned(), e))?;
        input.object = Some(object.bytes.to_vec());
        input.refusal = refusal;
        Ok(input)
    }

    /// As native eBPF sees it: every program of the object, whether it was translated or not.
    ///
    /// # Errors
    ///
    /// What is wrong with the object as a whole.
    pub fn as_object(&self) -> Result<Self, bpf2wasm::Error> {
        let (Some(object), None) = (&self.object, &self.refusal) else {
            return Ok(self.clone());
        };
        let manifest = self.manifest.as_ref();
        let name = manifest.map_or(self.name.as_str(), |manifest| &manifest.object);
        let wasm = bpf2wasm::describe(object, name, &bpf2wasm::Options::default())?;
        let manifest = bpf2wasm::read_manifest(&wasm)?;
        Ok(Input {
            manifest: Some(manifest),
            ..self.clone()
        })
    }

    /// A module at hand, such as one read back from the device.
    pub fn from_wasm(wasm: Vec<u8>, name: &str) -> Result<Self, String> {
        let interface = Interface::read(&wasm).map_err(|e| e.to_string())?;
        let manifest = match bpf2wasm::custom_section(&wasm, abi::manifest::SECTION) {
            Some(_) => Some(bpf2wasm::read_manifest(&wasm).map_err(|e| e.to_string())?),
            None => None,
        };
        Ok(Input {
            name: shorten(name),
            wasm,
            manifest,
            interface,
            object: None,
            refusal: None,
        })
    }

    /// What the tool is called that it is of: as its object, whatever it was named since.
    pub fn tool(&self) -> &str {
        let manifest = self.manifest.as_ref();
        let object = manifest.map_or(self.name.as_str(), |manifest| &manifest.object);
        object.split('.').next().unwrap_or_default()
    }

    /// What C calls the program with this export; the export itself where nobody knows.
    pub fn program<'a>(&'a self, export: &'a str) -> &'a str {
        let programs = self.manifest.iter().flat_map(|m| &m.programs);
        let mut of_export = programs.filter(|program| program.export == export);
        of_export.next().map_or(export, |program| &program.name)
    }

    /// SHA-256 of the object, or of the module where there is none, in hexadecimal.
    pub fn digest(&self) -> String {
        let digest = Sha256::digest(self.object.as_ref().unwrap_or(&self.wasm));
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The object's BTF, if it has any.
    pub fn btf(&self) -> Option<bpf2wasm::btf::Btf> {
        let bytes = bpf2wasm::custom_section(&self.wasm, abi::manifest::BTF_SECTION)?;
        bpf2wasm::btf::Btf::parse(bytes).ok()
    }

    /// What its maps send, as far as the object told when it was translated.
    pub fn sent(&self) -> Vec<Sent> {
        let section = bpf2wasm::custom_section(&self.wasm, abi::manifest::EVENTS_SECTION);
        let sent = section.and_then(|section| serde_json::from_slice(section).ok());
        sent.unwrap_or_default()
    }

    /// The source line of the instruction at `site`, as `file:line`, if the object says.
    pub fn source_line(&self, site: u32) -> Option<String> {
        let section = bpf2wasm::custom_section(&self.wasm, abi::manifest::LINES_SECTION)?;
        let lines: Lines = serde_json::from_slice(section).ok()?;
        let at = lines.lines.iter().rfind(|line| line.site <= site)?;
        let file = lines.files.get(at.file as usize)?;
        Some(format!("{file}:{}", at.line))
    }
}

/// How files of the two kinds begin.
const WASM: &[u8] = b"\0asm";
const ELF: &[u8] = b"\x7fELF";

/// The bytes of a file; of one that is no input only its first, which tell, for it may be as long as it likes.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let mut bytes = Vec::new();
    file.by_ref()
        .take(ELF.len() as u64)
        .read_to_end(&mut bytes)?;
    if bytes == WASM || bytes == ELF {
        file.read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// As much of a name as the device takes.
fn shorten(name: &str) -> String {
    let mut end = name.len().min(NAME_SIZE - 1);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(bytes: &[u8]) -> String {
        Input::from_bytes(bytes, "x", Path::new("x"), None)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn what_is_no_input_is_refused() {
        assert_eq!(
            refusal(b"hello"),
            "x: neither a wasm module nor an ELF file"
        );
        assert!(refusal(b"\x7fELF").starts_with("x: "));
        assert!(refusal(b"\0asm\x01\0\0\0\x05").starts_with("x: "));
        let missing = Input::open(Path::new("/no/such/file"), None).unwrap_err();
        assert!(matches!(missing, Error::Read(..)));
    }

    #[test]
    fn a_file_of_a_terabyte_is_not_read_to_say_that_it_is_none() {
        let path = std::env::temp_dir().join(format!("wprobe-long-{}", std::process::id()));
        let file = File::create(&path).unwrap();
        // Nothing of it is on the disk.
        file.set_len(1 << 40).unwrap();
        let refused = Input::open(&path, None);
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(refused, Err(Error::Kind(_))), "{refused:?}");
    }

    #[test]
    fn names_fit_the_device() {
        assert_eq!(shorten(&"ä".repeat(40)).len(), 62);
        assert_eq!(shorten("vfsstat"), "vfsstat");
    }
}
