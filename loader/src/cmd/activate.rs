//! `wprobe activate`.

use anyhow::{Result, bail};
use loader::attach::Plan;
use loader::device::Object;
use loader::resident::Resident;
use serde_json::json;

use super::{Output, attach, device, summary};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  wprobe activate 3
  wprobe activate vfsstat --program kprobe_vfs_read --program kprobe_vfs_write
  wprobe activate vfsstat --explain")]
pub(super) struct Args {
    /// The module's id or name
    id: String,
    #[command(flatten)]
    which: Which,
}

/// Which programs.
#[derive(clap::Args)]
pub(super) struct Which {
    /// Attach this program, and no other that is not named (repeatable)
    #[arg(long, value_name = "NAME")]
    pub(super) program: Vec<String>,
    /// Say of every program whether it is attached, and why
    #[arg(long)]
    pub(super) explain: bool,
}

pub(super) fn run(args: Args, _json: bool) -> Result<Output> {
    let device = device()?;
    let resident = Resident::find(&device, &args.id)?;
    if resident.info.links > 0 {
        bail!(
            "module {} is active already (`wprobe deactivate {0}`)",
            resident.info.id
        );
    }
    let plan = Plan::new(&resident.input()?, &args.which.program)?;
    for link in attach(&resident.module, &plan)? {
        link.pin()?;
    }
    let text = summary(&plan.decisions, args.which.explain);
    let text = format!("activated {}: {text}", resident.name());
    let json = json!({
        "id": resident.info.id,
        "links": plan.links.len(),
        "programs": plan.decisions,
    });
    Ok(Output { text, json })
}
