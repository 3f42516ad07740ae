//! `wprobe report`.

use anyhow::{Result, bail};
use loader::resident::Resident;
use serde_json::json;

use super::{Output, device};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  wprobe report fork
  wprobe report 3 --json")]
pub(super) struct Args {
    /// The module's id or name
    id: String,
}

pub(super) fn run(args: Args, _json: bool) -> Result<Output> {
    let device = device()?;
    let resident = Resident::find(&device, &args.id)?;
    if resident.info.reports == 0 {
        bail!(
            "module {} exports no `report` (`wprobe globals` shows variables)",
            resident.info.id
        );
    }
    let report = resident.module.report()?;
    Ok(Output {
        json: json!({ "id": resident.info.id, "report": report }),
        text: report,
    })
}
