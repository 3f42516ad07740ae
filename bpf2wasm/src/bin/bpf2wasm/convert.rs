//! `bpf2wasm convert`.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use bpf2wasm::{Converted, Lacking, Manifest, Summary, convert, lacking};
use serde::Serialize;

use crate::check;
use crate::input::Input;
use crate::output::{self, Format};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    input: Input,
    /// Where to write the module; `-` is standard output
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    format: Format,
}

#[derive(Serialize)]
struct Report<'a> {
    manifest: &'a Manifest,
    summary: &'a Summary,
    /// What programs call that the runtimes lack.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lacks: Vec<Lacks<'a>>,
}

#[derive(Serialize)]
struct Lacks<'a> {
    program: &'a str,
    lacks: Vec<Lacking>,
    lacks_maps: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    args.input.with(|object, name| {
        let converted = convert(object.bytes, name, &args.input.options())?;
        let report = report(&converted);
        if args.output == Path::new("-") {
            output::write(&converted.wasm)?;
            return args.format.print_aside(&report, text);
        }
        std::fs::write(&args.output, &converted.wasm)
            .with_context(|| args.output.display().to_string())?;
        args.format.print(&report, text)
    })
}

fn report(converted: &Converted) -> Report<'_> {
    let manifest = &converted.manifest;
    let lacks = manifest.programs.iter().map(|program| Lacks {
        program: &program.name,
        lacks: lacking(&converted.wasm, program),
        lacks_maps: manifest.lacking_maps(program),
    });
    Report {
        manifest,
        summary: &converted.summary,
        lacks: lacks
            .filter(|l| !l.lacks.is_empty() || !l.lacks_maps.is_empty())
            .collect(),
    }
}

fn text(report: &Report<'_>) -> String {
    let Report {
        manifest,
        summary,
        lacks,
    } = report;
    let mut out = String::new();
    let mut line = |text: std::fmt::Arguments<'_>| {
        let _ = writeln!(out, "{text}");
    };
    line(format_args!("programs ({}):", manifest.programs.len()));
    for program in &manifest.programs {
        line(format_args!("  {:<32} {}", program.name, program.export));
        let lacks = lacks.iter().filter(|l| l.program == program.name);
        for lack in lacks.flat_map(|l| check::lacks(&l.lacks, &l.lacks_maps)) {
            line(format_args!("    {lack}"));
        }
    }
    if !manifest.refused.is_empty() {
        line(format_args!("refused ({}):", manifest.refused.len()));
    }
    for refused in &manifest.refused {
        line(format_args!("  {}", refused.why));
    }
    for map in &summary.left_out {
        line(format_args!("left out: {map}"));
    }
    line(format_args!("maps ({}):", manifest.maps.len()));
    for map in &manifest.maps {
        let ty = abi::map_types::MapType::from_id(map.map_type).map_or("?", |t| t.name());
        let shape = format!(
            "key {} B, value {} B, {} entries",
            map.key_size, map.value_size, map.max_entries
        );
        line(format_args!("  {:<32} {ty}: {shape}", map.name));
    }
    line(format_args!("imports ({}):", summary.imports.len()));
    for import in &summary.imports {
        line(format_args!("  {import}"));
    }
    let (ebpf, wasm) = (summary.slots * 8, summary.code_bytes);
    let ratio = wasm as f64 / ebpf.max(1) as f64;
    line(format_args!(
        "code: {ebpf} B of eBPF, {wasm} B of wasm ({ratio:.2}x); module: {} B",
        summary.wasm_bytes
    ));
    out
}
