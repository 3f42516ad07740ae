//! `cargo xtask random`: the random programs of `diff-tests/tests/random`, many of them.

use anyhow::{Context, Result, bail};

use crate::exec::{command, root};

/// Which programs.
#[derive(clap::Args, Debug)]
pub(crate) struct Plan {
    /// How many
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    programs: u64,
    /// Where to begin
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Every how many run on wasmtime too
    #[arg(long, default_value_t = 10)]
    compiled: u64,
}

/// The task itself.
pub(crate) fn run(plan: &Plan) -> Result<()> {
    let test = ["test", "--locked", "--release", "-p", "wprobe-diff-tests"];
    let status = command(["cargo"])
        .args(test)
        .args(["--test", "random", "--", "--nocapture"])
        .env("RANDOM_PROGRAMS", plan.programs.to_string())
        .env("RANDOM_SEED", plan.seed.to_string())
        .env("RANDOM_COMPILED", plan.compiled.to_string())
        .current_dir(root())
        .status()
        .context("cannot run cargo")?;
    if !status.success() {
        bail!("random programs: {status}");
    }
    Ok(())
}
