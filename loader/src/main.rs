//! The `wprobe` command: one file a verb in `cmd/`.
//!
//! Exit status: 0 done, 1 failed, 2 wrong usage.

mod cmd;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cmd::Cli::parse();
    match cli.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wprobe: {error:#}");
            ExitCode::FAILURE
        }
    }
}
