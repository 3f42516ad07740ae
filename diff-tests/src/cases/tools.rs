//! Real tools, native against wasm: a test for each case file.

use anyhow::{Result, ensure};
use libtest_mimic::{Failed, Trial};

use crate::guest;
use crate::tool::Case;

/// The tests of this area: `tools::NAME`.
pub fn trials() -> Vec<Trial> {
    let names = match Case::all() {
        Ok(names) => names,
        Err(error) => {
            let failed = move || Err(Failed::from(format!("{error:#}")));
            return vec![Trial::test("tools::cases", failed)];
        }
    };
    let trial = |name: String| {
        Trial::test(format!("tools::{name}"), move || {
            run(&name).map_err(|e| Failed::from(format!("{e:#}")))
        })
    };
    names.into_iter().map(trial).collect()
}

fn run(name: &str) -> Result<()> {
    let kernel = std::env::var("WPROBE_GUEST").unwrap_or_default();
    let verdict = Case::read(name)?.run(&guest::device()?, name, &kernel, 0)?;
    ensure!(verdict.is_good(), "{verdict}");
    println!("{name}: {verdict}");
    guest::check_clean()
}
