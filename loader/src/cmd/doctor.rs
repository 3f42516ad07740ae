//! `wprobe doctor`.

use anyhow::Result;
use loader::doctor::{Facts, checks, to_text};
use serde_json::json;

use super::Output;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  wprobe doctor
  sudo wprobe doctor --json

Of what is marked -- the next line says what to do. The exit status is 0 in any case.")]
pub(super) struct Args {}

pub(super) fn run(_args: Args, _json: bool) -> Result<Output> {
    let checks = checks(&Facts::gather());
    Ok(Output {
        text: to_text(&checks),
        json: json!(checks),
    })
}
