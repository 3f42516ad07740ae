//! The command `bpf2wasm`: one file per verb.

mod check;
mod completions;
mod convert;
mod disasm;
mod helpers;
mod input;
mod inspect;
mod man;
mod output;

use std::io::{self, ErrorKind, Write};
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
    /// Say of each program whether it can be translated, and what of it will trap
    Check(check::Args),
    /// Show what an object or a translated module holds
    Inspect(inspect::Args),
    /// Show an object's eBPF code beside the wasm it becomes
    Disasm(disasm::Args),
    /// List the helper functions and their arguments
    Helpers(helpers::Args),
    /// Print a shell's completion script
    Completions(completions::Args),
    /// Write manual pages
    Man(man::Args),
}

/// Exit code 1: the input is refused; 2 (clap's): the command line is.
fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) => return told(&usage),
    };
    let result = match cli.verb {
        Verb::Convert(args) => convert::run(&args),
        Verb::Check(args) => check::run(&args),
        Verb::Inspect(args) => inspect::run(&args),
        Verb::Disasm(args) => disasm::run(&args),
        Verb::Helpers(args) => helpers::run(&args),
        Verb::Completions(args) => completions::run(&args),
        Verb::Man(args) => man::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where nobody can read it, the exit code says it alone.
            let _ = writeln!(io::stderr(), "bpf2wasm: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Prints help, or what is wrong with the command line.
fn told(usage: &clap::Error) -> ExitCode {
    match usage.print() {
        Err(e) if !usage.use_stderr() && e.kind() != ErrorKind::BrokenPipe => {
            let _ = writeln!(io::stderr(), "bpf2wasm: standard output: {e}");
            ExitCode::FAILURE
        }
        _ => ExitCode::from(usage.exit_code() as u8),
    }
}
