//! Every CO-RE relocation of every object at hand, against the BTF of every kernel: our values, libbpf's and aya-obj's.
//!
//! Objects: Debian's libbpf-tools and what `cargo xtask setup` unpacks, and the corpus. Where one of the others cannot say, the reason is
//! printed with how many relocations it costs.

mod aya;
mod debug;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use abi::manifest::CoreRelocation;
use bpf2wasm::btf::Btf;
use bpf2wasm::{Options, embedded_objects, list};
use diff_tests::cases::core_values::against_libbpf;
use diff_tests::corpus;
use loader::core_values::{Target, evaluate};
use loader::open::Input;
use object::{Object, ObjectSection};

/// Kernels whose BTF is asked: of each source of the usual ones one.
const KERNELS: [&str; 4] = ["5.10", "6.1", "6.12", "backports"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/vm")
}

/// All files under `folder`.
fn files(folder: &Path, found: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(folder).expect("cargo xtask setup makes it") {
        let path = entry.expect("an entry").path();
        match path.symlink_metadata().expect("metadata").file_type() {
            kind if kind.is_dir() => files(&path, found),
            kind if kind.is_file() => _ = found.insert(path),
            _ => {}
        }
    }
}

/// Every little-endian object that has relocations.
fn objects() -> Vec<(Input, Vec<u8>)> {
    let mut paths = BTreeSet::new();
    files(&root().join("objects"), &mut paths);
    files(Path::new("/usr/sbin"), &mut paths);
    let mut all = Vec::new();
    for path in paths {
        let file = fs::read(&path).expect("a readable file");
        for object in embedded_objects(&file).unwrap_or_default() {
            all.push((path.display().to_string(), object.bytes.to_vec()));
        }
    }
    for name in [
        "mkdirsnoop",
        "mkdirret",
        "poison",
        "relocations",
        "resized",
        "misfits",
    ] {
        all.push((
            name.to_owned(),
            corpus::object(name).expect("built").to_vec(),
        ));
    }
    let open = |(name, bytes): (String, Vec<u8>)| {
        let input = Input::from_bytes(&bytes, &name, Path::new(&name), None).ok()?;
        let relocated = !input.manifest.as_ref()?.relocations.is_empty();
        relocated.then_some((Input { name, ..input }, bytes))
    };
    all.into_iter().filter_map(open).collect()
}

/// What came of comparing with one of the others.
#[derive(Default)]
struct Tally {
    compared: usize,
    /// Relocations that were not compared, by reason.
    unserved: BTreeMap<String, usize>,
    different: Vec<String>,
}

impl Tally {
    fn report(&self, name: &str) {
        let unserved: usize = self.unserved.values().sum();
        println!("  {name}: {} equal, {unserved} not served", self.compared);
        for (reason, count) in &self.unserved {
            println!("    {count}: {reason}");
        }
    }
}

fn relocations(input: &Input) -> &[CoreRelocation] {
    input.manifest.as_ref().map_or(&[], |m| &m.relocations)
}

fn libbpf(input: &Input, elf: &[u8], target: &Btf, vmlinux: &Path, tally: &mut Tally) {
    match against_libbpf(input, elf, &Target::new(target), Some(vmlinux)) {
        Ok(compared) => {
            tally.compared += compared.equal;
            for reason in compared.unserved {
                *tally.unserved.entry(reason).or_default() += 1;
            }
            let different = compared.different.into_iter();
            tally
                .different
                .extend(different.map(|d| format!("{}: {d}", input.name)));
        }
        Err(error) => {
            let reason = format!("{error:#}");
            *tally.unserved.entry(reason).or_default() += relocations(input).len();
        }
    }
}

fn aya_obj(input: &Input, elf: &[u8], target: &Btf, theirs: &aya_obj::btf::Btf, tally: &mut Tally) {
    let all = relocations(input);
    let object = match aya::relocated(elf, theirs) {
        Ok(object) => object,
        Err(reason) => {
            *tally.unserved.entry(reason).or_default() += all.len();
            return;
        }
    };
    let local = input.btf().expect("relocations need BTF");
    let values = evaluate(&local, all, &Target::new(target));
    for listing in list(elf, &input.name, &Options::default()).expect("it converts") {
        for line in &listing.lines {
            let named = |r: &&CoreRelocation| Some(&r.import) == line.reference.as_ref();
            let Some(at) = all.iter().position(|r| named(&r)) else {
                continue;
            };
            let Some((value, mask)) = aya::value(&object, &listing, line, &all[at]) else {
                *tally.unserved.entry("no such function".into()).or_default() += 1;
                continue;
            };
            match &values[at] {
                Ok(ours) if ours & mask == value & mask => tally.compared += 1,
                ours => tally.different.push(format!(
                    "{} {}: {ours:x?}, aya-obj {value:#x}",
                    input.name, all[at].import
                )),
            }
        }
    }
}

#[test]
fn values_equal_libbpfs_and_ayas() {
    let objects = objects();
    let mut different = Vec::new();
    for kernel in KERNELS {
        let vmlinux = root().join("kernels").join(kernel).join("vmlinux");
        let image = fs::read(&vmlinux).expect("cargo xtask setup unpacks it");
        let image = object::File::parse(image.as_slice()).expect("an ELF file");
        let section = image.section_by_name(".BTF").expect("a kernel with BTF");
        let bytes = section.data().expect("its bytes");
        let target = Btf::parse(bytes).expect("correct BTF");
        let theirs = aya_obj::btf::Btf::parse(bytes, Default::default()).expect("correct BTF");
        let (mut by_libbpf, mut by_aya) = (Tally::default(), Tally::default());
        for (input, elf) in &objects {
            libbpf(input, elf, &target, &vmlinux, &mut by_libbpf);
            aya_obj(input, elf, &target, &theirs, &mut by_aya);
        }
        println!("{kernel}: {} objects", objects.len());
        by_libbpf.report("libbpf");
        by_aya.report("aya-obj");
        different.append(&mut by_libbpf.different);
        different.append(&mut by_aya.different);
    }
    assert!(different.is_empty(), "\n{}", different.join("\n"));
}
