//! `wprobe activate`.

use anyhow::{Result, bail};
use loader::attach::{Choice, Plan};
use loader::device::{Object, Rate, Sampling};
use loader::origin::Origin;
use loader::profile::Profile;
use loader::resident::Resident;
use serde_json::json;

use super::{Output, device, summary};

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
    program: Vec<String>,
    /// Say of every program whether it is attached, and why
    #[arg(long)]
    pub(super) explain: bool,
    /// Attach a program as if its section were another, such as uprobe//bin/bash:readline (repeatable)
    #[arg(long, value_name = "NAME=SECTION", value_parser = at)]
    at: Vec<(String, String)>,
    /// What a program's bpf_get_attach_cookie() gives, at all its places or at one function of them (repeatable)
    #[arg(long, value_name = "NAME[@FUNCTION]=NUMBER", value_parser = cookie)]
    cookie: Vec<(String, u64)>,
    /// Samples a second of perf_event programs; by default 99. Refused where none is attached
    #[arg(long, value_name = "HZ", value_parser = clap::value_parser!(u64).range(1..))]
    frequency: Option<u64>,
    /// Only hits of this process, for uprobe and usdt programs; refused where none is attached
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pid: Option<u32>,
}

fn at(text: &str) -> Result<(String, String), String> {
    let (name, section) = text.split_once('=').ok_or("no `=` in it")?;
    Ok((name.to_owned(), section.to_owned()))
}

fn cookie(text: &str) -> Result<(String, u64), String> {
    let (name, number) = at(text)?;
    Ok((name, number.parse().map_err(|e| format!("{number}: {e}"))?))
}

impl Which {
    /// As the library wants it.
    pub(super) fn choice(&self) -> Choice {
        Choice {
            programs: self.program.clone(),
            sections: self.at.clone(),
            cookies: self.cookie.clone(),
            sampling: self.frequency.map(|frequency| Sampling {
                rate: Rate::Frequency(frequency),
                ..Sampling::default()
            }),
            pid: self.pid.unwrap_or(0),
            ..Choice::default()
        }
    }
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
    let input = resident.input()?;
    let mut choice = args.which.choice().by_name(&input);
    let profile = Profile::of(&input);
    profile.complete(&mut choice)?;
    profile.notes.iter().for_each(|note| eprintln!("{note}"));
    let mut plan = Plan::new(&input, &choice)?;
    let links = plan.attach(&resident.module, &resident.maps()?)?;
    for link in &links {
        link.pin()?;
    }
    let text = summary(&plan.decisions, args.which.explain);
    let mut text = format!("activated {}: {text}", resident.name());
    if args.which.explain {
        text += &Origin::lines(&resident.module.info()?);
    }
    let json = json!({
        "id": resident.info.id,
        "links": links.len(),
        "programs": plan.decisions,
    });
    Ok(Output { text, json })
}
