//! A link: one attachment of one program, and what happens at a hit.
//!
//! # Invariants
//!
//! An [`Attachment`] does not move and outlives its probe: a link unregisters the probe, which waits for
//! handlers that run, before anything of it is freed.

use alloc::boxed::Box;
use alloc::ffi::CString;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use core::ffi::c_void;
use core::fmt;

use abi::uapi::{self, AttachPoint, Kind, SYSCALL_ARGS, SyscallArg};
use helpers::host::Errno;

use crate::cpu::Running;
use crate::module::Module;
use crate::program::{Buffer, Entry, Program, Run, SyscallCall};
use crate::registry::{Object, Registry};
use crate::sandbox::Sandbox;
use crate::services::{self, Point, Probe};
use crate::user::{self, Call, Log, Refusal, refused};

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
    /// The kernel refuses the probe.
    Kernel { target: String, errno: i32 },
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
                write!(f, "context of {asked} bytes, struct pt_regs has {has}")
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
            Self::Kernel { target, errno } => {
                write!(f, "kprobe {target}: {}", kprobe_error(*errno))
            }
        }
    }
}

/// What the errors of register_kprobe() mean (kernel/kprobes.c).
fn kprobe_error(errno: i32) -> &'static str {
    match errno {
        2 => "no such symbol",
        12 => "out of memory",
        16 => "busy",
        22 => "the kernel does not allow a probe there",
        84 => "the offset is not at an instruction",
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

/// How a hit calls the program.
enum How {
    /// With a copy of the registers' first words.
    Context { words: usize },
    /// With the syscall's arguments; which one is a string, and where it goes.
    Syscall { string: Option<(usize, Buffer)> },
}

/// What a probe's handler is given.
pub(crate) struct Attachment {
    sandbox: Arc<Sandbox>,
    module: Arc<Module>,
    /// Index of the program in the module.
    program: usize,
    how: How,
    cookie: u64,
    timed: bool,
}

/// A link. The probe is the first to be dropped: it points to symbol and attachment.
pub(crate) struct Link {
    probe: Probe,
    attachment: Box<Attachment>,
    /// The symbol as the kernel spells it.
    _symbol: CString,
    pub(crate) id: u32,
    target: String,
    attach: AttachPoint,
    offset: u64,
}

/// `LINK_CREATE`.
pub(crate) fn create(
    registry: &mut Registry,
    sandbox: &Arc<Sandbox>,
    module: &Arc<Module>,
    call: &Call,
) -> Result<Object, Errno> {
    let args: uapi::LinkCreate = call.read()?;
    let log = Log {
        address: args.log,
        size: args.log_size,
    };
    let program = user::text(&args.program)?;
    let target = user::text(&args.target)?;
    let attach = attach_point(args.attach).ok_or(Errno::EINVAL)?;
    if args.flags != 0 {
        return Err(Errno::EINVAL);
    }
    let id = registry.new_id(Kind::Link);
    let link = prepare(sandbox, module, &args, attach, &program)
        .and_then(|attachment| Link::attach(id, attachment, attach, target, args.offset))
        .map_err(|error| refused(log, &error))?;
    let link = Object::Link(Arc::new(link));
    registry.add(&link);
    Ok(link)
}

fn attach_point(code: u32) -> Option<AttachPoint> {
    use AttachPoint::{Kprobe, Kretprobe, SyscallPost, SyscallPre};
    [Kprobe, Kretprobe, SyscallPre, SyscallPost]
        .into_iter()
        .find(|point| *point as u32 == code)
}

/// Checks that `program` can run at `attach`.
fn prepare(
    sandbox: &Arc<Sandbox>,
    module: &Arc<Module>,
    args: &uapi::LinkCreate,
    attach: AttachPoint,
    program: &str,
) -> Result<Attachment, LinkError> {
    let index = module
        .programs
        .iter()
        .position(|p| p.name == program)
        .ok_or_else(|| LinkError::NoProgram(program.into()))?;
    let wrong = |why| LinkError::WrongProgram {
        program: program.into(),
        why,
    };
    let is_syscall = matches!(attach, AttachPoint::SyscallPre | AttachPoint::SyscallPost);
    let how = match (&module.programs[index].entry, is_syscall) {
        (Entry::Context(_), false) => context(args.context)?,
        (Entry::Arguments { params, .. }, true) => How::Syscall {
            string: string(module, program, params.len(), &args.args)?,
        },
        (Entry::Context(_), true) => {
            return Err(wrong("takes a context, a syscall has arguments"));
        }
        (Entry::Arguments { .. }, false) => {
            return Err(wrong(
                "its module has its own memory, so it only attaches to syscalls",
            ));
        }
    };
    Ok(Attachment {
        sandbox: sandbox.clone(),
        module: module.clone(),
        program: index,
        how,
        cookie: args.cookie,
        timed: services::limits().time_runs != 0,
    })
}

fn context(asked: u32) -> Result<How, LinkError> {
    let has = services::regs_size();
    if asked as usize > has {
        return Err(LinkError::Context { asked, has });
    }
    // Registers are words, so a part of one is rounded up.
    Ok(How::Context {
        words: asked.div_ceil(8) as usize,
    })
}

/// The parameter that is a string, if one is, and the module's buffer for it.
fn string(
    module: &Module,
    program: &str,
    takes: usize,
    args: &[u8; 8],
) -> Result<Option<(usize, Buffer)>, LinkError> {
    let given = args
        .iter()
        .take_while(|arg| **arg != SyscallArg::None as u8)
        .count();
    if given < takes || given > SYSCALL_ARGS {
        return Err(LinkError::Parameters {
            program: program.into(),
            takes,
            given,
        });
    }
    let refuse = |why| LinkError::Strings {
        program: program.into(),
        why,
    };
    let mut strings = (0..takes).filter(|at| args[*at] != SyscallArg::Scalar as u8);
    let Some(index) = strings.next() else {
        return Ok(None);
    };
    if args[index] != SyscallArg::String as u8 {
        return Err(refuse("an argument is neither scalar nor string"));
    }
    if strings.next().is_some() {
        return Err(refuse(
            "takes more than one string, and there is one buffer",
        ));
    }
    let buffer = module.own.as_ref().and_then(|own| own.buffer);
    buffer
        .map(|buffer| Some((index, buffer)))
        .ok_or_else(|| refuse("takes a string, and the module exports no `buffer` in its memory"))
}

impl Link {
    fn attach(
        id: u32,
        attachment: Attachment,
        attach: AttachPoint,
        target: String,
        offset: u64,
    ) -> Result<Self, LinkError> {
        let (point, may_have_offset) = match attach {
            AttachPoint::Kprobe => (Point::Pre, true),
            AttachPoint::Kretprobe => (Point::Return, false),
            AttachPoint::SyscallPre => (Point::Pre, false),
            AttachPoint::SyscallPost => (Point::Post, false),
        };
        let refused = |errno| LinkError::Kernel {
            target: target.clone(),
            errno,
        };
        let kernel_offset = u32::try_from(offset)
            .ok()
            .filter(|offset| *offset == 0 || may_have_offset)
            .ok_or(LinkError::Offset(offset))?;
        let symbol = CString::new(symbol(&target)).map_err(|_| refused(2))?;
        let attachment = Box::new(attachment);
        let handed = (&raw const *attachment).cast_mut().cast::<c_void>();
        // SAFETY: symbol and attachment go into the link, which drops the probe before them.
        let probe =
            unsafe { Probe::register(point, &symbol, kernel_offset, handed) }.map_err(refused)?;
        Ok(Self {
            id,
            target,
            _symbol: symbol,
            attach,
            offset,
            attachment,
            probe,
        })
    }

    /// Whether it attaches a program of `module`.
    pub(crate) fn is_of(&self, module: &Arc<Module>) -> bool {
        Arc::ptr_eq(&self.attachment.module, module)
    }

    /// Whether it attaches program `index` of its module.
    pub(crate) fn is_of_program(&self, index: usize) -> bool {
        self.attachment.program == index
    }

    /// Hits its probe could not hand over.
    pub(crate) fn missed(&self) -> u64 {
        self.probe.missed()
    }
}

/// The symbol behind a target: `__x86_sys_NAME` is another spelling of a syscall's wrapper.
fn symbol(target: &str) -> String {
    match target.strip_prefix("__x86_sys_") {
        Some(name) => format!("__x64_sys_{name}"),
        None => target.into(),
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let missed = self.probe.missed();
        self.attachment.program().stats.add_missed(missed);
    }
}

/// Answers an ioctl of a link's descriptor.
pub(crate) fn ioctl(registry: &Registry, link: &Arc<Link>, call: &Call) -> Result<(), Errno> {
    if call.is(uapi::LINK_INFO) {
        return call.write(&uapi::LinkInfo {
            id: link.id,
            module: link.attachment.module.id,
            program: user::field(&link.attachment.program().name),
            target: user::field(&link.target),
            attach: link.attach as u32,
            pinned: registry.is_pinned(&Object::Link(link.clone())).into(),
            offset: link.offset,
            cookie: link.attachment.cookie,
        });
    }
    Err(user::ENOTTY)
}

impl Attachment {
    fn program(&self) -> &Program {
        &self.module.programs[self.program]
    }

    /// A hit on `cpu`, with interrupts off.
    ///
    /// # Safety
    ///
    /// `regs` points to a `struct pt_regs`.
    #[inline]
    pub(crate) unsafe fn hit(&self, regs: *const c_void, cpu: u32) {
        let program = self.program();
        let Some(counters) = program.stats.cpu(cpu) else {
            return;
        };
        let Some(running) = Running::begin(cpu) else {
            return counters.miss();
        };
        if program.stats.is_disabled() {
            return;
        }
        let run = Run {
            running: &running,
            stats: &program.stats,
            counters,
            budget: self.module.budget,
            context: regs as u64,
            cookie: self.cookie,
            timed: self.timed,
        };
        match (&self.how, &program.entry) {
            (How::Context { words }, Entry::Context(funcs)) => {
                let (Some(shared), Some(func)) = (&self.sandbox.shared, funcs.get(cpu as usize))
                else {
                    return;
                };
                // SAFETY: the registers have at least so many words.
                let context = unsafe { core::slice::from_raw_parts(regs.cast::<u64>(), *words) };
                let slot = &shared.cpus[cpu as usize].slot;
                run.with_context(slot, &shared.space, *func, context);
            }
            (
                How::Syscall { string },
                Entry::Arguments {
                    func,
                    params,
                    results,
                },
            ) => {
                let Some(own) = &self.module.own else { return };
                // SAFETY: the caller's promise.
                let Some(args) = (unsafe { services::syscall_args(regs) }) else {
                    return counters.miss();
                };
                let call = SyscallCall {
                    func: *func,
                    params,
                    results: *results,
                    string: *string,
                };
                run.with_arguments(&own.slot, &call, args);
            }
            // `prepare` pairs them.
            _ => {}
        }
    }
}
