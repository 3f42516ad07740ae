//! `wprobe link`: what is attached.

use anyhow::{Context, Result, bail};
use loader::inventory::Link;
use serde_json::json;

use super::prog::wanted;
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
  wprobe link list --runtime native"
    )]
    Show {
        /// `id ID`, or the id alone
        words: Vec<String>,
        #[command(flatten)]
        place: Where,
    },
}

pub(super) fn run(args: Args, _json: bool) -> Result<Output> {
    let Verb::Show { words, place } = args.verb;
    let id = match wanted(&words)? {
        None => None,
        Some((Some("name"), name)) => bail!("name {name}: a link has an id only"),
        Some((_, id)) => {
            let id = id.parse::<u32>().with_context(|| format!("id {id}"))?;
            Some(id)
        }
    };
    let mut links = place.inventory()?.links()?;
    links.retain(|link| id.is_none_or(|id| id == link.id));
    match id {
        Some(id) if links.is_empty() => bail!("no link {id} (`wprobe link list` shows all)"),
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
