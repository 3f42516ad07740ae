//! The demonstration's guest side: Debian's vfsstat, native and as wasm, on the same events.
//!
//! Exit status 1 if any counter differs, or if there were fewer events than were made.

use std::process::ExitCode;

use anyhow::{Context, Result};
use diff_tests::{cases, guest};

/// Events to make, unless an argument says otherwise.
const EVENTS: usize = 100_000;

fn main() -> Result<ExitCode> {
    let events = match std::env::args().nth(1) {
        Some(events) => events.parse().context("usage: guest-demo [EVENTS]")?,
        None => EVENTS,
    };
    guest::check()?;
    guest::insmod()?;
    let table = cases::vfsstat::measure(events)?;
    print!("{table}");
    let (seen, equal) = (table.events(), table.equal());
    println!(
        "{seen} events, {}",
        if equal { "all equal" } else { "NOT EQUAL" }
    );
    Ok(if equal && seen >= events.max(1) as u64 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
