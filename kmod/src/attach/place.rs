//! What each attach point gives: where its probe goes, and the context a hit has there.

use alloc::boxed::Box;
use alloc::ffi::CString;
use alloc::format;
use alloc::string::String;
use core::slice;

use abi::layout;
use abi::uapi::{self, AttachPoint, LINK_ARGS, LinkCreate};

use super::error::LinkError;
use super::hit::{How, Ready};
use super::shim::{self, Place};
use crate::cpu;

/// `PERF_MAX_TRACE_SIZE`: bytes of the buffer a tracepoint's record is built in, all of them readable.
const MAX_RECORD: usize = 8192;
/// Bytes of a system call's record: a pointer, its number, its arguments.
const SYSCALL_RECORD: usize = 8 * 8;
/// Behind the registers in `struct bpf_perf_event_data`: the period, the address.
const SAMPLE: usize = 2 * 8;

/// Calls of a kretprobe in flight, as the shim has them: of all its places, and of each at least.
const MAX_ACTIVE: u64 = 2048;
const MIN_ACTIVE: u64 = 32;

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
        AttachPoint::KprobeSession => {
            // What the program reads of the session is more than its context.
            words(asked, layout::SESSION_SIZE as usize)?;
            Ok(How::Session)
        }
        AttachPoint::PerfEvent => whole(shim::regs_size() + SAMPLE),
        AttachPoint::Tracepoint if is_syscall(target) => whole(SYSCALL_RECORD),
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

/// Whether an event's `SYSTEM/NAME` is, by its system, a system call's.
fn is_syscall(target: &str) -> bool {
    target
        .split_once('/')
        .is_some_and(|(system, _)| system == SYSCALLS)
}

/// Bytes of kernel memory that a link at `attach` of so many places takes, about: what each CPU's hits need, each place, and the
/// calls that a kretprobe keeps in flight (`MAX_ACTIVE` and `MIN_ACTIVE` in attach_kprobe.c).
pub(super) fn host_bytes(attach: AttachPoint, places: usize) -> u64 {
    const CALL: u64 = 128;
    const PLACE: u64 = 512;
    let places = places as u64;
    let each = 2 * size_of::<Ready>() as u64 * u64::from(cpu::count());
    let calls = match attach {
        AttachPoint::Kretprobe | AttachPoint::KprobeSession | AttachPoint::Fexit => {
            CALL * (MIN_ACTIVE * places).max(MAX_ACTIVE)
        }
        _ => 0,
    };
    2048 + each + places * PLACE + calls
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
        AttachPoint::KprobeSession if !places.is_empty() => Place::Sessions(places),
        AttachPoint::KprobeSession => Place::Session(name),
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
