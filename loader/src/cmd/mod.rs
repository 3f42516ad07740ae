//! The verbs, and what they share: one output for people and for programs.

mod activate;
mod clock;
mod completions;
mod deactivate;
mod diff;
mod doctor;
mod events;
mod globals;
mod info;
mod interrupt;
mod limits;
mod link;
mod list;
mod load;
mod man;
mod map;
mod prog;
mod report;
mod run;
mod top;
mod unload;
mod wanted;

use std::io::{self, Write};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use loader::attach::Decision;
use loader::device::Device;
use loader::inventory::{self, Inventory};
use serde_json::Value;

/// Loads wasm probes into the kernel and reads their data.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:
  wprobe run opensnoop                convert, load, attach, show what it sees until Ctrl-C
  wprobe load vfsstat.wasm            load; it stays loaded when the command ends
  wprobe activate vfsstat             attach its programs
  wprobe globals vfsstat --json       read its variables
  wprobe doctor                       what this host offers, and what to do about each lack
  wprobe top                          show what each program costs
  wprobe events opensnoop             print what a module sends that stays loaded
  wprobe map dump name hists          show a map of a loaded module
  wprobe unload vfsstat               detach, and free everything"
)]
pub(crate) struct Cli {
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

macro_rules! verbs {
    ($($(#[doc = $doc:literal])* $verb:ident $module:ident;)*) => {
        #[derive(Subcommand)]
        enum Verb {
            $($(#[doc = $doc])* $verb($module::Args),)*
        }

        impl Cli {
            /// Does what was asked for.
            pub(crate) fn run(self) -> Result<()> {
                let output = match self.verb {
                    $(Verb::$verb(args) => $module::run(args, self.json)?,)*
                };
                output.print(self.json).map(drop)
            }
        }
    };
}

verbs! {
    /// Load a module, a BPF object or a tool; it stays loaded
    Load load;
    /// Attach a loaded module's programs
    Activate activate;
    /// Detach them; the data stays
    Deactivate deactivate;
    /// Detach, and free everything
    Unload unload;
    /// Show every loaded module
    List list;
    /// Show a module's programs, links and maps, with their counts
    Info info;
    /// Show programs by the time they take, again and again
    Top top;
    /// Show, or set, what there may be of memory, maps, programs
    Limits limits;
    /// Show what a hand-written module reports
    Report report;
    /// Show a module's global variables
    Globals globals;
    /// Print what a loaded module sends
    Events events;
    /// Show programs that are loaded; run one on given input in this process
    Prog prog;
    /// Show and change maps that are loaded
    Map map;
    /// Show what is attached
    Link link;
    /// Say what this host offers to probes, and what to do about each lack
    Doctor doctor;
    /// Run an object natively and as wasm on the same events, and compare all they saw
    Diff diff;
    /// Load, attach, show events and data until Ctrl-C, unload
    Run run;
    /// Print a shell's completion script
    Completions completions;
    /// Write manual pages
    Man man;
}

/// Of whom a verb is.
#[derive(clap::Args)]
struct Where {
    /// Of which runtime
    #[arg(long, value_enum, default_value = "kernel-wasm")]
    runtime: Owner,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Owner {
    /// What the kernel module has loaded
    KernelWasm,
    /// The kernel's own eBPF, whoever loaded it
    Native,
}

impl Where {
    fn inventory(&self) -> Result<Box<dyn Inventory>> {
        Ok(match self.runtime {
            Owner::KernelWasm => Box::new(inventory::Device::open()?),
            Owner::Native => Box::new(inventory::Kernel),
        })
    }
}

/// What a verb has to say.
struct Output {
    text: String,
    json: Value,
}

impl Output {
    /// Prints it; whether somebody still reads.
    fn print(&self, json: bool) -> Result<bool> {
        let mut out = io::stdout().lock();
        let result = match json {
            true => writeln!(out, "{}", self.json),
            false if self.text.is_empty() => Ok(()),
            false => writeln!(out, "{}", self.text.trim_end()),
        };
        match result.and_then(|()| out.flush()) {
            // Whoever closed the pipe has seen enough.
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            other => other.map(|()| true).context("standard output"),
        }
    }
}

/// `3 programs attached, 5 skipped`, and of every one why, if asked for.
fn summary(decisions: &[Decision], explain: bool) -> String {
    let attached = decisions.iter().filter(|d| d.attached).count();
    let programs = if attached == 1 { "program" } else { "programs" };
    let mut text = format!("{attached} {programs} attached");
    match decisions.len() - attached {
        0 => {}
        skipped if explain => text += &format!(", {skipped} skipped"),
        skipped => text += &format!(", {skipped} skipped (--explain says why)"),
    }
    text.push('\n');
    for decision in decisions.iter().filter(|_| explain) {
        let what = if decision.attached {
            "attached"
        } else {
            "skipped"
        };
        text += &format!("  {what:<8}  {}  ({})\n", decision.program, decision.reason);
    }
    text
}

fn device() -> Result<Device> {
    Ok(Device::open()?)
}
