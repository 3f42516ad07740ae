//! Development tasks: `cargo xtask --help`.
//!
//! One file a task. A task does all its own set-up (packages, kernels, building) and says what it does on stderr.

mod apt;
mod bench;
mod buildroot;
mod cases;
mod demo;
mod diff;
mod dist;
mod exec;
mod faults;
mod generate;
mod image;
mod kernels;
mod kmod;
mod picture;
mod progress;
mod random;
mod setup;
mod test;
mod tidy;
mod tools;
mod values;
mod vm;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use crate::kernels::Kernel;
use crate::progress::{Tone, tell};

#[derive(Parser)]
#[command(
    bin_name = "cargo xtask",
    about = "Development tasks of bpf2wasm and wprobe"
)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what the tasks need: Debian packages (as root), kernels under target/vm
    #[command(after_help = "Example:\n  cargo xtask setup")]
    Setup,
    /// Debian's vfsstat, converted, beside the native one on the same kernel
    #[command(after_help = "Examples:\n  cargo xtask demo\n  cargo xtask demo --kernel 6.1-rt")]
    Demo {
        /// The kernel
        #[arg(long, value_enum, default_value = "6.12")]
        kernel: Kernel,
    },
    /// Run the tests: format, lints, tidy, host tests, kernel modules, guest tests
    #[command(after_help = TEST_HELP)]
    Test {
        /// Only what needs neither kernel module nor guest
        #[arg(long)]
        quick: bool,
        /// The whole matrix: every test on every usual kernel, on every engine, and a part on all others, which takes hours
        #[arg(long, conflicts_with_all = ["quick", "kernel", "engine", "filter"])]
        all: bool,
        /// Everything on this kernel; may be given several times
        #[arg(long, value_enum)]
        kernel: Vec<Kernel>,
        /// Everything on this engine; with a filter, by default wasmi
        #[arg(long, value_enum)]
        engine: Option<vm::Engine>,
        /// Only tests whose names contain this, and no lints
        filter: Option<String>,
    },
    /// Build wprobe.ko, for the usual kernels or some
    #[command(after_help = "Examples:\n  cargo xtask kmod\n  cargo xtask kmod --kernel 6.12")]
    Kmod {
        /// A kernel; may be given several times
        #[arg(long, value_enum)]
        kernel: Vec<Kernel>,
    },
    /// Make Debian packages: the commands, and the kernel module for DKMS
    #[command(
        after_help = "Example:\n  cargo xtask dist && sudo apt install ./target/dist/*.deb\n  cargo xtask dist --test --profile debug"
    )]
    Dist {
        /// Install them on a Debian of their own, and use them in guests, also after a change of the kernel
        #[arg(long)]
        test: bool,
        /// How the commands are built
        #[arg(long, value_enum, default_value = "release")]
        profile: dist::Profile,
    },
    /// Measure what an event, a loaded tool, or computing costs: no probe, an empty one, native eBPF, wasm
    #[command(
        after_help = "Examples:\n  cargo xtask bench --instructions --quick\n  cargo xtask bench --profile raw_tp_counter\n  cargo xtask bench --compute --json bench.json\n  cargo xtask bench --footprint opensnoop --kernel 6.1"
    )]
    Bench(bench::Plan),
    /// Run tools natively and as wasm at the same time, and compare what they saw
    #[command(
        after_help = "Examples:\n  cargo xtask diff opensnoop tcplife --kernel 6.12\n  cargo xtask diff opensnoop --events 5000\n  cargo xtask diff --table --html target/diff.html\n  cargo xtask diff --object my.bpf.o --workload 'cat /etc/hosts' --kernel 6.1"
    )]
    Diff(Box<diff::Plan>),
    /// A real run in a guest, as the picture in the README
    #[command(after_help = "Example:\n  cargo xtask picture")]
    Picture,
    /// `wprobe run` on every tool, by both runtimes, and beside Debian's own binaries
    #[command(
        after_help = "Examples:\n  cargo xtask tools opensnoop biolatency\n  cargo xtask tools --table"
    )]
    Tools(tools::Plan),
    /// Put faults into a copy of the tree, one at a time: whether the tests would notice
    #[command(after_help = "Examples:\n  cargo xtask faults\n  cargo xtask faults 'byte swap'")]
    Faults(faults::Plan),
    /// Run many random programs in this machine's kernel and translated; a failure is printed as a filetest
    #[command(
        after_help = "Examples:\n  cargo xtask random\n  cargo xtask random --programs 100000 --seed 7"
    )]
    Random(random::Plan),
    /// Write the files that are generated from helpers/abi
    #[command(after_help = "Example:\n  cargo xtask generate")]
    Generate,
    /// Check what the compiler does not: crate arrows, dead files, links, sizes
    #[command(after_help = "Example:\n  cargo xtask tidy")]
    Tidy,
    /// Values of relocations by a kernel's debug information, against those by its BTF, for every object at hand
    #[command(after_help = "Example:\n  cargo xtask values")]
    Values {
        /// A kernel of which Debian has the debug information
        #[arg(long, value_enum, default_value = "6.1-cloud")]
        kernel: Kernel,
    },
    /// Boot a kernel and run a command in it, or a shell
    #[command(after_help = VM_HELP)]
    Vm(VmArgs),
}

const TEST_HELP: &str = "\
Without options: everything on 6.12, on compiled code, and hostile modules on the interpreter, too; on 6.1 what of it is the kernel's
business, interpreted; on the oldest kernel and on the newest every kind of hook. What is left out is printed. After 75 minutes no guest is booted any more, and what was not run has failed.
The last line is the sum: `N passed, M failed`. What each phase's programs said is in target/xtask/.

Examples:
  cargo xtask test
  cargo xtask test --all
  cargo xtask test --quick
  cargo xtask test --kernel 6.12 vfsstat";

const VM_HELP: &str = "\
The guest sees this machine's files at the same paths, read-only; /tmp and /run are its own; /tmp/out is target/vm/out here.
The command's exit status is passed on; a kernel oops, BUG, WARNING, lockup or stall fails it in any case.

Examples:
  cargo xtask vm --with wprobe
  cargo xtask vm --with wprobe -- wprobe run vfsstat --duration 2
  cargo xtask vm -- uname -r
  cargo xtask vm --kernel 6.1-rt -- sh -c 'insmod target/kmod/6.1-rt/wprobe.ko && dmesg | tail'
  cargo xtask vm --kernel 6.12";

#[derive(Args)]
struct VmArgs {
    /// The kernel
    #[arg(long, value_enum, default_value = "6.12")]
    kernel: Kernel,
    /// What it has from the start
    #[arg(long, value_enum)]
    with: Option<vm::With>,
    /// Memory in MiB; by default what the kernel needs
    #[arg(long)]
    memory: Option<u32>,
    /// Virtual CPUs
    #[arg(long, default_value_t = 2)]
    cpus: u32,
    /// Seconds after which a guest that runs a command is powered off
    #[arg(long, default_value_t = 900)]
    timeout: u64,
    /// The command and its arguments; without one, an interactive shell
    #[arg(last = true)]
    command: Vec<String>,
}

fn main() -> ExitCode {
    match run(Cli::parse().task) {
        Ok(code) => code,
        Err(error) => {
            tell(Tone::Bad, "error", format_args!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<ExitCode> {
    exec::find_root()?;
    match task {
        Task::Setup => setup::run().map(|()| ExitCode::SUCCESS),
        Task::Kmod { kernel } => kmod::run(&kernels::or_usual(kernel)).map(|()| ExitCode::SUCCESS),
        Task::Demo { kernel } => demo::run(kernel),
        Task::Test {
            quick,
            all,
            kernel,
            engine,
            filter,
        } => test::run(&test::Plan {
            quick,
            all,
            kernels: kernel,
            engine,
            filter,
        }),
        Task::Bench(plan) => bench::run(&plan),
        Task::Dist { test, profile } => dist::run(profile, test).map(|()| ExitCode::SUCCESS),
        Task::Diff(plan) => diff::run(&plan),
        Task::Faults(plan) => faults::run(&plan),
        Task::Picture => picture::run(),
        Task::Tools(plan) => tools::run(&plan),
        Task::Random(plan) => random::run(&plan).map(|()| ExitCode::SUCCESS),
        Task::Generate => generate::run().map(|()| ExitCode::SUCCESS),
        Task::Tidy => tidy::run().map(|()| ExitCode::SUCCESS),
        Task::Values { kernel } => values::run(kernel).map(|()| ExitCode::SUCCESS),
        Task::Vm(args) => {
            let guest = vm::Guest {
                memory: args.memory.unwrap_or(args.kernel.memory()),
                cpus: args.cpus,
                timeout: Duration::from_secs(args.timeout),
                ..vm::Guest::new(args.kernel, args.command)
            };
            vm::run(guest, args.with)
        }
    }
}
