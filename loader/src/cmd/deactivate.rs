//! `wprobe deactivate`.

use anyhow::{Result, ensure};
use loader::resident::Resident;
use serde_json::json;

use super::{Output, device};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  wprobe deactivate 3
  wprobe deactivate vfsstat")]
pub(super) struct Args {
    /// The module's id or name
    id: String,
}

pub(super) fn run(args: Args, _json: bool) -> Result<Output> {
    let device = device()?;
    let resident = Resident::find(&device, &args.id)?;
    ensure!(
        resident.info.links > 0,
        "module {} is not active (`wprobe activate {0}`)",
        resident.info.id
    );
    let links = resident.deactivate()?;
    let text = format!("deactivated {}: {links} programs detached", resident.name());
    Ok(Output {
        text,
        json: json!({ "id": resident.info.id, "links": links }),
    })
}
