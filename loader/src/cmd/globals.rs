//! `wprobe globals`.

use anyhow::{Result, bail};
use loader::globals;
use loader::resident::Resident;

use super::{Output, device};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  wprobe globals vfsstat
  wprobe globals 3 --json")]
pub(super) struct Args {
    /// The module's id or name
    id: String,
}

pub(super) fn run(args: Args, _json: bool) -> Result<Output> {
    let device = device()?;
    let resident = Resident::find(&device, &args.id)?;
    let input = resident.input()?;
    let Some(manifest) = &input.manifest else {
        bail!(
            "module {} is hand-written: `wprobe report` shows its data",
            resident.info.id
        );
    };
    let globals = globals::read(manifest, input.btf().as_ref(), &resident.maps()?)?;
    Ok(Output {
        text: globals::to_text(&globals),
        json: globals::to_json(&globals),
    })
}
