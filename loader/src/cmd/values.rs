//! `wprobe values`.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use loader::answers::{self, File, embed, of_debug, of_file};
use loader::open::Input;
use loader::probe::find;
use loader::values::KERNEL_BTF;
use serde_json::json;

use super::Output;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  wprobe values opensnoop -o opensnoop.values
  wprobe values opensnoop --btf 5.10.0-46-amd64=old.btf --btf 6.1.0-56-amd64.btf -o opensnoop.values
  wprobe values opensnoop --btf /usr/lib/debug/boot/vmlinux-6.12.117 -o opensnoop.wasm
  wprobe values opensnoop --dwarf vmlinux -o opensnoop.values

On a host without BTF: `wprobe run opensnoop --values opensnoop.values`, or with the file in /usr/lib/wprobe/values. A module
(OUT.wasm) carries its own.")]
pub(super) struct Args {
    /// A wasm module, a BPF object, or an executable that embeds one
    file: PathBuf,
    /// Which of several embedded objects, by name or index
    #[arg(long)]
    object: Option<String>,
    /// A kernel's BTF, raw or in an ELF file (repeatable); by default the running kernel's. Of raw BTF the file is called
    /// RELEASE.btf, or its kernel is named
    #[arg(long, value_name = "[RELEASE=]FILE")]
    btf: Vec<String>,
    /// The debug information (DWARF) of a kernel that was built without BTF: its vmlinux (repeatable)
    #[arg(long, value_name = "[RELEASE=]VMLINUX")]
    dwarf: Vec<String>,
    /// Where they go: a file of values; or, if it is called *.wasm, the module with them in it
    #[arg(short, long, value_name = "VALUES")]
    output: PathBuf,
}

pub(super) fn run(args: Args, _json: bool) -> Result<Output> {
    let input = Input::open(&find(&args.file)?, args.object.as_deref())?;
    let Some(manifest) = &input.manifest else {
        bail!(
            "{}: a hand-written module asks nothing of a kernel's BTF",
            input.name
        );
    };
    if let Some(why) = &input.refusal {
        bail!("{why}");
    }
    let running = [KERNEL_BTF.to_owned()];
    let words = match args.btf.is_empty() && args.dwarf.is_empty() {
        true => &running[..],
        false => &args.btf,
    };
    let btf = words.iter().map(|word| (word, of_file(word)));
    let debug = args.dwarf.iter().map(|word| (word, of_debug(word)));
    let mut kernels = Vec::new();
    for (word, found) in btf.chain(debug) {
        let (source, host) = found?;
        let answers = answers::answer(&input, &source, host).with_context(|| word.clone())?;
        kernels.push(answers);
    }
    let mut text = String::new();
    for answers in &kernels {
        let missing = answers
            .relocations
            .iter()
            .filter(|value| value.is_err())
            .count();
        let relocations = answers.relocations.len();
        text += &format!(
            "  {}: {relocations} values, {missing} of them of what it does not have\n",
            answers.host
        );
    }
    let hosts: Vec<_> = kernels.iter().map(|answers| answers.host.clone()).collect();
    let file = File::new(&input.name, answers::questions(&input, manifest), kernels);
    let bytes = match args
        .output
        .extension()
        .is_some_and(|extension| extension == "wasm")
    {
        true => embed(&input.wasm, &file).map_err(anyhow::Error::msg)?,
        false => file.text().into_bytes(),
    };
    let shown = args.output.display();
    fs::write(&args.output, &bytes).with_context(|| shown.to_string())?;
    let kinds = if hosts.len() == 1 {
        "kernel"
    } else {
        "kernels"
    };
    let head = format!(
        "{shown}: values of {} for {} {kinds}, {} bytes\n",
        input.name,
        hosts.len(),
        bytes.len()
    );
    let json = json!({ "module": input.name, "kernels": hosts, "bytes": bytes.len() });
    Ok(Output {
        text: head + &text,
        json,
    })
}
