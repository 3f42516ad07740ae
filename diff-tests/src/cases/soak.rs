//! Several tools at once under load, while others come and go; the counters of a native twin say whether an event was lost.
//!
//! `SOAK_SECONDS=N` says how long.

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::{Case, vfsstat};
use crate::guest;
use crate::settings::number;
use crate::wasm::Wasm;
use crate::workload::{files, joined, processes, sockets, system};

/// The tests of this area.
pub const CASES: &[Case] = &[("soak::tools_under_load", soak)];

/// Tools that are attached throughout.
const STAY: &[&str] = &[
    "execsnoop",
    "exitsnoop",
    "filelife",
    "hardirqs",
    "opensnoop",
    "runqlat",
    "softirqs",
    "syscount",
    "tcpconnect",
];
/// Tools that are loaded, attached and unloaded, over and over.
const COME_AND_GO: &[&str] = &[
    "bindsnoop",
    "mountsnoop",
    "offcputime",
    "sigsnoop",
    "statsnoop",
    "tcplife",
    "tcptop",
    "wakeuptime",
];

fn soak() -> Result<()> {
    let seconds = number("SOAK_SECONDS", 60)?;
    let device = guest::device()?;
    let tools: HashMap<_, _> = guest::libbpf_tools()?.into_iter().collect();
    let start = |name: &&str| {
        let object = tools.get(*name).context("no such tool")?;
        let mut wasm = Wasm::load(&device, object, name, &[])?;
        wasm.attach()?;
        Ok::<_, anyhow::Error>(wasm)
    };
    let mut rounds = 0;
    let table = vfsstat::measure_while(|| {
        let staying = STAY.iter().map(start).collect::<Result<Vec<_>>>()?;
        let end = Instant::now() + Duration::from_secs(seconds);
        under_load(end, || {
            rounds += 1;
            COME_AND_GO
                .iter()
                .try_for_each(|name| start(name).map(drop))
        })?;
        for (name, wasm) in STAY.iter().zip(staying) {
            let programs = wasm.programs()?;
            let (runs, traps) = programs
                .iter()
                .fold((0, 0), |(runs, traps), p| (runs + p.runs, traps + p.traps));
            println!("{name}: {runs} runs");
            ensure!(runs > 0 && traps == 0, "{name}: {runs} runs, {traps} traps");
        }
        Ok(())
    })?;
    println!("{rounds} rounds\n{table}");
    ensure!(table.equal(), "counters differ:\n{table}");
    Ok(())
}

/// Calls `work` again and again until `end`, while processes, files, sockets and small calls make events.
fn under_load(end: Instant, mut work: impl FnMut() -> Result<()>) -> Result<()> {
    let (many, mounted) = (guest::scratch("soak-files")?, guest::scratch("soak-mount")?);
    let small = || {
        system::signals(10)?;
        system::stats(&many, 10)?;
        system::mounts(&mounted, 1)
    };
    let until = |load: &dyn Fn() -> std::io::Result<()>| {
        while Instant::now() < end {
            load()?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let loads = [
            scope.spawn(|| until(&|| processes::run(3))),
            scope.spawn(|| until(&|| files::run(&many, 1000))),
            scope.spawn(|| until(&|| sockets::run(3))),
            scope.spawn(|| until(&small)),
        ];
        while Instant::now() < end {
            work()?;
        }
        Ok(loads.into_iter().try_for_each(joined)?)
    })
}
