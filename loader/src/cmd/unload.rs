//! `wprobe unload`.

use anyhow::Result;
use loader::resident::Resident;
use serde_json::json;

use super::{Output, device};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  wprobe unload 3
  wprobe unload vfsstat
  wprobe unload --all")]
pub(super) struct Args {
    /// The module's id or name
    #[arg(required_unless_present = "all")]
    id: Option<String>,
    /// Every module
    #[arg(long, conflicts_with = "id")]
    all: bool,
}

pub(super) fn run(args: Args, _json: bool) -> Result<Output> {
    let device = device()?;
    let residents = match &args.id {
        Some(id) => vec![Resident::find(&device, id)?],
        None => Resident::all(&device)?,
    };
    let mut text = String::new();
    let mut ids = Vec::new();
    for resident in &residents {
        resident.unload()?;
        text += &format!("unloaded {}\n", resident.name());
        ids.push(resident.info.id);
    }
    let json = match (&ids[..], args.all) {
        ([id], false) => json!({ "id": id }),
        _ => json!(ids),
    };
    Ok(Output { text, json })
}
