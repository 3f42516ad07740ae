//! `wprobe completions`: what a shell needs to complete the command line.

use anyhow::Result;
use clap::CommandFactory;
use clap_complete::{Shell, generate};
use serde_json::json;

use super::{Cli, Output};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  wprobe completions bash > /etc/bash_completion.d/wprobe")]
pub(super) struct Args {
    /// For which shell
    shell: Shell,
}

pub(super) fn run(args: Args, _json: bool) -> Result<Output> {
    let mut script = Vec::new();
    generate(args.shell, &mut Cli::command(), "wprobe", &mut script);
    let text = String::from_utf8(script)?;
    Ok(Output {
        json: json!(text),
        text,
    })
}
