//! `wprobe run`.

use std::io::{IsTerminal, stdout};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use loader::attach::Plan;
use loader::device::text;
use loader::globals;
use loader::load::{Loaded, load};
use loader::open::Input;
use loader::resident::trap;
use serde_json::json;

use super::activate::Which;
use super::interrupt::{Interrupt, seconds};
use super::load::How;
use super::{Output, device, summary};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  wprobe run /usr/sbin/vfsstat
  wprobe run mkdirsnoop.bpf.o --duration 10 --json
  wprobe run vfsstat.wasm --program kprobe_vfs_read --interval 0.5")]
pub(super) struct Args {
    /// A wasm module, a BPF object, or an executable that embeds one
    file: PathBuf,
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    which: Which,
    /// Stop after so many seconds; by default at Ctrl-C
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    duration: Option<Duration>,
    /// Show every so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "1")]
    interval: Duration,
}

pub(super) fn run(args: Args, json: bool) -> Result<Output> {
    let (input, options) = args.how.open(&args.file)?;
    let mut plan = Plan::new(&input, &args.which.choice())?;
    let device = device()?;
    let loaded = load(&device, &input, &options)?;
    let signals = Interrupt::catch()?;
    let links = plan.attach(&loaded.module, &loaded.maps)?;
    eprint!(
        "running {}: {}",
        input.name,
        summary(&plan.decisions, args.which.explain)
    );
    let end = args.duration.map(|d| Instant::now() + d);
    let cpus = device.about()?.cpus;
    loop {
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        let wait = left.map_or(args.interval, |left| left.min(args.interval));
        if signals.wait(wait)? || left.is_some_and(|left| left <= args.interval) {
            break;
        }
        if json || !stdout().is_terminal() {
            continue;
        }
        // Home and clear: the screen shows the newest state only.
        print!("\x1b[H\x1b[2J{}", state(&loaded, &input, cpus)?.text);
    }
    drop(links);
    let mut output = state(&loaded, &input, cpus)?;
    output.json["decisions"] = json!(plan.decisions);
    Ok(output)
}

/// Programs' counts, variables, maps.
fn state(loaded: &Loaded, input: &Input, cpus: u32) -> Result<Output> {
    let manifest = input.manifest.as_ref();
    let mut out = Output {
        text: String::new(),
        json: json!({ "name": input.name }),
    };
    let mut programs = Vec::new();
    for p in loaded
        .module
        .programs()?
        .iter()
        .filter(|p| p.runs + p.misses > 0)
    {
        let why = (p.traps > 0).then(|| trap(Some(input), p.last_trap, p.last_site));
        out.text += &format!(
            "{}: {} runs, {} misses, {} traps",
            text(&p.name),
            p.runs,
            p.misses,
            p.traps
        );
        out.text += &why
            .as_ref()
            .map_or("\n".to_owned(), |why| format!(", last: {why}\n"));
        programs.push(json!({
            "name": text(&p.name), "runs": p.runs, "misses": p.misses, "traps": p.traps, "last_trap": why,
        }));
    }
    out.json["programs"] = json!(programs);
    if loaded.module.info()?.reports != 0 {
        let report = loaded.module.report()?;
        out.text += &format!("report: {report}\n");
        out.json["report"] = json!(report);
    }
    if let Some(manifest) = manifest {
        let btf = input.btf();
        let globals = globals::read(manifest, btf.as_ref(), &loaded.maps)?;
        out.text += &globals::to_text(&globals);
        out.json["globals"] = globals::to_json(&globals);
        let maps = loader::map_dump::all(manifest, btf.as_ref(), &loaded.maps, cpus)?;
        out.text += &loader::map_dump::to_text(&maps);
        out.json["maps"] = loader::map_dump::to_json(&maps);
    }
    Ok(out)
}
