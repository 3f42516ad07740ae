//! Why a program is not attached, in words.

use alloc::string::String;
use core::fmt;

use abi::uapi::AttachPoint;
use helpers::host::Errno;

use crate::user::Refusal;

/// Why a program was not attached.
#[derive(Debug)]
pub(crate) enum LinkError {
    /// The module has no such program.
    NoProgram(String),
    /// The program's type does not fit the attach point.
    WrongProgram { program: String, why: &'static str },
    /// More context than there is.
    Context { asked: u32, has: usize },
    /// A parameter of the function without an argument.
    Parameters {
        program: String,
        takes: usize,
        given: usize,
    },
    /// Strings that have no place to go.
    Strings { program: String, why: &'static str },
    /// The offset makes no sense here.
    Offset(u64),
    /// What belongs to another attach point.
    Unused,
    /// The target is no `SYSTEM/NAME`, or not text.
    Event,
    /// Arguments that no function has.
    Arguments,
    /// Neither a frequency nor a period.
    Sample,
    /// The kernel refuses the probe.
    Kernel {
        attach: AttachPoint,
        target: String,
        errno: i32,
    },
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoProgram(program) => {
                write!(f, "program {program}: the module has none of that name")
            }
            Self::WrongProgram { program, why } | Self::Strings { program, why } => {
                write!(f, "program {program}: {why}")
            }
            Self::Context { asked, has } => {
                write!(f, "context of {asked} bytes, there are {has}")
            }
            Self::Parameters {
                program,
                takes,
                given,
            } => {
                write!(
                    f,
                    "program {program}: takes {takes} parameters, {given} arguments are described"
                )
            }
            Self::Offset(offset) => write!(f, "offset {offset}: not with this attach point"),
            Self::Unused => {
                f.write_str("a semaphore, process or sampling: not with this attach point")
            }
            Self::Event => f.write_str("the target is no event's SYSTEM/NAME"),
            Self::Arguments => f.write_str("more arguments, or larger ones, than a function has"),
            Self::Sample => f.write_str("neither a frequency nor a period is given"),
            Self::Kernel {
                attach,
                target,
                errno,
            } => write!(
                f,
                "{} {target}: {}",
                attach.name(),
                kernel_error(*attach, *errno)
            ),
        }
    }
}

/// What the kernel's errors mean: those of register_kprobe() (kernel/kprobes.c), and of the others.
fn kernel_error(attach: AttachPoint, errno: i32) -> &'static str {
    use AttachPoint::{PerfEvent, RawTracepoint, Tracepoint, Uprobe, Uretprobe};
    match (attach, errno) {
        (RawTracepoint | Tracepoint, 2) => "no such tracepoint",
        (Uprobe | Uretprobe, 2) => "no such file",
        (Uprobe | Uretprobe, 22) => "no regular file, or no instruction can be probed there",
        (PerfEvent, 2 | 95) => "this machine has no such event",
        (PerfEvent, 34) => "more samples than kernel.perf_event_max_sample_rate allows",
        (PerfEvent, 22) => "the event cannot be sampled like this",
        (_, 2) => "no such symbol",
        (_, 12) => "out of memory",
        (_, 16) => "busy",
        (_, 22) => "the kernel does not allow a probe there",
        (_, 84) => "the offset is not at an instruction",
        (_, 95) => "the event has no record that a program could get",
        _ => "the kernel refuses it",
    }
}

impl Refusal for LinkError {
    fn errno(&self) -> Errno {
        match self {
            Self::NoProgram(_) => Errno::ENOENT,
            Self::Kernel { errno, .. } => Errno(*errno),
            _ => Errno::EINVAL,
        }
    }
}
