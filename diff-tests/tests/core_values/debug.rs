//! Types from debug information (`wprobe values --dwarf`) against those that pahole makes of the same: by the values of every relocation
//! there may be.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use abi::manifest::CoreRelocation;
use bpf2wasm::btf::{Btf, Kind, Type};
use loader::core_values::{Target, evaluate};
use loader::debug_types;
use object::{Object, ObjectSection};

/// How compilers are asked for it: versions of the format, with and without optimisation, compressed.
const WAYS: &[&[&str]] = &[
    &["gcc", "-gdwarf-5", "-O2"],
    &["gcc", "-gdwarf-4", "-O0"],
    &["gcc", "-gdwarf-3", "-gstrict-dwarf", "-O0"],
    &["gcc", "-gdwarf-5", "-gz=zlib", "-O0"],
    &["clang-19", "-gdwarf-5", "-O0"],
    &["clang-19", "-gdwarf-4", "-O2"],
];

/// `BPF_CORE_TYPE_ID_TARGET`: a kernel without BTF has no ids.
const TYPE_ID_TARGET: u32 = 7;

fn run(words: &[&str]) {
    let output = Command::new(words[0]).args(&words[1..]).output();
    let output = output.unwrap_or_else(|e| panic!("{}: {e} (cargo xtask setup)", words[0]));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {said}");
}

fn btf(file: &[u8]) -> Btf {
    let file = object::File::parse(file).expect("an ELF file");
    let section = file.section_by_name(".BTF").expect("with BTF");
    Btf::parse(section.data().expect("its bytes")).expect("correct BTF")
}

fn relocation(kind: u32, ty: &Type<'_>, access: String, access_bytes: u32) -> CoreRelocation {
    CoreRelocation {
        import: format!("{kind} {:?} {} {access} {access_bytes}", ty.kind, ty.name),
        kind,
        type_id: ty.id,
        access,
        access_bytes,
    }
}

/// Every relocation that a program with the types of `btf` may have, as far as members of members.
fn every(btf: &Btf) -> Vec<CoreRelocation> {
    let mut all = Vec::new();
    for ty in btf.types().filter(|ty| !ty.name.is_empty()) {
        if !matches!(ty.kind, Kind::Func | Kind::Var | Kind::Datasec | Kind::Fwd) {
            // Whether it exists, its size, whether it matches.
            all.extend([8, 9, 12].map(|kind| relocation(kind, &ty, "0".to_owned(), 0)));
        }
        for at in 0..ty.enumerators().len() {
            all.extend([10, 11].map(|kind| relocation(kind, &ty, at.to_string(), 0)));
        }
        members(btf, &ty, &ty, "0", &mut all);
    }
    all
}

/// Relocations of the members of `of`, which lies at `access` in `root`.
fn members(btf: &Btf, root: &Type<'_>, of: &Type<'_>, access: &str, all: &mut Vec<CoreRelocation>) {
    for (at, member) in of.members().enumerate() {
        let access = format!("{access}:{at}");
        let ty = btf.resolve(member.type_id).expect("its type");
        if !member.name.is_empty() {
            all.extend((0..6).map(|kind| relocation(kind, root, access.clone(), 0)));
            if let Some(bytes @ (1 | 2 | 4 | 8)) = btf.size_of(ty.id) {
                all.push(relocation(0, root, access.clone(), bytes));
            }
        }
        let is_deep = access.matches(':').count() > 3;
        if matches!(ty.kind, Kind::Struct | Kind::Union) && !is_deep {
            members(btf, root, &ty, &access, all);
        }
    }
}

/// How many of the relocations have the same value by both, and those that have not.
fn compare(
    local: &Btf,
    all: &[CoreRelocation],
    btf: &Target<'_>,
    debug: &Target<'_>,
) -> (usize, Vec<String>) {
    let by_btf = evaluate(local, all, btf);
    let by_debug = evaluate(local, all, debug);
    let mut different = Vec::new();
    let mut equal = 0;
    for (relocation, (btf, debug)) in all.iter().zip(by_btf.iter().zip(&by_debug)) {
        let is_equal = match relocation.kind {
            TYPE_ID_TARGET => *debug == Ok(0),
            _ => btf == debug,
        };
        if is_equal {
            equal += 1;
        } else {
            let name = &relocation.import;
            different.push(format!(
                "{name}: by BTF {btf:x?}, by debug information {debug:x?}"
            ));
        }
    }
    (equal, different)
}

/// The file that `way` makes of both sources, with pahole's BTF in it.
fn compiled(way: &[&str], folder: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/core_values");
    let [a, b] = ["types_a.c", "types_b.c"].map(|name| source.join(name).display().to_string());
    let out = folder.join("types");
    let shown = out.display().to_string();
    run(&[way, &["-o", &shown, &a, &b]].concat());
    let packed = folder.join("packed");
    fs::copy(&out, &packed).expect("a copy");
    // It reads no compressed sections.
    run(&["objcopy", "--decompress-debug-sections", &shown]);
    // As kernels are built.
    run(&["pahole", "-J", "--btf_gen_floats", &shown]);
    out
}

#[test]
fn types_are_those_that_pahole_reads() {
    let folder = std::env::temp_dir().join(format!("wprobe-debug-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    for way in WAYS {
        let file = fs::read(compiled(way, &folder)).expect("it was written");
        let packed = fs::read(folder.join("packed")).expect("it was copied");
        let theirs = btf(&file);
        let ours = debug_types::btf(&packed).unwrap_or_else(|e| panic!("{way:?}: {e}"));
        let ours = Btf::parse(&ours).expect("correct BTF");
        let all = every(&theirs);
        let (by_btf, by_debug) = (Target::new(&theirs), Target::new(&ours).without_ids());
        let (equal, different) = compare(&theirs, &all, &by_btf, &by_debug);
        println!("{way:?}: {equal} equal");
        assert!(different.is_empty(), "{way:?}:\n{}", different.join("\n"));
        assert!(equal > 400, "{way:?}: {equal}");
        // And nothing is there that is not there.
        let back = every(&ours);
        let (_, different) = compare(&ours, &back, &by_btf, &Target::new(&ours));
        assert!(
            different.is_empty(),
            "{way:?}, back:\n{}",
            different.join("\n")
        );
        for name in ["touch", "other"] {
            let prototype = |btf: &Btf| {
                let function = btf.find(name, Kind::Func).expect("a function");
                let prototype = btf.resolve(function.target()?)?;
                let sizes = prototype.params().map(|param| btf.size_of(param.type_id));
                Some(sizes.collect::<Vec<_>>())
            };
            assert!(prototype(&ours).is_some());
            assert_eq!(prototype(&ours), prototype(&theirs), "{way:?}: {name}");
        }
    }
    fs::remove_dir_all(folder).expect("it is ours");
}

#[test]
fn what_has_no_debug_information_is_said() {
    let said = |file: &[u8]| debug_types::btf(file).unwrap_err().to_string();
    let folder = std::env::temp_dir().join(format!("wprobe-nodebug-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    let source = folder.join("none.c").display().to_string();
    let out = folder.join("none").display().to_string();
    fs::write(&source, "int main(void) { return 0; }\n").expect("a file");
    let read = || fs::read(&out).expect("it was written");
    run(&["gcc", "-g0", "-o", &out, &source]);
    assert!(
        said(&read()).contains("no debug information"),
        "{}",
        said(&read())
    );
    run(&["gcc", "-g", "-c", "-o", &out, &source]);
    assert!(said(&read()).contains("not linked"), "{}", said(&read()));
    run(&["gcc", "-g", "-gsplit-dwarf", "-o", &out, &source]);
    assert!(
        said(&read()).contains("in other files"),
        "{}",
        said(&read())
    );
    run(&["gcc", "-g", "-o", &out, &source]);
    let mut cut = read();
    let at = {
        let file = object::File::parse(&*cut).expect("an ELF file");
        let section = file
            .section_by_name(".debug_abbrev")
            .expect("with debug information");
        section.file_range().expect("a place").0 as usize
    };
    cut[at..at + 16].fill(0xff);
    assert!(
        said(&cut).contains("its debug information: "),
        "{}",
        said(&cut)
    );
    assert!(!said(b"text").is_empty());
    fs::remove_dir_all(folder).expect("it is ours");
}

/// `cargo xtask values` names a kernel's vmlinux that has both.
#[test]
#[ignore = "wants a kernel's debug information: cargo xtask values"]
fn every_relocation_has_the_same_value_by_debug_information() {
    let path = std::env::var("KERNEL_DEBUG").expect("KERNEL_DEBUG names a vmlinux");
    let file = fs::read(&path).expect("it can be read");
    let theirs = btf(&file);
    let ours = debug_types::btf(&file).unwrap_or_else(|e| panic!("{path}: {e}"));
    println!("{path}: {} bytes", ours.len());
    let ours = Btf::parse(&ours).expect("correct BTF");
    let (mut equal, mut different) = (0, Vec::new());
    for (input, _) in super::objects() {
        let local = input.btf().expect("relocations need BTF");
        let all = super::relocations(&input);
        for (by_btf, by_debug) in [
            (Target::new(&theirs), Target::new(&ours)),
            (Target::new(&theirs).on_wasm(), Target::new(&ours).on_wasm()),
        ] {
            let (same, others) = compare(&local, all, &by_btf, &by_debug.without_ids());
            equal += same;
            different.extend(
                others
                    .into_iter()
                    .map(|what| format!("{}: {what}", input.name)),
            );
        }
    }
    println!("objects: {equal} equal");
    assert!(different.is_empty(), "\n{}", different.join("\n"));
    assert!(equal > 1_000, "{equal}");
    let all = every(&theirs);
    let targets = (Target::new(&theirs), Target::new(&ours).without_ids());
    let (equal, different) = compare(&theirs, &all, &targets.0, &targets.1);
    println!("the kernel's own types: {equal} of {} equal", all.len());
    for what in &different {
        println!("  {what}");
    }
    // Types that only functions see are not read.
    assert!(different.len() < all.len() / 1000, "{}", different.len());
}
