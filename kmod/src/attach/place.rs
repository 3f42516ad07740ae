//! What each attach point gives: where its probe goes, and the context a hit has there.

use alloc::boxed::Box;
use alloc::ffi::CString;
use alloc::format;
use alloc::string::String;
use core::slice;

use abi::layout;
use abi::uapi::{self, AttachPoint, LINK_ARGS, LinkCreate};

use super::error::LinkError;
use super::hit::How;
use super::shim::{self, Place};

/// `PERF_MAX_TRACE_SIZE`: bytes of the buffer a tracepoint's record is built in, all of them readable.
const MAX_RECORD: usize = 8192;
/// Bytes of a system call's record: a pointer, its number, its arguments.
const SYSCALL_RECORD: usize = 8 * 8;
/// Behind the registers in `struct bpf_perf_event_data`: the period, the address.
const SAMPLE: usize = 2 * 8;

/// The system of the tracepoints that are system calls.
const SYSCALLS: &str = "syscalls";

/// A target's name, or names, as the kernel spells them.
pub(super) struct Names {
    first: CString,
    second: CString,
}

impl Names {
    /// Of `target` at `attach`.
    pub(super) fn of(attach: AttachPoint, target: &str) -> Result<Self, LinkError> {
        let (first, second) = match attach {
            AttachPoint::Tracepoint => target.split_once('/').ok_or(LinkError::Event)?,
            _ => (target, ""),
        };
        let c_string = |text: String| CString::new(text).map_err(|_| LinkError::Event);
        Ok(Self {
            first: c_string(symbol(first))?,
            second: c_string(second.into())?,
        })
    }
}

/// The symbol behind a target: `__x86_sys_NAME` is another spelling of a syscall's wrapper.
fn symbol(target: &str) -> String {
    match target.strip_prefix("__x86_sys_") {
        Some(name) => format!("__x64_sys_{name}"),
        None => target.into(),
    }
}

/// `ATTACH_*` by its number.
pub(super) fn attach_point(code: u32) -> Option<AttachPoint> {
    AttachPoint::ALL
        .iter()
        .copied()
        .find(|point| *point as u32 == code)
}

/// How a translated program is called at `attach`.
pub(super) fn context(
    attach: AttachPoint,
    args: &LinkCreate,
    target: &str,
) -> Result<How, LinkError> {
    let asked = args.context;
    let whole = |has: usize| -> Result<How, LinkError> { Ok(How::Context(words(asked, has)?)) };
    match attach {
        AttachPoint::Kprobe
        | AttachPoint::Kretprobe
        | AttachPoint::Uprobe
        | AttachPoint::Uretprobe
        | AttachPoint::SyscallPre
        | AttachPoint::SyscallPost => whole(shim::regs_size()),
        AttachPoint::PerfEvent => whole(shim::regs_size() + SAMPLE),
        AttachPoint::Tracepoint if target.starts_with(SYSCALLS) => whole(SYSCALL_RECORD),
        AttachPoint::Tracepoint => whole(MAX_RECORD),
        AttachPoint::RawTracepoint => {
            let sizes = sizes(&args.args, 0)?;
            let words = words(asked, 8 * sizes.len())?;
            let masks = sizes[..words].iter().map(|size| mask(*size)).collect();
            Ok(How::Arguments(masks))
        }
        AttachPoint::Fentry | AttachPoint::Fexit | AttachPoint::FmodRet => {
            let count = sizes(&args.args, uapi::ARG_STACKED)?.len();
            let returns = attach != AttachPoint::Fentry;
            let words_there = count + usize::from(returns);
            words(asked, 8 * words_there)?;
            let result = if returns { layout::FUNCTION_RETURNS } else { 0 };
            Ok(How::Function {
                words: words_there,
                info: count as u64 | result,
            })
        }
    }
}

/// Words of a context of `asked` bytes where there are `has`.
fn words(asked: u32, has: usize) -> Result<usize, LinkError> {
    let has = has.min(layout::FUNCTION_INFO as usize);
    if asked as usize > has {
        return Err(LinkError::Context { asked, has });
    }
    // What lies there is words, so a part of one is rounded up.
    Ok(asked.div_ceil(8) as usize)
}

/// The arguments' sizes: as many as there are before the first 0. Those may be marked by `flag`.
fn sizes(args: &[u8; LINK_ARGS], flag: u8) -> Result<Box<[u8]>, LinkError> {
    let args = args.iter().take_while(|arg| **arg != 0);
    let sizes: Box<[u8]> = args.map(|arg| arg & !flag).collect();
    match sizes.len() <= uapi::FUNCTION_ARGS && sizes.iter().all(|size| *size <= 8) {
        true => Ok(sizes),
        false => Err(LinkError::Arguments),
    }
}

/// The bits of a value of `size` bytes, 8 at most.
fn mask(size: u8) -> u64 {
    u64::MAX >> (64 - 8 * u32::from(size))
}

/// Where the probe goes. What makes no sense there must be 0.
pub(super) fn place<'n>(
    attach: AttachPoint,
    names: &'n Names,
    args: &'n LinkCreate,
    places: &'n [u64],
) -> Result<Place<'n>, LinkError> {
    let name = names.first.as_c_str();
    let has_offset = matches!(
        attach,
        AttachPoint::Kprobe | AttachPoint::Uprobe | AttachPoint::Uretprobe
    );
    if args.offset != 0 && !has_offset {
        return Err(LinkError::Offset(args.offset));
    }
    let in_file = matches!(attach, AttachPoint::Uprobe | AttachPoint::Uretprobe);
    let sampled = attach == AttachPoint::PerfEvent;
    if !in_file && (args.semaphore != 0 || args.pid != 0)
        || !sampled
            && (args.sample != 0 || args.event != 0 || args.event_type != 0 || args.flags != 0)
    {
        return Err(LinkError::Unused);
    }
    let given = args.args.iter().take_while(|arg| **arg != 0);
    let count = given.clone().count() as u32;
    let is_stacked = |arg: &u8| u32::from(arg & uapi::ARG_STACKED != 0);
    let stacked = (0..)
        .zip(given)
        .fold(0, |all, (at, arg)| all | is_stacked(arg) << at);
    let uprobe = |returns| Place::Uprobe {
        path: name,
        offsets: match places {
            [] => slice::from_ref(&args.offset),
            places => places,
        },
        semaphore: args.semaphore,
        pid: args.pid,
        returns,
    };
    Ok(match attach {
        AttachPoint::Kprobe if !places.is_empty() => Place::Kprobes(places),
        AttachPoint::Kprobe => {
            let offset = u32::try_from(args.offset);
            Place::Kprobe(name, offset.map_err(|_| LinkError::Offset(args.offset))?)
        }
        // Before the first instruction is after it: see attach_kprobe.c.
        AttachPoint::SyscallPre | AttachPoint::SyscallPost => Place::Kprobe(name, 0),
        AttachPoint::Kretprobe if !places.is_empty() => Place::Kretprobes(places),
        AttachPoint::Kretprobe => Place::Kretprobe(name),
        AttachPoint::RawTracepoint => Place::RawTracepoint(name, count),
        AttachPoint::Tracepoint => Place::Tracepoint(name, names.second.as_c_str()),
        AttachPoint::Fentry | AttachPoint::FmodRet => Place::Fentry(name, count, stacked),
        AttachPoint::Fexit => Place::Fexit(name, count, stacked),
        AttachPoint::PerfEvent if args.sample == 0 => return Err(LinkError::Sample),
        AttachPoint::PerfEvent => Place::PerfEvent {
            event_type: args.event_type,
            config: args.event,
            period: args.flags & uapi::LINK_PERIOD != 0,
            sample: args.sample,
        },
        AttachPoint::Uprobe => uprobe(false),
        AttachPoint::Uretprobe => uprobe(true),
    })
}
