//! `wprobe events`.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use loader::probe::Running;
use loader::resident::Resident;
use serde_json::json;

use super::interrupt::{Interrupt, seconds};
use super::run::Screen;
use super::{Output, device};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  wprobe events opensnoop
  wprobe events 3 --duration 10 --json

What a module sends that stays loaded (`wprobe load`, `wprobe activate`). A ring has one reader at a time.")]
pub(super) struct Args {
    /// The module's id or name
    id: String,
    /// Stop after so many seconds; by default at Ctrl-C
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    duration: Option<Duration>,
}

pub(super) fn run(args: Args, json: bool) -> Result<Output> {
    let device = device()?;
    let resident = Resident::find(&device, &args.id)?;
    let mut running = Running::resident(&device, &resident)?;
    ensure!(
        !running.streams.is_empty(),
        "{}: sends no events; `wprobe map dump` shows what its maps hold",
        running.name
    );
    running.listen()?;
    let signals = Interrupt::catch()?;
    let end = args.duration.map(|duration| Instant::now() + duration);
    let mut screen = Screen::new(json, false, resident.info.links as usize);
    screen.follow(&mut running, &signals, None, end)?;
    Ok(Output {
        text: String::new(),
        json: json!({ "name": running.name, "lost": screen.lost }),
    })
}
