//! `bpf2wasm inspect`: what an object or a translated module holds.

use std::fmt::Write;

use anyhow::Result;
use bpf2wasm::{Manifest, Summary, convert, imports, read_manifest};
use serde::Serialize;

use crate::input::{Input, read};
use crate::output::Format;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    input: Input,
    #[command(flatten)]
    format: Format,
}

#[derive(Serialize)]
struct Report {
    manifest: Manifest,
    imports: Vec<String>,
    /// Known where the input is an object.
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<Summary>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let bytes = read(&args.input.input)?;
    if bytes.starts_with(b"\0asm") {
        let (manifest, imports) = (read_manifest(&bytes)?, imports(&bytes)?);
        return args.format.print(
            &Report {
                manifest,
                imports,
                summary: None,
            },
            text,
        );
    }
    args.input.with(|object, name| {
        let converted = convert(object.bytes, name, &args.input.options())?;
        let imports = converted.summary.imports.clone();
        let summary = Some(converted.summary);
        args.format.print(
            &Report {
                manifest: converted.manifest,
                imports,
                summary,
            },
            text,
        )
    })
}

fn text(report: &Report) -> String {
    let Report {
        manifest,
        imports,
        summary,
    } = report;
    let mut out = String::new();
    let _ = writeln!(
        out,
        "{} (license {:?}, {})",
        manifest.object, manifest.license, manifest.translator
    );
    let mut section = |title: &str, lines: Vec<String>| {
        let _ = writeln!(out, "{title} ({}):", lines.len());
        lines.iter().for_each(|line| _ = writeln!(out, "  {line}"));
    };
    let programs = manifest.programs.iter().map(|p| {
        let context = p.context.map_or("any of its context".into(), |bytes| {
            format!("{bytes} B of context")
        });
        let manual = if p.autoload {
            ""
        } else {
            ", not loaded by default"
        };
        format!("{:<32} {:<40} reads {context}{manual}", p.name, p.export)
    });
    section("programs", programs.collect());
    let maps = manifest.maps.iter().map(|m| {
        let ty = abi::map_types::MapType::from_id(m.map_type).map_or("?", |t| t.name());
        format!(
            "{:<32} {ty}: key {} B, value {} B, {} entries",
            m.name, m.key_size, m.value_size, m.max_entries
        )
    });
    section("maps", maps.collect());
    section(
        "CO-RE relocations",
        manifest
            .relocations
            .iter()
            .map(|r| r.import.clone())
            .collect(),
    );
    let externs = manifest.externs.iter().map(|e| {
        let weak = if e.weak { ", weak" } else { "" };
        format!("{:<32} {:?}{weak}", e.name, e.kind)
    });
    section("externs", externs.collect());
    section("imports", imports.clone());
    if let Some(summary) = summary {
        let a = &summary.accesses;
        let proven = a.frame + a.guest + a.kernel;
        let (checked, all) = (a.checked, proven + a.checked);
        let accesses = format!(
            "{all}: {} frame, {} guest, {} kernel, {checked} checked at run time",
            a.frame, a.guest, a.kernel
        );
        section("memory accesses", vec![accesses]);
        section("functions with a dispatch loop", summary.dispatch.clone());
    }
    out
}
