//! The command `bpf2wasm`: one file per verb.

mod convert;
mod input;
mod output;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Lifts eBPF objects to WebAssembly.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Translate an object, or one that an executable embeds
    Convert(convert::Args),
}

/// Exit code 1: the input is refused; 2 (clap's): the command line is.
fn main() -> ExitCode {
    let result = match Cli::parse().verb {
        Verb::Convert(args) => convert::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bpf2wasm: {error:#}");
            ExitCode::FAILURE
        }
    }
}
