//! Compiles `corpus/src/*.bpf.c` with clang and `corpus/modules/**/*.wat` to wasm, and lists the results in
//! `corpus.rs`: `OBJECTS`, of newer tools also `STRIPPED` without their debug information, and `MODULES`, name and bytes; `HOSTILE`, name, first line and bytes.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let corpus = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../corpus");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    println!("cargo::rerun-if-changed={}", corpus.display());
    println!("cargo::rerun-if-env-changed=CLANG");
    println!("cargo::rerun-if-env-changed=LLVM_STRIP");

    let (mut objects, mut stripped) = (Vec::new(), Vec::new());
    for source in files(&corpus.join("src"), ".bpf.c")? {
        let name = stem(&source, ".bpf.c");
        let object = out.join(format!("{name}.bpf.o"));
        compile(&source, &object)?;
        if name.ends_with("_newer") {
            let bare = out.join(format!("{name}.stripped.bpf.o"));
            strip(&object, &bare)?;
            stripped.push((name.clone(), bare));
        }
        objects.push((name, object));
    }
    let modules = assemble(&corpus.join("modules"), &out)?;
    let hostile = assemble(&corpus.join("modules/hostile"), &out)?;
    let list = list("OBJECTS", &objects)
        + &list("STRIPPED", &stripped)
        + &list("MODULES", &named(&modules));
    let list = list + &hostile_list(&hostile);
    Ok(fs::write(out.join("corpus.rs"), list)?)
}

/// A `.wat` file assembled.
struct Module {
    name: String,
    /// Its first line, a comment.
    first_line: String,
    path: PathBuf,
}

fn assemble(directory: &Path, out: &Path) -> Result<Vec<Module>> {
    let mut modules = Vec::new();
    for source in files(directory, ".wat")? {
        let name = stem(&source, ".wat");
        let path = out.join(format!("{name}.wasm"));
        fs::write(&path, wat::parse_file(&source)?)?;
        let text = fs::read_to_string(&source)?;
        let first_line = text.lines().next().unwrap_or_default();
        let first_line = first_line.trim_start_matches([';', ' ']).to_owned();
        modules.push(Module {
            name,
            first_line,
            path,
        });
    }
    Ok(modules)
}

fn compile(source: &Path, object: &Path) -> Result<()> {
    let clang = env::var("CLANG").unwrap_or_else(|_| "clang-19".to_owned());
    let status = Command::new(&clang)
        .args([
            "-target",
            "bpf",
            "-D__TARGET_ARCH_x86",
            "-O2",
            "-g",
            "-Wall",
            "-Werror",
            // Where usdt.bpf.h finds errno.h.
            "-I/usr/include/x86_64-linux-gnu",
            "-c",
        ])
        // libbpf-sys's headers.
        .args(env::var("DEP_BPF_INCLUDE").map(|path| format!("-I{path}")))
        .arg(source)
        .arg("-o")
        .arg(object)
        .status()
        .map_err(|e| format!("{clang}: {e} (apt-get install clang-19 libbpf-dev, or set CLANG)"))?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("{clang} refused {}", source.display()).into()),
    }
}

/// Writes `object` without its debug information to `bare`; BTF stays.
fn strip(object: &Path, bare: &Path) -> Result<()> {
    let strip = env::var("LLVM_STRIP").unwrap_or_else(|_| "llvm-strip-19".to_owned());
    let words = [Path::new("-g"), object, Path::new("-o"), bare];
    let status = Command::new(&strip).args(words).status();
    let status =
        status.map_err(|e| format!("{strip}: {e} (apt-get install llvm-19, or set LLVM_STRIP)"))?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("{strip} refused {}", object.display()).into()),
    }
}

/// The files in `directory` whose names end with `suffix`, sorted.
fn files(directory: &Path, suffix: &str) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(suffix) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn stem(path: &Path, suffix: &str) -> String {
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    name.strip_suffix(suffix).unwrap_or(&name).to_owned()
}

fn list(name: &str, items: &[(String, PathBuf)]) -> String {
    let row = |(name, path): &(String, PathBuf)| format!("({name:?}, include_bytes!({path:?})),\n");
    let rows: String = items.iter().map(row).collect();
    format!("pub(crate) const {name}: &[(&str, &[u8])] = &[\n{rows}];\n")
}

fn named(modules: &[Module]) -> Vec<(String, PathBuf)> {
    let name = |m: &Module| (m.name.clone(), m.path.clone());
    modules.iter().map(name).collect()
}

fn hostile_list(modules: &[Module]) -> String {
    let row = |m: &Module| {
        let Module {
            name,
            first_line,
            path,
        } = m;
        format!("({name:?}, {first_line:?}, include_bytes!({path:?})),\n")
    };
    let rows: String = modules.iter().map(row).collect();
    format!("pub(crate) const HOSTILE: &[(&str, &str, &[u8])] = &[\n{rows}];\n")
}
