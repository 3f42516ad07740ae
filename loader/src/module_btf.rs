//! Types of kernel modules: BTF whose ids continue the kernel's own.
//!
//! They are read when something is looked for that the kernel itself does not have, and of these the ones that have a string of
//! that name. A module may go while it is looked at, and BTF of one may be broken: such a module has no types here, as in libbpf.

use std::cell::OnceCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bpf2wasm::btf::Btf;

use crate::values::KERNEL_BTF;

/// The modules of a kernel.
#[derive(Debug)]
pub struct Modules {
    base: Arc<Btf>,
    directory: PathBuf,
    /// In order of their names.
    all: OnceCell<Vec<Module>>,
}

#[derive(Debug)]
struct Module {
    bytes: Vec<u8>,
    btf: OnceCell<Option<Btf>>,
}

impl Modules {
    /// Those of the running kernel, whose BTF is `base`.
    pub fn of(base: Arc<Btf>) -> Self {
        let directory = Path::new(KERNEL_BTF).parent();
        Self::within(directory.unwrap_or(Path::new("/")), base)
    }

    fn within(directory: &Path, base: Arc<Btf>) -> Self {
        Modules {
            base,
            directory: directory.to_owned(),
            all: OnceCell::new(),
        }
    }

    /// Types of those that have a name which begins with `name`.
    pub fn mentioning(&self, name: &str) -> impl Iterator<Item = &Btf> {
        let name = name.as_bytes().to_owned();
        let all = self.all.get_or_init(|| self.read());
        let mentioning = all.iter().filter(move |module| module.mentions(&name));
        mentioning.filter_map(|module| module.types(&self.base))
    }

    fn read(&self) -> Vec<Module> {
        let files = fs::read_dir(&self.directory).into_iter().flatten();
        let paths = files.flatten().map(|file| file.path());
        let mut paths: Vec<_> = paths.filter(|path| !path.ends_with("vmlinux")).collect();
        paths.sort();
        let modules = paths.iter().filter_map(|path| fs::read(path).ok());
        let module = |bytes| Module {
            bytes,
            btf: OnceCell::new(),
        };
        modules.map(module).collect()
    }
}

impl Module {
    /// Whether one of its strings begins like this.
    fn mentions(&self, with: &[u8]) -> bool {
        let word = |at: usize| {
            let word = self.bytes.get(at..at + 4)?.first_chunk().copied()?;
            usize::try_from(u32::from_ne_bytes(word)).ok()
        };
        // `struct btf_header`: its length, then offsets and lengths of types and strings from there on.
        let start = word(4).zip(word(16)).map(|(header, at)| header + at);
        let strings = start.and_then(|start| self.bytes.get(start..));
        let mut strings = strings.unwrap_or_default().split(|byte| *byte == 0);
        strings.any(|string| string.starts_with(with))
    }

    fn types(&self, base: &Arc<Btf>) -> Option<&Btf> {
        let parse = || Btf::parse_split(&self.bytes, Arc::clone(base)).ok();
        self.btf.get_or_init(parse).as_ref()
    }
}

#[cfg(test)]
mod tests {
    use bpf2wasm::btf::Kind;

    use super::*;
    use crate::btf_builder::Builder;

    #[test]
    fn a_broken_or_vanished_module_has_no_types() {
        let mut kernel = Builder::default();
        let long = kernel.int("long", 8, true);
        let module = |name: &str| {
            let mut module = Builder::over(&kernel);
            module.structure(name, 16, &[("x", long, 64)]);
            module.bytes()
        };
        let modules = [module("thing"), module("other")];
        let kernel = Arc::new(kernel.build());
        let directory = std::env::temp_dir().join(format!("module-btf-{}", std::process::id()));
        fs::create_dir(&directory).unwrap();
        let write = |name: &str, bytes: &[u8]| fs::write(directory.join(name), bytes).unwrap();
        write("vmlinux", b"not a module's");
        write("a", &modules[0]);
        // Its types are cut short, its strings are there.
        let mut cut = modules[0].clone();
        cut[12] -= 4;
        write("b", &cut);
        write("c", &modules[1]);
        write("e", b"");
        std::os::unix::fs::symlink("gone", directory.join("d")).unwrap();
        let modules = Modules::within(&directory, Arc::clone(&kernel));
        let found: Vec<_> = modules.mentioning("thing").collect();
        assert_eq!(found.len(), 1);
        let thing = found[0].find("thing", Kind::Struct).unwrap();
        let member = thing.members().next().unwrap();
        assert_eq!((member.name, member.bit_offset), ("x", 64));
        assert_eq!(found[0].get(member.type_id).unwrap().name, "long");
        assert_eq!(modules.mentioning("nothing").count(), 0);
        fs::remove_dir_all(&directory).unwrap();
    }
}
