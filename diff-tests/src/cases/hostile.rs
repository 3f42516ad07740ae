//! Modules made to do harm: refused, or trapped and counted; and the next module works.
//!
//! `HOSTILE_MODULES=N` and `HOSTILE_SEED=S` choose how many made-up ones of each kind are fired, and which.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};

use super::Case;
use crate::hostile::MAKERS;
use crate::hostile::rig::{Fate, RUNS, Rig};
use crate::settings::number;
use crate::wasm::Wasm;
use crate::workload::memory::UserText;
use crate::workload::syscalls;
use crate::{corpus, guest};

/// The tests of this area.
pub const CASES: &[Case] = &[
    ("hostile::hand_made_modules_meet_their_fate", hand_made),
    ("hostile::made_up_modules_do_no_harm", made_up),
    ("hostile::the_budget_bounds_a_runs_time", dear),
];

/// Made-up modules of each kind, where nothing else is asked for.
const MODULES: u64 = 300;

/// Every module of `corpus/modules/hostile` is refused, trapped or run as its first line says.
fn hand_made() -> Result<()> {
    let device = guest::device()?;
    let mut wrong = Vec::new();
    for module in corpus::hostile() {
        let fate = Rig::new(&device)?.fire(module.bytes)?;
        match as_told(module.fate, &fate) {
            Ok(()) => println!("{}: {fate:?}", module.name),
            Err(error) => wrong.push(format!("{}: {error:#}, but {fate:?}", module.name)),
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    works()
}

/// What a budget's time may be in parts of what it is in a plain loop.
const MOST: f64 = 4.0;

/// What they are given: an eighth of the default, so that a run ends before a busy host takes the guest's CPU away.
const BUDGET: u64 = 1 << 17;

/// Every module `dear_*` takes all of its budget, and no more time for it than four times a plain loop.
fn dear() -> Result<()> {
    let device = guest::device()?;
    // Where one of them reads strings.
    let _text = UserText::at(0x1000_0000)?;
    // One that is its own caller's: a stack without end.
    let mut frame = Box::new([0u64; 2]);
    *frame = [frame.as_ptr() as u64, 1];
    let took = |module: &corpus::Hostile| -> Result<f64> {
        let mut rig = Rig::large(&device)?;
        rig.frame = Some(frame.as_ptr() as u64);
        rig.fuel = BUDGET;
        let fate = rig.fire(module.bytes)?;
        as_told(module.fate, &fate).with_context(|| format!("{}: {fate:?}", module.name))?;
        Ok(rig.took.as_secs_f64())
    };
    let modules = || corpus::hostile().filter(|module| module.name.starts_with("dear_"));
    let base = modules().find(|module| module.name == "dear_base");
    let base = took(&base.context("dear_base")?)?;
    println!("a plain loop: {:.1} ms", base * 1e3);
    let mut wrong = Vec::new();
    for module in modules() {
        let ratio = took(&module)? / base;
        println!("{}: {ratio:.2}", module.name);
        if ratio > MOST {
            wrong.push(format!("{}: {ratio:.1} times a plain loop", module.name));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    works()
}

fn as_told(told: &str, fate: &Fate) -> Result<()> {
    let (verb, text) = told.split_once(": ").unwrap_or((told, ""));
    let fits = match (verb, fate) {
        ("refused", Fate::Refused(why)) => why.contains(text),
        ("traps", Fate::Ran { runs, traps, why }) => {
            *runs == RUNS && *traps == RUNS && why.contains(text)
        }
        ("runs", Fate::Ran { runs, traps, .. }) => *runs == RUNS && *traps == 0,
        ("refused" | "traps" | "runs", _) => false,
        _ => bail!("its first line is none of `refused: TEXT`, `traps: TEXT`, `runs`"),
    };
    ensure!(fits, "it is told to be {told:?}");
    Ok(())
}

/// Whatever they are, the device still works after them.
fn made_up() -> Result<()> {
    let device = guest::device()?;
    let count = number("HOSTILE_MODULES", MODULES)?;
    let first = number("HOSTILE_SEED", 1)?;
    for (kind, make) in MAKERS {
        let mut rig = Rig::new(&device)?;
        let mut fates: BTreeMap<String, u64> = BTreeMap::new();
        for seed in first..first + count {
            let fate = rig
                .fire(&make(seed))
                .with_context(|| format!("{kind} {seed}"))?;
            *fates.entry(word(&fate)).or_default() += 1;
        }
        println!("{kind}: {fates:?}");
        let ran: u64 = fates.iter().filter(|f| f.0 != "refused").map(|f| f.1).sum();
        ensure!(ran > count / 20, "of {count} {kind} only {ran} ran");
    }
    works()
}

fn word(fate: &Fate) -> String {
    match fate {
        Fate::Refused(_) => "refused".to_owned(),
        Fate::Ran { traps: 0, .. } => "ran to the end".to_owned(),
        Fate::Ran { why, .. } => why.clone(),
    }
}

/// A harmless module loads and counts.
fn works() -> Result<()> {
    let device = guest::device()?;
    let mut wasm = Wasm::load(&device, corpus::module("fork")?, "fork", &[])?;
    wasm.attach()?;
    syscalls::fork(3)?;
    let report = wasm.report()?;
    ensure!(
        report == "3",
        "the next module reports {report:?} after 3 forks"
    );
    Ok(())
}
