//! What a comparison of two runtimes must see: a test of each way in which the two could be made equal.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use loader::attach::Choice;
use loader::diff::{Outcome, Pair, Plan};
use loader::open::Input;

use super::Case;
use crate::workload::{syscalls, user};
use crate::{corpus, guest};

/// The tests of this area.
pub const CASES: &[Case] = &[
    ("compared::data_is_as_it_was_loaded", data),
    ("compared::usdt_arguments_stay_known", arguments),
    ("compared::what_is_not_filled_is_not_compared", filled),
    (
        "compared::every_program_that_libbpf_attaches_is_there",
        programs,
    ),
    ("compared::a_program_of_one_side_is_a_difference", one_side),
];

const EVENTS: u64 = 200;
/// Calls after which events are read: more do not fit into the ring.
const AT_ONCE: u64 = 5;

/// What both see of `work`, a part at a time, with programs of `object`.
fn watch(object: &str, choice: Choice, work: impl Fn(u64)) -> Result<Outcome> {
    let elf = corpus::object(object)?;
    let input = Input::from_bytes(elf, object, Path::new(object), None)?;
    let plan = Plan {
        choice,
        ..Plan::default()
    };
    let mut pair = Pair::attach(&guest::device()?, &input, plan)?;
    pair.begin()?;
    for _ in 0..EVENTS / AT_ONCE {
        work(AT_ONCE);
        pair.keep()?;
    }
    pair.end()
}

fn only(program: &str) -> Choice {
    Choice {
        programs: vec![program.to_owned()],
        ..Choice::default()
    }
}

fn equal(outcome: &Outcome) -> Result<()> {
    ensure!(outcome.equal() && outcome.traps == 0, "{outcome}");
    ensure!(outcome.seen() >= EVENTS, "{outcome}");
    Ok(())
}

/// A variable that is not zero, and that nobody changes.
fn data() -> Result<()> {
    equal(&watch("compared", only("weighs"), syscalls::getpgrp)?)
}

/// Programs that know of no arguments send nothing.
fn arguments() -> Result<()> {
    let path = std::env::current_exe()?;
    let path = path.to_str().context("an odd path")?;
    let section = format!("usdt/{path}:wprobe:target");
    let choice = Choice {
        sections: vec![("reads".to_owned(), section)],
        ..only("reads")
    };
    let outcome = watch("compared", choice, user::tracepoint)?;
    ensure!(outcome.events >= EVENTS, "{outcome}");
    equal(&outcome)
}

fn filled() -> Result<()> {
    let outcome = watch("compared", only("fills"), syscalls::getpgrp)?;
    ensure!(outcome.events >= EVENTS, "{outcome}");
    equal(&outcome)
}

/// Two programs are on one function.
fn programs() -> Result<()> {
    let both = Choice {
        programs: vec!["weighs".to_owned(), "fills".to_owned()],
        ..Choice::default()
    };
    for choice in [Choice::default(), both] {
        let outcome = watch("compared", choice, syscalls::getpgrp)?;
        ensure!(outcome.programs.len() == 2, "{outcome}");
        equal(&outcome)?;
    }
    Ok(())
}

/// The runtime has no iterators.
fn one_side() -> Result<()> {
    let outcome = watch("compared_iter", Choice::default(), syscalls::getpgrp)?;
    let places = outcome.findings.differences.iter();
    let places: Vec<_> = places.map(|difference| &difference.place[..]).collect();
    ensure!(places == ["program iterates"], "{outcome}");
    Ok(())
}
