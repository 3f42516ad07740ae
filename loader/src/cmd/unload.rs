//! `wprobe unload`.

use anyhow::Result;
use loader::resident::Resident;
use serde_json::json;

use super::{Output, device};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  wprobe unload 3
  wprobe unload vfsstat")]
pub(super) struct Args {
    /// The module's id or name
    id: String,
}

pub(super) fn run(args: Args, _json: bool) -> Result<Output> {
    let device = device()?;
    let resident = Resident::find(&device, &args.id)?;
    resident.unload()?;
    let (name, id) = (resident.name(), resident.info.id);
    Ok(Output {
        text: format!("unloaded {name}"),
        json: json!({ "id": id }),
    })
}
