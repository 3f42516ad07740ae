//! `bpf2wasm check`: what of an object can be translated, without writing anything.

use std::fmt::Write;

use anyhow::{Result, bail};
use bpf2wasm::{Summary, check_programs};
use serde::Serialize;

use crate::input::Input;
use crate::output::Format;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    input: Input,
    #[command(flatten)]
    format: Format,
}

#[derive(Serialize)]
struct Row {
    program: String,
    section: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<Summary>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    args.input.with(|object, name| {
        let checks = check_programs(object.bytes, name, &args.input.options())?;
        let rows: Vec<Row> = checks
            .into_iter()
            .map(|c| Row {
                program: c.program,
                section: c.section,
                error: c.result.as_ref().err().map(ToString::to_string),
                summary: c.result.ok(),
            })
            .collect();
        args.format.print(&rows, |rows| text(rows))?;
        match rows.iter().filter(|r| r.error.is_some()).count() {
            0 => Ok(()),
            refused => bail!("{refused} of {} programs cannot be translated", rows.len()),
        }
    })
}

fn text(rows: &[Row]) -> String {
    let mut out = String::new();
    for row in rows {
        let verdict = match (&row.error, &row.summary) {
            (Some(error), _) => error.clone(),
            (None, Some(s)) => format!("ok: {} slots, {} B of wasm", s.slots, s.code_bytes),
            (None, None) => String::new(),
        };
        let _ = writeln!(out, "{:<32} {:<40} {verdict}", row.program, row.section);
    }
    out
}
