//! `bpf2wasm check`: the verdict on each program of an object, without writing anything.

use std::fmt::Write;

use anyhow::{Result, bail};
use bpf2wasm::{Error, Lacking, ProgramCheck, Summary, check_programs};
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
    /// Why it is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<Summary>,
    /// What it calls that the runtimes lack.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lacks: Vec<Lacking>,
    /// Maps that the runtimes lack: it cannot be attached.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lacks_maps: Vec<String>,
}

impl From<ProgramCheck> for Row {
    fn from(check: ProgramCheck) -> Self {
        // The row says of which program of which object.
        let reason = |e: &Error| match e.insn {
            Some(insn) => format!("insn {insn}: {}", e.kind),
            None => e.kind.to_string(),
        };
        let error = check.result.as_ref().err();
        let error = error.map(|e| match &e.program {
            Some(program) if *program != check.program => format!("{program}: {}", reason(e)),
            _ => reason(e),
        });
        Row {
            program: check.program,
            section: check.section,
            error,
            summary: check.result.ok(),
            lacks: check.lacks,
            lacks_maps: check.maps,
        }
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    args.input.with(|object, name| {
        let checks = check_programs(object.bytes, name, &args.input.options())?;
        let rows: Vec<Row> = checks.into_iter().map(Row::from).collect();
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
            (Some(error), _) => format!("refused: {error}"),
            (None, Some(s)) => format!("ok: {} slots, {} B of wasm", s.slots, s.code_bytes),
            (None, None) => String::new(),
        };
        let _ = writeln!(out, "{:<32} {:<40} {verdict}", row.program, row.section);
        for line in lacks(&row.lacks, &row.lacks_maps) {
            let _ = writeln!(out, "  {line}");
        }
    }
    out
}

/// What a program lacks, a line each.
pub(crate) fn lacks(calls: &[Lacking], maps: &[String]) -> Vec<String> {
    let maps = maps
        .iter()
        .map(|map| format!("will not attach: the runtime has no such map: {map}"));
    let calls = calls.iter().map(|call| match call.guarded {
        true => format!("traps if reached: {call}"),
        false => format!("will trap: {call}"),
    });
    maps.chain(calls).collect()
}
