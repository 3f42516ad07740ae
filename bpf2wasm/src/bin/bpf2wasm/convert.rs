//! `bpf2wasm convert`.

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use bpf2wasm::{Manifest, Summary, convert};
use serde::Serialize;

use crate::input::Input;
use crate::output::Format;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    input: Input,
    /// Where to write the module
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    format: Format,
}

#[derive(Serialize)]
struct Report<'a> {
    manifest: &'a Manifest,
    summary: &'a Summary,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    args.input.with(|object, name| {
        let converted = convert(object.bytes, name, &args.input.options())?;
        std::fs::write(&args.output, &converted.wasm)
            .with_context(|| args.output.display().to_string())?;
        let report = Report {
            manifest: &converted.manifest,
            summary: &converted.summary,
        };
        args.format.print(&report, text)
    })
}

fn text(report: &Report<'_>) -> String {
    let Report { manifest, summary } = report;
    let mut out = String::new();
    let mut line = |text: std::fmt::Arguments<'_>| {
        let _ = writeln!(out, "{text}");
    };
    line(format_args!("programs ({}):", manifest.programs.len()));
    for program in &manifest.programs {
        line(format_args!("  {:<32} {}", program.name, program.export));
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
