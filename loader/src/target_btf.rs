//! The BTF that an object's relocations are for: the running kernel's, or a file, and where it is wrong
//! about the records of system calls, mended.
//!
//! `struct trace_event_raw_sys_enter` describes the records of `raw_syscalls:sys_enter`, and objects take
//! it for those of `syscalls:sys_enter_*`, too. Both are alike where a record's common header is 8 bytes.
//! With PREEMPT_RT it is 12, and eBPF's records of system calls (`struct syscall_tp_t` of
//! `kernel/trace/trace_syscalls.c`) stay as they were: by that BTF, programs read a word too far, or
//! the kernel refuses to attach them. All runtimes hand out the kernel's bytes; so the offsets are mended.

use std::fs;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use abi::manifest::Manifest;
use bpf2wasm::btf::{Btf, BtfError, Kind};
use memfd::MemfdOptions;
use object::{Object, ObjectSection};

use crate::values::{Error, KERNEL_BTF};

/// The structs, their members, and the bytes before these in a record.
const PLACES: &[(&str, &str, u32)] = &[
    ("trace_event_raw_sys_enter", "id", 8),
    ("trace_event_raw_sys_enter", "args", 16),
    ("trace_event_raw_sys_exit", "id", 8),
    ("trace_event_raw_sys_exit", "ret", 16),
];

/// BTF in its file format.
pub(crate) struct TargetBtf {
    bytes: Vec<u8>,
    path: PathBuf,
    mended: bool,
    /// Its types, where they were read already.
    parsed: Option<Btf>,
}

impl TargetBtf {
    /// Of `path`, by default the running kernel's, as `manifest`'s programs need it.
    pub(crate) fn read(path: Option<&Path>, manifest: &Manifest) -> Result<Self, Error> {
        let path = path.unwrap_or(Path::new(KERNEL_BTF)).to_owned();
        let bytes = bytes_of(&path).map_err(|e| Error::ReadBtf(path.clone(), e))?;
        Self::of(bytes, path, manifest)
    }

    /// The same of what was read from `path` already.
    pub(crate) fn of(bytes: Vec<u8>, path: PathBuf, manifest: &Manifest) -> Result<Self, Error> {
        let mut target = TargetBtf {
            bytes,
            path,
            mended: false,
            parsed: None,
        };
        if reads_syscall_records(manifest) {
            target.mend()?;
        }
        Ok(target)
    }

    pub(crate) fn types(self) -> Result<Btf, Error> {
        self.parsed
            .map_or_else(|| parse(&self.bytes, &self.path), Ok)
    }

    /// A file of the mended BTF, if anything had to be.
    pub(crate) fn mended(&self) -> io::Result<Option<fs::File>> {
        if !self.mended {
            return Ok(None);
        }
        let made = MemfdOptions::default().create("btf");
        let mut file = made.map_err(io::Error::other)?.into_file();
        file.write_all(&self.bytes)?;
        Ok(Some(file))
    }

    fn mend(&mut self) -> Result<(), Error> {
        let btf = parse(&self.bytes, &self.path)?;
        let header = |at: usize| btf_word(&self.bytes, at) as usize;
        let types = header(4) + header(8);
        let mut patches = Vec::new();
        for (name, member, bytes) in PLACES {
            let Some(ty) = btf.find(name, Kind::Struct) else {
                continue;
            };
            let found = ty.members().enumerate().find(|(_, m)| m.name == *member);
            if let Some((index, found)) = found
                && found.bit_offset != bytes * 8
            {
                patches.push((types + ty.member_position(index) + 8, bytes * 8));
            }
        }
        self.mended = !patches.is_empty();
        self.parsed = Some(btf).filter(|_| !self.mended);
        for (at, bits) in patches {
            let Some(word) = self.bytes.get_mut(at..at + 4) else {
                return Err(Error::ParseBtf(self.path.clone(), BtfError::Sections));
            };
            word.copy_from_slice(&bits.to_ne_bytes());
        }
        Ok(())
    }
}

/// BTF of a file that is nothing else, or of an ELF file.
pub(crate) fn bytes_of(path: &Path) -> io::Result<Vec<u8>> {
    let bytes = fs::read(path)?;
    if !bytes.starts_with(b"\x7fELF") {
        return Ok(bytes);
    }
    let elf = object::File::parse(&*bytes).map_err(io::Error::other)?;
    let section = elf.section_by_name(".BTF");
    let section = section.ok_or_else(|| {
        io::Error::other(
            "an ELF file without BTF; if it has debug information: `wprobe values --dwarf`",
        )
    })?;
    section.data().map(<[u8]>::to_vec).map_err(io::Error::other)
}

fn parse(bytes: &[u8], path: &Path) -> Result<Btf, Error> {
    Btf::parse(bytes).map_err(|e| Error::ParseBtf(path.to_owned(), e))
}

/// The path by which another library opens `file`.
pub(crate) fn path_of(file: &fs::File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

fn btf_word(bytes: &[u8], at: usize) -> u32 {
    let word = bytes.get(at..at + 4).and_then(|word| word.try_into().ok());
    word.map_or(0, u32::from_ne_bytes)
}

/// Whether programs get records of system calls, and none those that the BTF is about: an object's relocations
/// are one table.
fn reads_syscall_records(manifest: &Manifest) -> bool {
    let mut exports = manifest.programs.iter().map(|p| p.export.as_str());
    let gets = |event| exports.clone().any(|export| export.starts_with(event));
    let syscalls = gets("tracepoint:syscalls:");
    syscalls && !exports.any(|export| export.starts_with("tracepoint:raw_syscalls:"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::btf_builder::Builder;

    /// BTF as of a kernel with PREEMPT_RT.
    fn target() -> TargetBtf {
        let mut btf = Builder::default();
        let long = btf.int("long", 8, true);
        let enter = [("ent", long, 0), ("id", long, 128), ("args", long, 192)];
        btf.structure("trace_event_raw_sys_enter", 72, &enter);
        btf.structure("other", 72, &enter);
        TargetBtf {
            bytes: btf.bytes(),
            path: PathBuf::new(),
            mended: false,
            parsed: None,
        }
    }

    fn offsets(btf: &Btf, name: &str) -> Vec<u32> {
        let ty = btf.find(name, Kind::Struct).unwrap();
        ty.members().map(|m| m.bit_offset).collect()
    }

    #[test]
    fn records_of_system_calls_are_as_the_kernel_builds_them() {
        let mut target = target();
        assert!(target.mended().unwrap().is_none());
        target.mend().unwrap();
        let file = target.mended().unwrap().unwrap();
        let btf = Btf::parse(&fs::read(path_of(&file)).unwrap()).unwrap();
        assert_eq!(offsets(&btf, "trace_event_raw_sys_enter"), [0, 64, 128]);
        assert_eq!(offsets(&btf, "other"), [0, 128, 192]);
        let types = target.types().unwrap();
        assert_eq!(offsets(&types, "trace_event_raw_sys_enter"), [0, 64, 128]);
    }
}
