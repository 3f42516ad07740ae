//! Activity that shell scripts cannot make, or not fast enough: `guest-work WHAT COUNT`, in the current directory.

use std::env;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use diff_tests::workload::{files, fuzz, memory, processes, sockets, system};

fn main() -> Result<()> {
    let usage =
        "usage: guest-work files|processes|far|turns|waits|sockets|signals|mounts|stats|fuzz COUNT";
    let args: Vec<String> = env::args().skip(1).collect();
    let [what, count] = &args[..] else {
        bail!("{usage}");
    };
    let count: usize = count.parse().context(usage)?;
    let here = Path::new(".");
    match what.as_str() {
        "files" => files::run(here, count)?,
        "processes" => processes::run(count)?,
        "far" => memory::far(Duration::from_millis(count as u64))?,
        "turns" => processes::turns(Duration::from_millis(count as u64))?,
        "waits" => processes::wait(count)?,
        "sockets" => sockets::run(count)?,
        "signals" => system::signals(count)?,
        "mounts" => system::mounts(here, count)?,
        "fuzz" => fuzz::run(count as u64)?,
        "stats" => system::stats(here, count)?,
        _ => bail!("{usage}"),
    }
    Ok(())
}
