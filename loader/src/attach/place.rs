//! One program's attachment: what its section asks for, as the device wants it.

use std::fmt;

use abi::layout::FUNCTION_INFO;
use abi::manifest::Program;
use abi::sections::Attach;
use abi::uapi::{AttachPoint, MAX_PLACES};

use super::kernel::{Kernel, Sizes, Symbol, event_format, record};
use super::{Choice, elf, files, many, usdt};
use crate::device::{self, Link, LinkPlace, LinkSpec, Module};

/// Bytes of the kernel's `struct pt_regs` on x86-64: 21 registers.
const PT_REGS: u32 = 21 * 8;
/// Bytes of `struct bpf_perf_event_data`: registers, period, address.
const SAMPLE: u32 = PT_REGS + 2 * 8;

/// All that attaches one program.
#[derive(Clone, Debug)]
pub(super) struct Attachment {
    /// One, or for usdt one a place.
    pub(super) links: Vec<LinkSpec>,
    /// For usdt: how each place passes its arguments.
    specs: Vec<usdt::Spec>,
    /// Places that the section's pattern is about, too, and where none can be.
    left_out: usize,
}

impl From<LinkSpec> for Attachment {
    fn from(link: LinkSpec) -> Self {
        Attachment {
            links: vec![link],
            specs: Vec::new(),
            left_out: 0,
        }
    }
}

impl fmt::Display for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let link = &self.links[0];
        f.write_str(link.attach.name())?;
        let places = self.links.iter().map(|link| link.places.len().max(1));
        match places.sum() {
            1 => {}
            places => write!(f, " at {places} places")?,
        }
        if !link.target.is_empty() {
            write!(f, " on {}", link.target)?;
        }
        match self.left_out {
            0 => Ok(()),
            left_out => write!(f, ", and none at {left_out} where no kprobe may be"),
        }
    }
}

impl Attachment {
    /// Makes its links; all or none.
    pub(super) fn attach(
        &self,
        module: &Module,
        specs: &mut usdt::Specs<'_>,
    ) -> device::Result<Vec<Link>> {
        if self.specs.is_empty() {
            return self.links.iter().map(|link| module.attach(link)).collect();
        }
        let cookies = specs.add(&self.specs)?;
        let places = self.links.iter().zip(cookies);
        places
            .map(|(link, cookie)| {
                let link = LinkSpec {
                    cookie,
                    ..link.clone()
                };
                module.attach(&link)
            })
            .collect()
    }
}

/// The attachment of a translated program, or why there is none.
pub(super) fn attachment(
    program: &Program,
    choice: &Choice,
    kernel: &Kernel,
    layout: Option<&usdt::Layout>,
) -> Result<Attachment, String> {
    if program.attach == Attach::Usdt {
        return usdt(program, choice, layout);
    }
    if let Some(point) = point_of_many(program.attach) {
        return many(program, choice, point);
    }
    let mut link = link(program, choice, kernel)?;
    let cookies = choice.cookies_at(&[&program.name, &program.export], &[&link.target])?;
    link.cookie = cookies[0];
    Ok(link.into())
}

fn link(program: &Program, choice: &Choice, kernel: &Kernel) -> Result<LinkSpec, String> {
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
            sampling: Some(choice.sampling.unwrap_or_default()),
            ..LinkSpec::new(&program.export, "", AttachPoint::PerfEvent)
        }),
        Attach::Uprobe => uprobe(program, target()?, AttachPoint::Uprobe, choice),
        Attach::Uretprobe => uprobe(program, target()?, AttachPoint::Uretprobe, choice),
        Attach::UprobeSession => Err(unsupported(
            program,
            "calls of a file's functions have no place for a session's cookie before Linux 6.13",
        )),
        Attach::Fsession => Err(unsupported(
            program,
            "kprobe.session is, which has the registers instead of the arguments",
        )),
        other => Err(format!("{other:?} is not supported by the kernel module").to_lowercase()),
    }
}

/// How programs are attached whose sections have patterns.
fn point_of_many(attach: Attach) -> Option<AttachPoint> {
    Some(match attach {
        Attach::KprobeMulti => AttachPoint::Kprobe,
        Attach::KretprobeMulti => AttachPoint::Kretprobe,
        Attach::KprobeSession => AttachPoint::KprobeSession,
        Attach::UprobeMulti => AttachPoint::Uprobe,
        Attach::UretprobeMulti => AttachPoint::Uretprobe,
        _ => return None,
    })
}

/// All places that the section's pattern is about, with one link.
fn many(program: &Program, choice: &Choice, point: AttachPoint) -> Result<Attachment, String> {
    let target = program.target.as_deref();
    let target = target.ok_or("its section names no target")?;
    let in_file = matches!(point, AttachPoint::Uprobe | AttachPoint::Uretprobe);
    let ((functions, left_out), place, pid) = if in_file {
        let (path, pattern) = target
            .rsplit_once(':')
            .ok_or("its section names no PATH:PATTERN")?;
        let path = files::find(path)?;
        let functions = many::in_file(&path, pattern)?;
        ((functions, 0), path, choice.pid)
    } else {
        (many::in_kernel(target)?, target.to_owned(), 0)
    };
    if functions.len() as u64 > MAX_PLACES {
        let count = functions.len();
        return Err(format!(
            "{count} functions are like that, and a link has {MAX_PLACES} places at most"
        ));
    }
    let names: Vec<_> = functions.iter().map(|f| f.name.as_str()).collect();
    let cookies = choice.cookies_at(&[&program.name, &program.export], &names)?;
    let placed = |(function, cookie): (&many::Function, u64)| LinkPlace {
        at: function.at,
        cookie,
    };
    let link = LinkSpec {
        context: program.context.unwrap_or(PT_REGS),
        pid,
        places: functions.iter().zip(cookies).map(placed).collect(),
        ..LinkSpec::new(&program.export, &place, point)
    };
    Ok(Attachment {
        left_out,
        ..link.into()
    })
}

/// What the kernel module does not attach, by its section, and why.
fn unsupported(program: &Program, why: &str) -> String {
    let section = program.section.trim_start_matches('?');
    let name = section.split('/').next().unwrap_or(section);
    format!("{name} is not supported by the kernel module: {why}")
}

/// `PATH:SYMBOL`, `PATH:SYMBOL+OFFSET` or `PATH:OFFSET` in the file.
fn uprobe(
    program: &Program,
    target: &str,
    attach: AttachPoint,
    choice: &Choice,
) -> Result<LinkSpec, String> {
    let (path, place) = target
        .split_once(':')
        .ok_or("its section names no PATH:SYMBOL")?;
    let path = files::find(path)?;
    let offset = match number(place) {
        Some(offset) => offset,
        None => {
            // Names may have a `+` in them.
            let (symbol, offset) = match place.rsplit_once('+') {
                Some((symbol, offset)) => number(offset).map_or((place, 0), |o| (symbol, o)),
                None => (place, 0),
            };
            if offset != 0 && attach == AttachPoint::Uretprobe {
                return Err(format!("{place}: a return has no offset"));
            }
            elf::symbol(&path, symbol)? + offset
        }
    };
    Ok(LinkSpec {
        context: program.context.unwrap_or(PT_REGS),
        offset,
        pid: choice.pid,
        ..LinkSpec::new(&program.export, &path, attach)
    })
}

/// `PATH:PROVIDER:NAME`.
fn usdt(
    program: &Program,
    choice: &Choice,
    layout: Option<&usdt::Layout>,
) -> Result<Attachment, String> {
    let target = program.target.as_deref().unwrap_or_default();
    let (rest, name) = target.rsplit_once(':').unwrap_or_default();
    let (path, provider) = rest
        .rsplit_once(':')
        .ok_or("its section names no PATH:PROVIDER:NAME")?;
    let path = files::find(path)?;
    let places = usdt::places(&path, provider, name, layout)?;
    let link = |place: &usdt::Place| LinkSpec {
        // The arguments' specifications say what is read.
        context: PT_REGS,
        offset: place.offset,
        semaphore: place.semaphore,
        pid: choice.pid,
        ..LinkSpec::new(&program.export, &path, AttachPoint::Uprobe)
    };
    Ok(Attachment {
        links: places.iter().map(link).collect(),
        specs: places.into_iter().map(|place| place.spec).collect(),
        left_out: 0,
    })
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
    // eBPF's records of system calls end with the arguments: texts that they point to are the event's own business.
    let data = !event.starts_with("syscalls/");
    let (fixed, dynamic) = record(&format, data).ok_or_else(|| format!("{event}: odd format"))?;
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
    let offset = number(offset).ok_or_else(|| format!("`{target}`: bad offset"))?;
    Ok((symbol, offset))
}

/// A number as C writes it.
fn number(text: &str) -> Option<u64> {
    let digits = text.strip_prefix("0x").or(text.strip_prefix("0X"));
    match (digits, text) {
        (Some(hex), _) => u64::from_str_radix(hex, 16).ok(),
        (None, text) if text.starts_with('0') => u64::from_str_radix(text, 8).ok(),
        (None, text) => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_split_off() {
        assert_eq!(split_offset("f+0x10"), Ok(("f", 16)));
        assert_eq!(split_offset("f"), Ok(("f", 0)));
        assert_eq!(split_offset("f+010"), Ok(("f", 8)));
        assert_eq!(split_offset("f+0"), Ok(("f", 0)));
        assert!(split_offset("f+x").is_err());
    }
}
