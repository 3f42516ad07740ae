//! `wprobe link`: what is attached.

use abi::uapi::AttachPoint;
use anyhow::{Result, bail};
use loader::device::text;
use loader::resident::Resident;
use serde_json::json;

use super::{Output, device};

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Show every link, or one
    #[command(
        visible_alias = "list",
        after_help = "Examples:
  wprobe link list
  wprobe link show 3 --json"
    )]
    Show {
        /// The link's id
        id: Option<u32>,
    },
}

pub(super) fn run(args: Args, _json: bool) -> Result<Output> {
    let Verb::Show { id } = args.verb;
    let device = device()?;
    let (mut lines, mut json) = (String::new(), Vec::new());
    for resident in Resident::all(&device)? {
        for (_, link) in resident.links()? {
            if id.is_some_and(|id| id != link.id) {
                continue;
            }
            let (module, name) = (resident.info.id, resident.name());
            let (program, target) = (text(&link.program), text(&link.target));
            let mut points = AttachPoint::ALL.iter();
            let point = points.find(|point| **point as u32 == link.attach);
            let attach = point.map_or("unknown", |point| point.name());
            let pinned = if link.pinned != 0 { "  pinned" } else { "" };
            lines += &format!(
                "{}: {attach}  {target}  program {program}  module {module} ({name}){pinned}\n",
                link.id
            );
            json.push(json!({
                "id": link.id, "type": attach, "target": target, "program": program, "module": module,
                "pinned": link.pinned != 0,
            }));
        }
    }
    match id {
        Some(id) if json.is_empty() => bail!("no link {id} (`wprobe link list` shows all)"),
        _ => Ok(Output {
            text: lines,
            json: json!(json),
        }),
    }
}
