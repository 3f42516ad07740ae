//! The `wprobe` command: one file a verb in `cmd/`.
//!
//! Exit status: 0 done, 1 failed, 2 wrong usage.

mod cmd;

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = match cmd::Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) => return told(&usage),
    };
    match cli.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where nobody can read it, the exit status says it alone.
            let _ = writeln!(io::stderr(), "wprobe: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Prints help, or what is wrong with the command line.
fn told(usage: &clap::Error) -> ExitCode {
    match usage.print() {
        Err(e) if !usage.use_stderr() && e.kind() != ErrorKind::BrokenPipe => {
            let _ = writeln!(io::stderr(), "wprobe: standard output: {e}");
            ExitCode::FAILURE
        }
        _ => ExitCode::from(usage.exit_code() as u8),
    }
}
