//! `bpf2wasm disasm`: an object's eBPF code with what it refers to and its source lines.

use std::fmt::Write;

use anyhow::{Result, bail};
use bpf2wasm::{Listing, list};

use crate::input::Input;
use crate::output::Format;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    input: Input,
    /// Only this function
    #[arg(long, value_name = "NAME")]
    function: Option<String>,
    #[command(flatten)]
    format: Format,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    args.input.with(|object, name| {
        let mut listings = list(object.bytes, name, &args.input.options())?;
        if let Some(wanted) = &args.function {
            listings.retain(|l| l.function == *wanted);
            if listings.is_empty() {
                bail!("{name}: no function {wanted:?}");
            }
        }
        args.format
            .print(&listings, |listings| listings.iter().map(text).collect())
    })
}

fn text(listing: &Listing) -> String {
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
        let _ = writeln!(out, "{}", row.trim_end());
    }
    out.push('\n');
    out
}
