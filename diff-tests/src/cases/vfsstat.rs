//! Debian's vfsstat under both runtimes: five counters in `.bss`, incremented by kprobes.

use std::fs;

use anyhow::{Context, Result, ensure};

use loader::attach::Choice;
use loader::load::{Engine, Options};
use loader::open::Input;

use super::Case;
use crate::compare::{Table, counters};
use crate::guest;
use crate::oracle::native::Native;
use crate::wasm::Wasm;
use crate::workload::files;

/// The tests of this area.
pub const CASES: &[Case] = &[("vfsstat::counters_equal_native", equal)];

/// Events that must be seen at least, so that an empty comparison cannot pass.
const EVENTS: usize = 100_000;
/// Debian's tool.
const TOOL: &str = "/usr/sbin/vfsstat";
/// Its counters, in the order of its `stats` array; the kprobes have the same order.
const NAMES: [&str; 5] = ["read", "write", "fsync", "open", "create"];
/// Its kprobe programs; the fentry programs count the same events again.
const PROGRAMS: [&str; 5] = [
    "kprobe_vfs_read",
    "kprobe_vfs_write",
    "kprobe_vfs_fsync",
    "kprobe_vfs_open",
    "kprobe_vfs_create",
];

fn equal() -> Result<()> {
    let table = measure(EVENTS)?;
    ensure!(table.equal(), "counters differ:\n{table}");
    ensure!(table.events() >= EVENTS as u64, "too few events:\n{table}");
    ensure!(
        table.0.iter().all(|c| c.native > 0),
        "a counter saw nothing:\n{table}"
    );
    println!("{table}");
    Ok(())
}

/// The counters of both runtimes over the same `events` (at least) file-system events.
pub fn measure(events: usize) -> Result<Table> {
    measure_on(None, events)
}

/// As [`measure`], on some engine.
pub fn measure_on(engine: Option<Engine>, events: usize) -> Result<Table> {
    compare(engine, || {
        Ok(files::run(&guest::scratch("vfsstat")?, events)?)
    })
}

/// The counters of both runtimes over what happens while `work` runs.
pub fn measure_while(work: impl FnOnce() -> Result<()>) -> Result<Table> {
    compare(None, work)
}

fn compare(engine: Option<Engine>, work: impl FnOnce() -> Result<()>) -> Result<Table> {
    let object = object()?;
    let device = guest::device()?;
    let mut native = Native::load(&object, "vfsstat", &PROGRAMS)?;
    let choice = Choice {
        programs: PROGRAMS.map(str::to_owned).into(),
        ..Choice::default()
    };
    let options = Options {
        engine,
        ..Options::default()
    };
    let input = Input::from_bytes(&object, "vfsstat", TOOL.as_ref(), None)?;
    let mut wasm = Wasm::open(&device, input, &choice, &options)?;
    native.attach()?;
    wasm.attach()?;
    let before = read(&native, &wasm)?;
    work()?;
    let after = read(&native, &wasm)?;
    let delta = |a: &[u64], b: &[u64]| a.iter().zip(b).map(|(a, b)| a - b).collect::<Vec<_>>();
    let (native, wasm) = (delta(&after.0, &before.0), delta(&after.1, &before.1));
    Ok(Table::new(&NAMES, &native, &wasm))
}

/// Native's and wasm's counters at a moment at which nothing happened in between. Reading them makes no
/// file-system event.
fn read(native: &Native, wasm: &Wasm) -> Result<(Vec<u64>, Vec<u64>)> {
    for _ in 0..1000 {
        let before = native.section(".bss")?;
        let bytes = wasm.section(".bss")?;
        if native.section(".bss")? == before {
            return Ok((counters(&before), counters(&bytes)));
        }
    }
    anyhow::bail!("the guest is never quiet")
}

fn object() -> Result<Vec<u8>> {
    let tool = fs::read(TOOL).with_context(|| format!("{TOOL} (apt-get install libbpf-tools)"))?;
    Ok(bpf2wasm::pick(bpf2wasm::embedded_objects(&tool)?, None)?
        .bytes
        .to_vec())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use loader::attach::Plan;
    use loader::profile::Profile;

    use super::*;

    #[test]
    fn of_kprobes_and_fentry_programs_the_kprobes_are_chosen() {
        let input = Input::open(Path::new(TOOL), None).unwrap();
        let mut choice = Choice::default();
        Profile::of(&input).complete(&mut choice).unwrap();
        let plan = Plan::new(&input, &choice).unwrap();
        let targets: Vec<_> = plan.links().map(|link| link.target.as_str()).collect();
        assert_eq!(targets, NAMES.map(|name| format!("vfs_{name}")));
        assert_eq!(plan.decisions.len(), 2 * targets.len());
    }
}
