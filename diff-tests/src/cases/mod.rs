//! The tests that run in a guest, one file an area.

pub mod asks;
pub mod attach;
pub mod attach_load;
pub mod attach_many;
pub mod attach_session;
pub mod attach_structs;
pub mod attach_user;
pub mod callbacks;
pub mod calls;
pub mod cli;
pub mod compared;
pub mod compiled;
pub mod core_values;
pub mod counters;
pub mod diff;
pub mod fuzz;
pub mod hammer;
pub mod hostile;
pub mod hosts;
pub mod hotplug;
pub mod inventory;
pub mod kfuncs;
pub mod lifecycle;
pub mod limits;
pub mod native;
pub mod objects;
pub mod options;
mod plain;
pub mod privileges;
pub mod proxy;
pub mod references;
pub mod refusals;
pub mod requests;
pub mod rights;
pub mod rings;
pub mod rings_load;
pub mod run;
pub mod soak;
pub mod stacks;
pub mod tasks;
pub mod tools;
pub mod top;
pub mod values;
pub mod verdicts;
pub mod versions;
pub mod vfsstat;
pub mod waiting;

use anyhow::Result;

/// A test: its name, and what it does.
pub type Case = (&'static str, fn() -> Result<()>);

/// The last tests: they unload the module.
pub const LAST: &[Case] = lifecycle::CASES;

/// Every test but those of [`tools`], in the order they run.
pub fn all() -> Vec<Case> {
    [
        core_values::CASES,
        asks::CASES,
        vfsstat::CASES,
        objects::CASES,
        counters::CASES,
        attach::CASES,
        attach_structs::CASES,
        attach_user::CASES,
        attach_load::CASES,
        attach_many::CASES,
        attach_session::CASES,
        hammer::CASES,
        fuzz::CASES,
        hostile::CASES,
        privileges::CASES,
        rights::CASES,
        requests::CASES,
        refusals::CASES,
        proxy::CASES,
        references::CASES,
        callbacks::CASES,
        calls::CASES,
        rings::CASES,
        rings_load::CASES,
        hotplug::CASES,
        stacks::CASES,
        tasks::CASES,
        soak::CASES,
        cli::CASES,
        diff::CASES,
        compared::CASES,
        run::CASES,
        versions::CASES,
        inventory::CASES,
        kfuncs::CASES,
        top::CASES,
        values::CASES,
        hosts::CASES,
        verdicts::CASES,
        waiting::CASES,
        options::CASES,
        limits::CASES,
        native::CASES,
        compiled::CASES,
        LAST,
    ]
    .concat()
}
