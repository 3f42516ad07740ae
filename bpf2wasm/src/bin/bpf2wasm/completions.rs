//! `bpf2wasm completions`: what a shell needs to complete the command line.

use anyhow::Result;
use clap::CommandFactory;
use clap_complete::{Shell, generate};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// For which shell
    shell: Shell,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let mut script = Vec::new();
    let mut command = crate::Cli::command();
    generate(args.shell, &mut command, "bpf2wasm", &mut script);
    crate::output::write(&script)
}
