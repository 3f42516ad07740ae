//! `wprobe prog`: programs that are loaded, and one on given input, in this process.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use abi::manifest::{Manifest, Program};
use anyhow::{Context, Result, bail};
use loader::inventory::{Kind, Program as Loaded};
use loader::open::Input;
use loader::user::context::{Prepared, TestInput, prepare};
use loader::user::{self, EngineKind, Trapped, UserSandbox};
use serde_json::json;

use super::wanted::{Resolved, Wanted};
use super::{Output, Where};

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Show every program of the loaded modules, or those of a name
    #[command(
        visible_alias = "list",
        after_help = "Examples:
  wprobe prog list
  wprobe prog show name kprobe_vfs_read --json
  wprobe prog show id 3.0
  wprobe prog show pinned /sys/fs/bpf/filter --runtime native
  wprobe prog list --runtime native"
    )]
    Show {
        /// `id ID`, `name NAME`, or either alone; an export is a name, too. A module's program has the id MODULE.INDEX;
        /// only the kernel's own have a `tag TAG`, or are `pinned FILE`
        words: Vec<String>,
        #[command(flatten)]
        place: Where,
    },
    /// Run a program on a packet or a context, as `bpftool prog run` does
    Run(Run),
}

#[derive(clap::Args)]
#[command(after_help = "Examples:
  wprobe prog run filter.bpf.o xdp_filter --data-in packet.bin
  wprobe prog run probe.bpf.o handle_exec --ctx-in args.bin --repeat 1000
  wprobe prog run filter.wasm xdp_filter --data-in packet.bin --data-out out.bin --engine jit

A packet program (xdp, tc, socket, ...) gets --data-in; any other gets --ctx-in. The maps are empty and
there is no kernel memory; reads of it fault.")]
struct Run {
    /// A wasm module, a BPF object, or an executable that embeds one
    file: PathBuf,
    /// The program's function or export name
    program: String,
    /// File with the packet
    #[arg(long, value_name = "FILE")]
    data_in: Option<PathBuf>,
    /// File to write the packet to, as the last run left it
    #[arg(long, value_name = "FILE")]
    data_out: Option<PathBuf>,
    /// File with the context
    #[arg(long, value_name = "FILE")]
    ctx_in: Option<PathBuf>,
    /// File to write the context to, as the last run left it
    #[arg(long, value_name = "FILE")]
    ctx_out: Option<PathBuf>,
    /// How often to run it; the time shown is the average
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,
    /// The wasm engine
    #[arg(long, value_enum, default_value = "wasmi")]
    engine: EngineKind,
    /// Execution budget of one run
    #[arg(long, default_value_t = 1 << 30)]
    fuel: u64,
    /// Which of several embedded objects, by name or index
    #[arg(long)]
    object: Option<String>,
    /// BTF to compute CO-RE values against; by default the running kernel's
    #[arg(long)]
    btf: Option<PathBuf>,
}

pub(super) fn run(args: Args, _json: bool) -> Result<Output> {
    match args.verb {
        Verb::Run(run) => run.run(),
        Verb::Show { words, place } => show(&words, &place),
    }
}

/// Whether it is the program asked for.
fn is_it(program: &Loaded, wanted: Resolved<'_>) -> bool {
    let id = match (program.id, &program.place) {
        (Some(id), _) => id.to_string(),
        (None, Some(place)) => format!("{}.{}", place.module, place.index),
        (None, None) => String::new(),
    };
    let is_named = |word: &str| program.name == word || program.export.as_deref() == Some(word);
    wanted.is(&id, is_named, program.tag.as_deref())
}

fn show(words: &[String], place: &Where) -> Result<Output> {
    let wanted = Wanted::all(words)?;
    let inventory = place.inventory()?;
    let mut programs = inventory.programs()?;
    if let Some(wanted) = wanted {
        let resolved = wanted.resolved(&*inventory, Kind::Program)?;
        programs.retain(|program| is_it(program, resolved));
    }
    match wanted {
        Some(wanted) if programs.is_empty() => {
            bail!(
                "no program {} (`wprobe prog list` shows all)",
                wanted.word()
            )
        }
        _ => Ok(Output {
            text: programs.iter().map(lines).collect(),
            json: json!(programs),
        }),
    }
}

fn lines(program: &Loaded) -> String {
    let Loaded {
        name, runs, misses, ..
    } = program;
    let mut lines = match (&program.place, program.id, &program.program_type) {
        (Some(place), ..) => {
            let (module, index) = (place.module, place.index);
            format!(
                "{module}.{index}: {name}  module {module} ({})",
                place.module_name
            )
        }
        (None, id, program_type) => format!(
            "{}: {}  name {name}",
            id.unwrap_or_default(),
            program_type.as_deref().unwrap_or("unknown")
        ),
    };
    if let Some(tag) = &program.tag {
        lines += &format!("  tag {tag}");
    }
    lines += &format!("\n\truns {runs}  misses {misses}");
    if let Some(traps) = program.traps {
        lines += &format!("  traps {traps}");
    }
    lines + "\n"
}

impl Run {
    fn run(self) -> Result<Output> {
        let input = Input::open(&self.file, self.object.as_deref())?;
        let file = self.file.display();
        let Some(manifest) = &input.manifest else {
            bail!("{file}: a hand-written module has no programs to run on an input");
        };
        let program = find(manifest, &self.program).with_context(|| format!("{file}"))?;
        let mut sandbox = user::load(&input, self.engine, self.fuel, self.btf.as_deref())
            .with_context(|| format!("{file}"))?;
        let test = TestInput {
            data: read(self.data_in.as_deref())?,
            context: read(self.ctx_in.as_deref())?,
        };
        let prepared = prepare(&sandbox, &program.section, &test)
            .with_context(|| format!("{file}: program {}", program.name))?;
        let (r0, duration) = self
            .repeat(&mut sandbox, program, &test, &prepared)
            .map_err(|t| {
                let place = t
                    .site
                    .map_or_else(String::new, |site| place(manifest, site));
                anyhow::anyhow!("{file}: program {}{place}: {t}", program.name)
            })?;
        self.output(&sandbox, &prepared, r0, duration)
    }

    /// Runs it; `r0` of the last run, and the average duration.
    fn repeat(
        &self,
        sandbox: &mut UserSandbox,
        program: &Program,
        test: &TestInput,
        prepared: &Prepared,
    ) -> Result<(u64, Duration), Trapped> {
        let mut spent = Duration::ZERO;
        let mut r0 = 0;
        for round in 0..self.repeat {
            // Each run gets the packet as it was given.
            if round > 0 {
                let _ = prepare(sandbox, &program.section, test);
            }
            let begin = Instant::now();
            r0 = sandbox.run(&program.export, &prepared.context)?;
            spent += begin.elapsed();
        }
        Ok((r0, spent / self.repeat))
    }

    fn output(
        &self,
        sandbox: &UserSandbox,
        prepared: &Prepared,
        r0: u64,
        duration: Duration,
    ) -> Result<Output> {
        let packet = prepared.packet(sandbox);
        let context = sandbox.context(prepared.context.len());
        if let Some(path) = &self.data_out {
            let packet = packet
                .as_deref()
                .context("--data-out: the program has no packet")?;
            fs::write(path, packet).with_context(|| format!("{}", path.display()))?;
        }
        if let Some(path) = &self.ctx_out {
            fs::write(path, &context).with_context(|| format!("{}", path.display()))?;
        }
        // The kernel reports 32 bits of r0.
        let value = r0 as u32;
        let nanoseconds = duration.as_nanos() as u64;
        let mut text = format!("Return value: {value}, duration (average): {nanoseconds}ns\n");
        if let (Some(packet), None) = (&packet, &self.data_out) {
            text += &format!("\nData out:\n{}", dump(packet));
        }
        let json = json!({
            "retval": value,
            "r0": format!("{r0:#x}"),
            "duration_ns": nanoseconds,
            "data_out": packet.map(|bytes| hex(&bytes)),
            "ctx_out": hex(&context),
        });
        Ok(Output { text, json })
    }
}

fn read(path: Option<&Path>) -> Result<Vec<u8>> {
    match path {
        Some(path) => fs::read(path).with_context(|| format!("{}", path.display())),
        None => Ok(Vec::new()),
    }
}

fn find<'m>(manifest: &'m Manifest, name: &str) -> Result<&'m Program> {
    let mut programs = manifest.programs.iter();
    programs
        .find(|p| p.name == name || p.export == name)
        .with_context(|| {
            let known: Vec<_> = manifest.programs.iter().map(|p| p.name.as_str()).collect();
            format!("no program {name}; there are: {}", known.join(", "))
        })
}

/// `, insn 17 of function f`.
fn place(manifest: &Manifest, site: u32) -> String {
    let function = manifest.functions.iter().rfind(|f| f.site <= site);
    function.map_or_else(String::new, |f| {
        format!(", insn {} of function {}", site - f.site, f.name)
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Sixteen bytes a line, with their offset.
fn dump(bytes: &[u8]) -> String {
    let line = |(at, chunk): (usize, &[u8])| {
        let bytes: Vec<_> = chunk.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{:04x}  {}\n", at * 16, bytes.join(" "))
    };
    bytes.chunks(16).enumerate().map(line).collect()
}
