//! `wprobe list`.

use anyhow::Result;
use loader::origin::Origin;
use loader::resident::Resident;
use serde_json::json;

use super::{Output, device};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  wprobe list
  wprobe list --json")]
pub(super) struct Args {}

pub(super) fn run(_args: Args, _json: bool) -> Result<Output> {
    let device = device()?;
    let mut text = format!(
        "{:>4}  {:<24}{:<10}{:<16}{:>9}{:>7}{:>12}{:>8}{:>8}{:>9}  {}\n",
        "id",
        "name",
        "state",
        "engine",
        "programs",
        "links",
        "runs",
        "traps",
        "misses",
        "age",
        "owner"
    );
    let mut json = Vec::new();
    for module in Resident::all(&device)? {
        let programs = module.module.programs()?;
        let sum =
            |count: fn(&loader::device::Program) -> u64| programs.iter().map(count).sum::<u64>();
        let (runs, traps, misses) = (sum(|p| p.runs), sum(|p| p.traps), sum(|p| p.misses));
        let (id, name, info) = (module.info.id, module.name(), module.info);
        let origin = Origin::of(&info);
        text += &format!(
            "{id:>4}  {name:<24}{:<10}{:<16}{:>9}{:>7}{runs:>12}{traps:>8}{misses:>8}{:>9}  {}\n",
            origin.state,
            origin.engine,
            info.programs,
            info.links,
            origin.ago(),
            origin.by()
        );
        json.push(json!({
            "id": id,
            "name": name,
            "origin": origin,
            "programs": info.programs,
            "links": info.links,
            "runs": runs,
            "traps": traps,
            "misses": misses,
        }));
    }
    Ok(Output {
        text,
        json: json!(json),
    })
}
