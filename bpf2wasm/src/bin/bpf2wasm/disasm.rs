//! `bpf2wasm disasm`: an object's eBPF code with what it refers to and its source lines, beside the wasm it becomes.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::Write as _;

use anyhow::{Result, bail};
use bpf2wasm::{Converted, Listing, convert, list};
use serde::Serialize;

use crate::input::Input;
use crate::output::Format;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    input: Input,
    /// Only this function
    #[arg(long, value_name = "NAME")]
    function: Option<String>,
    /// Only the eBPF code
    #[arg(long)]
    no_wasm: bool,
    #[command(flatten)]
    format: Format,
}

#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    listing: Listing,
    /// By slot, the wasm of each instruction that became any.
    wasm: BTreeMap<u32, Vec<String>>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    args.input.with(|object, name| {
        let options = args.input.options();
        let mut listings = list(object.bytes, name, &options)?;
        if let Some(wanted) = &args.function {
            listings.retain(|l| l.function == *wanted);
            if listings.is_empty() {
                bail!("{name}: no function {wanted:?}");
            }
        }
        let converted = if args.no_wasm {
            None
        } else {
            convert(object.bytes, name, &options)
                .inspect_err(|error| {
                    let _ = writeln!(std::io::stderr(), "bpf2wasm: no wasm: {error}");
                })
                .ok()
        };
        let wasm = converted.as_ref().map(by_site).transpose()?;
        let report = |listing: Listing| {
            let wasm = converted.as_ref().zip(wasm.as_ref());
            let wasm = wasm.map_or_else(BTreeMap::new, |(c, w)| of(&listing, c, w));
            Report { listing, wasm }
        };
        let reports: Vec<Report> = listings.into_iter().map(report).collect();
        args.format
            .print(&reports, |reports| reports.iter().map(text).collect())
    })
}

/// The module's instructions as text, by the site they come from.
fn by_site(converted: &Converted) -> Result<BTreeMap<u32, Vec<String>>> {
    let mut all: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    let mut storage = String::new();
    let lines = wasmprinter::Config::new().offsets_and_lines(&converted.wasm, &mut storage)?;
    for (offset, line) in lines {
        let Some(offset) = offset.and_then(|o| usize::try_from(o).ok()) else {
            continue;
        };
        let next = converted.spans.partition_point(|s| s.bytes.start <= offset);
        let span = next.checked_sub(1).map(|at| &converted.spans[at]);
        if let Some(span) = span.filter(|s| s.bytes.contains(&offset)) {
            // The rest is the function's own opening and end.
            if let Some(line) = line.strip_prefix("    ") {
                let lines = all.entry(span.site).or_default();
                lines.push(line.trim_end().to_owned());
            }
        }
    }
    Ok(all)
}

/// The part of `wasm` that is a function's, by slot.
fn of(
    listing: &Listing,
    converted: &Converted,
    wasm: &BTreeMap<u32, Vec<String>>,
) -> BTreeMap<u32, Vec<String>> {
    let functions = &converted.manifest.functions;
    let mut function = functions
        .iter()
        .filter(|f| f.name == listing.function && f.section == listing.section);
    function.next().map_or_else(BTreeMap::new, |f| {
        let sites = wasm.range(f.site..f.site + f.slots);
        sites
            .map(|(site, lines)| (site - f.site, lines.clone()))
            .collect()
    })
}

fn text(report: &Report) -> String {
    let Report { listing, wasm } = report;
    let mut out = format!("{} ({}):\n", listing.function, listing.section);
    if let Some(error) = &listing.error {
        let _ = writeln!(out, "  {error}");
    }
    for line in &listing.lines {
        if let Some((file, number, text)) = &line.source {
            let _ = writeln!(out, "; {file}:{number}: {text}");
        }
        let reference = line
            .reference
            .as_ref()
            .map_or(String::new(), |r| format!("; {r}"));
        let row = format!("{:>6}: {:<36} {reference}", line.slot, line.text);
        let mut rows = vec![row.trim_end()];
        let beside = wasm.get(&line.slot).map_or(&[][..], Vec::as_slice);
        rows.resize(beside.len().max(1), "");
        for (left, right) in rows.iter().zip(beside.iter().map(Some).chain([None])) {
            let row = right.map_or((*left).to_owned(), |r| format!("{left:<64} | {r}"));
            let _ = writeln!(out, "{row}");
        }
    }
    out.push('\n');
    out
}
