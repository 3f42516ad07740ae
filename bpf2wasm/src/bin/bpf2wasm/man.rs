//! `bpf2wasm man`: manual pages, one for the command and one a verb.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::CommandFactory;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where to write the pages
    folder: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let context = || args.folder.display().to_string();
    std::fs::create_dir_all(&args.folder).with_context(context)?;
    clap_mangen::generate_to(crate::Cli::command(), &args.folder).with_context(context)
}
