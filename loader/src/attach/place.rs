//! One program's attachment: what its section asks for, as the device wants it.

use abi::layout::FUNCTION_INFO;
use abi::manifest::Program;
use abi::sections::Attach;
use abi::uapi::AttachPoint;

use super::Choice;
use super::kernel::{Kernel, Sizes, Symbol, event_format, record};
use crate::device::LinkSpec;

/// Bytes of the kernel's `struct pt_regs` on x86-64: 21 registers.
const PT_REGS: u32 = 21 * 8;
/// Bytes of `struct bpf_perf_event_data`: registers, period, address.
const SAMPLE: u32 = PT_REGS + 2 * 8;

/// What makes two attachments one event: programs of several types may serve it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Event {
    target: String,
    offset: u64,
    returns: bool,
    /// Perf events have no target: each program is its own.
    program: Option<String>,
}

impl Event {
    pub(super) fn of(link: &LinkSpec) -> Self {
        let returns = matches!(
            link.attach,
            AttachPoint::Kretprobe
                | AttachPoint::Fexit
                | AttachPoint::Uretprobe
                | AttachPoint::SyscallPost
        );
        let own = link.attach == AttachPoint::PerfEvent;
        let kind = match link.attach {
            AttachPoint::RawTracepoint => "tracepoint:",
            _ => "",
        };
        Event {
            target: format!("{kind}{}", link.target),
            offset: link.offset,
            returns,
            program: own.then(|| link.program.clone()),
        }
    }
}

/// The attachment of a translated program, or why there is none.
pub(super) fn link(
    program: &Program,
    choice: &Choice,
    kernel: &Kernel,
) -> Result<LinkSpec, String> {
    let (attach, target) = (program.attach, program.target.as_deref());
    let target = || target.ok_or("its section names no target");
    let probe = |symbol: &str, point| symbol_probe(program, symbol, point, kernel);
    match attach {
        Attach::Kprobe => probe(target()?, AttachPoint::Kprobe),
        Attach::Kretprobe => probe(target()?, AttachPoint::Kretprobe),
        Attach::Ksyscall => probe(&wrapper(target()?), AttachPoint::Kprobe),
        Attach::Kretsyscall => probe(&wrapper(target()?), AttachPoint::Kretprobe),
        Attach::RawTracepoint | Attach::TpBtf => raw_tracepoint(program, target()?, kernel),
        Attach::Tracepoint => tracepoint(program, target()?),
        Attach::Fentry => function(program, target()?, AttachPoint::Fentry, kernel),
        Attach::Fexit => function(program, target()?, AttachPoint::Fexit, kernel),
        Attach::FmodRet => function(program, target()?, AttachPoint::FmodRet, kernel),
        Attach::PerfEvent => Ok(LinkSpec {
            context: program.context.unwrap_or(SAMPLE),
            sampling: choice.sampling,
            ..LinkSpec::new(&program.export, "", AttachPoint::PerfEvent)
        }),
        other => Err(format!("{other:?} is not supported by the kernel module").to_lowercase()),
    }
}

/// The entry of system call `name`.
fn wrapper(name: &str) -> String {
    format!("__x64_sys_{name}")
}

fn check(symbol: &str, kernel: &Kernel) -> Result<(), String> {
    match kernel.symbol(symbol) {
        Symbol::Fine => Ok(()),
        Symbol::Missing => Err(format!("the kernel has no function {symbol}")),
        Symbol::Ambiguous(count) => Err(format!("the kernel has {count} functions {symbol}")),
    }
}

fn symbol_probe(
    program: &Program,
    target: &str,
    attach: AttachPoint,
    kernel: &Kernel,
) -> Result<LinkSpec, String> {
    let (symbol, offset) = split_offset(target)?;
    check(symbol, kernel)?;
    Ok(LinkSpec {
        context: program.context.unwrap_or(PT_REGS),
        offset,
        ..LinkSpec::new(&program.export, symbol, attach)
    })
}

/// Bytes of a context of so many arguments.
fn words(args: &Sizes) -> u32 {
    8 * args.iter().take_while(|size| **size != 0).count() as u32
}

fn raw_tracepoint(program: &Program, name: &str, kernel: &Kernel) -> Result<LinkSpec, String> {
    let args = kernel.tracepoint(name)?;
    Ok(LinkSpec {
        context: program.context.unwrap_or(words(&args)),
        args,
        ..LinkSpec::new(&program.export, name, AttachPoint::RawTracepoint)
    })
}

fn function(
    program: &Program,
    symbol: &str,
    attach: AttachPoint,
    kernel: &Kernel,
) -> Result<LinkSpec, String> {
    let args = kernel.function(symbol)?;
    check(symbol, kernel)?;
    Ok(LinkSpec {
        context: program.context.unwrap_or(words(&args)),
        args,
        ..LinkSpec::new(&program.export, symbol, attach)
    })
}

fn tracepoint(program: &Program, event: &str) -> Result<LinkSpec, String> {
    let format = event_format(event).map_err(|e| format!("no trace event {event}: {e}"))?;
    let (fixed, dynamic) = record(&format).ok_or_else(|| format!("{event}: odd format"))?;
    // Data of no fixed size follow the fields; the buffer is longer than they.
    let all = if dynamic { FUNCTION_INFO } else { fixed };
    let context = program.context.unwrap_or(all);
    if context > all {
        return Err(format!(
            "it reads {context} bytes, the event's record has {fixed}"
        ));
    }
    Ok(LinkSpec {
        context,
        ..LinkSpec::new(&program.export, event, AttachPoint::Tracepoint)
    })
}

/// `symbol+0x10` as symbol and offset.
fn split_offset(target: &str) -> Result<(&str, u64), String> {
    let Some((symbol, offset)) = target.split_once('+') else {
        return Ok((target, 0));
    };
    let parsed = match offset.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => offset.parse(),
    };
    parsed
        .map(|offset| (symbol, offset))
        .map_err(|_| format!("`{target}`: bad offset"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_split_off() {
        assert_eq!(split_offset("f+0x10"), Ok(("f", 16)));
        assert_eq!(split_offset("f"), Ok(("f", 0)));
        assert!(split_offset("f+x").is_err());
    }

    #[test]
    fn programs_of_several_types_share_an_event() {
        let event = |attach| Event::of(&LinkSpec::new("p", "vfs_read", attach));
        assert_eq!(event(AttachPoint::Kprobe), event(AttachPoint::Fentry));
        assert_eq!(event(AttachPoint::Kretprobe), event(AttachPoint::Fexit));
        assert_ne!(event(AttachPoint::Kprobe), event(AttachPoint::Kretprobe));
        assert_ne!(
            event(AttachPoint::Kprobe),
            event(AttachPoint::RawTracepoint)
        );
    }
}
