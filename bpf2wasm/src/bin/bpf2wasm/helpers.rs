//! `bpf2wasm helpers`: the helper table.

use std::fmt::Write;

use abi::helpers::HELPERS;
use anyhow::Result;
use serde::Serialize;

use crate::output::Format;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    format: Format,
}

#[derive(Serialize)]
struct Row {
    id: u32,
    name: &'static str,
    arguments: Vec<String>,
    result: String,
    gpl_only: bool,
    /// Whether this version's runtimes provide it.
    provided: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let rows: Vec<Row> = HELPERS
        .iter()
        .map(|h| Row {
            id: h.id,
            name: h.name,
            arguments: h.args.iter().map(|a| format!("{a:?}")).collect(),
            result: format!("{:?}", h.ret),
            gpl_only: h.gpl_only,
            provided: h.provided,
        })
        .collect();
    args.format.print(&rows, |rows| {
        let mut out = String::new();
        for row in rows {
            let gpl = if row.gpl_only { "  GPL" } else { "" };
            let signature = format!("({}) -> {}", row.arguments.join(", "), row.result);
            let lacking = if row.provided { "" } else { "  not provided" };
            let (id, name) = (row.id, row.name);
            let _ = writeln!(out, "{id:>4} {name:<32} {signature}{gpl}{lacking}");
        }
        out
    })
}
