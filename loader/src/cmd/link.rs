//! `wprobe link`: what is attached.

use anyhow::{Result, bail};
use loader::inventory::{Kind, Link};
use serde_json::json;

use super::wanted::Wanted;
use super::{Output, Where};

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
  wprobe link show id 3 --json
  wprobe link show pinned /sys/fs/bpf/probe --runtime native
  wprobe link list --runtime native"
    )]
    Show {
        /// `id ID`, or the id alone; of the kernel's own also `pinned FILE`
        words: Vec<String>,
        #[command(flatten)]
        place: Where,
    },
}

pub(super) fn run(args: Args, _json: bool) -> Result<Output> {
    let Verb::Show { words, place } = args.verb;
    let wanted = Wanted::all(&words)?;
    if let Some(Wanted::Name(word) | Wanted::Tag(word)) = wanted {
        bail!("{word}: a link has neither name nor tag, but an id");
    }
    let inventory = place.inventory()?;
    let mut links = inventory.links()?;
    if let Some(wanted) = wanted {
        let resolved = wanted.resolved(&*inventory, Kind::Link)?;
        links.retain(|link| resolved.is(&link.id.to_string(), |_| false, None));
    }
    match wanted {
        Some(wanted) if links.is_empty() => {
            bail!("no link {} (`wprobe link list` shows all)", wanted.word())
        }
        _ => Ok(Output {
            text: links.iter().map(line).collect(),
            json: json!(links),
        }),
    }
}

fn line(link: &Link) -> String {
    let target = link
        .target
        .as_deref()
        .unwrap_or("(the kernel does not tell)");
    let mut line = format!(
        "{}: {}  {target}  program {}",
        link.id, link.attach, link.program
    );
    if let (Some(module), Some(name)) = (link.module, &link.module_name) {
        line += &format!("  module {module} ({name})");
    }
    if link.pinned == Some(true) {
        line += "  pinned";
    }
    line + "\n"
}
