//! `cargo xtask demo`: Debian's own vfsstat, native and as wasm, on the same kernel's probes at the same time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::exec::{cargo_target, command, output, root};
use crate::kernels::Kernel;
use crate::progress::{Tone, say, seconds, step, tell};
use crate::vm::{self, Guest};
use crate::{kmod, setup};

/// Where Debian's libbpf-tools package has it, the BPF object inside.
const TOOL: &str = "/usr/sbin/vfsstat";

/// The task itself.
pub(crate) fn run(kernel: Kernel) -> Result<ExitCode> {
    setup::ensure(&[kernel])?;
    convert()?;
    let module = kmod::build(kernel)?;
    say("demo", format_args!("kernel module: {}", shown(&module)));
    let program = build("wprobe-diff-tests", "guest-demo")?;
    say(
        "demo",
        format_args!(
            "booting Debian's {} in QEMU, which emulates a CPU: patience",
            kernel.release()?
        ),
    );
    let guest = Guest::new(kernel, vm::with_module(&module, &program));
    let outcome = guest.boot(&|line, is_err| {
        if is_err {
            say("guest", line);
        } else {
            println!("{line}");
        }
    })?;
    outcome.explain("demo");
    if !outcome.is_good() {
        return Ok(ExitCode::FAILURE);
    }
    let log = shown(&outcome.log);
    tell(
        Tone::Good,
        "demo",
        format_args!(
            "done; booted in {}, console log {log}",
            seconds(outcome.boot())
        ),
    );
    Ok(ExitCode::SUCCESS)
}

/// Converts the tool's object, and shows the translator's own summary.
fn convert() -> Result<()> {
    let translator = build("bpf2wasm", "bpf2wasm")?;
    let out = root().join("target/demo/vfsstat.wasm");
    fs::create_dir_all(out.parent().context("the output lies in a directory")?)?;
    say(
        "demo",
        format_args!("bpf2wasm convert {TOOL} -o {}", shown(&out)),
    );
    print!(
        "{}",
        output(
            command([&translator])
                .args(["convert", TOOL, "-o"])
                .arg(&out)
        )?
    );
    Ok(())
}

/// Builds the program `name` of `package`; where it is.
pub(crate) fn build(package: &str, name: &str) -> Result<PathBuf> {
    step("build", &format!("cargo build {name}"), || {
        let mut cargo = command([
            "cargo",
            "build",
            "--quiet",
            "--locked",
            "--package",
            package,
            "--bin",
            name,
        ]);
        output(cargo.current_dir(root()))
    })?;
    Ok(cargo_target().join("debug").join(name))
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root())
        .unwrap_or(path)
        .display()
        .to_string()
}
