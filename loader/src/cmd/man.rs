//! `wprobe man`: manual pages, one for the command and one a verb.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::CommandFactory;
use serde_json::json;

use super::{Cli, Output};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  wprobe man /usr/local/share/man/man1")]
pub(super) struct Args {
    /// Where to write the pages
    folder: PathBuf,
}

pub(super) fn run(args: Args, _json: bool) -> Result<Output> {
    let context = || args.folder.display().to_string();
    fs::create_dir_all(&args.folder).with_context(context)?;
    clap_mangen::generate_to(Cli::command(), &args.folder).with_context(context)?;
    Ok(Output {
        text: String::new(),
        json: json!(args.folder),
    })
}
